"""Images that are kept as JPEGs in one file, and decoded when they are asked for."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from competition.wording import fault_in
from pipeline.data.decode import ImagePath, UnreadableImage, decode_bytes, read_file
from pipeline.data.decoders import decode_with_cv2
from pipeline.data.fitting import Fit, fitted
from pipeline.runtime.memory import raise_shortage

QUALITY = 92
TOGETHER = 8  # images that a thread decodes before it takes the next ones


def encoded(image: np.ndarray) -> bytes:
    """The image, uint8 ``[H, W, 3]``, as a JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


class Jpegs:
    """Images in a file of JPEGs, uint8 ``[N, H, W, 3]``; those that are not in it are decoded from their own files.

    starts: int64 ``[N + 1]``, where each JPEG begins; an image without any bytes is not in the file.
    paths, fit: the images' own files, and how they are brought to the size.
    unreadable: the rows whose files cannot be read; all their pixels are zero.
    """

    def __init__(
        self,
        path: Path,
        starts: np.ndarray,
        shape: tuple[int, int, int, int],
        paths: Sequence[ImagePath],
        fit: Fit,
        unreadable: np.ndarray,
    ) -> None:
        self.shape, self._starts, self._paths, self._fit = shape, starts, paths, fit
        self._file, self._lock = path.open("rb", buffering=0), threading.Lock()
        self._unreadable = frozenset(unreadable.tolist())

    @property
    def stored(self) -> int:
        """The number of images in the file."""
        return int(np.count_nonzero(np.diff(self._starts)))

    def take(self, rows: Any, axis: int = 0) -> np.ndarray:
        """The images at the rows, uint8 ``[n, H, W, 3]``, or ``[H, W, 3]`` for a single row."""
        places = np.asarray(rows)
        if places.ndim == 0:
            return self._image(int(places))
        found = np.empty((len(places), *self.shape[1:]), np.uint8)

        def work(start: int) -> None:
            for number, row in enumerate(places[start : start + TOGETHER].tolist(), start):
                found[number] = self._image(row)

        list(_pool().map(work, range(0, len(places), TOGETHER)))
        return found

    def _image(self, row: int) -> np.ndarray:
        start, end = self._starts[row : row + 2].tolist()
        if row in self._unreadable:
            return np.zeros(self.shape[1:], np.uint8)
        if start == end:
            return self._from_own_file(self._paths[row])
        with self._lock:
            self._file.seek(start)
            data = self._file.read(end - start)
        return decode_with_cv2(data)

    def _from_own_file(self, path: ImagePath) -> np.ndarray:
        size = self.shape[1:3]
        try:
            return fitted(decode_bytes(read_file(path), size), size, self._fit)
        except (OSError, UnreadableImage) as error:
            raise_shortage(error)
            raise fault_in(Path(path), f"it cannot be read any more ({error})", "put it back") from None


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count())
