"""Decoded images as one memory-mapped uint8 array ``[N, H, W, 3]``, built once.

A cache is a folder. Its name is a hash of everything that its content depends on. It is built under a temporary name
and renamed when it is complete, so a cache that exists is complete, unless its files were damaged afterwards; then it
is built again.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import PIL

from competition.errors import UserError
from competition.storage import build_folder, discard, remedy_for
from pipeline.data import decode as decoding
from pipeline.data.cache_files import Size as Size  # which users of a cache import from here
from pipeline.data.cache_files import contents_in, read_cache, write_cache
from pipeline.data.decode import ImagePath, content_hash, read_file
from pipeline.runtime.memory import raise_shortage
from pipeline.runtime.sealed import DamagedFile

CACHE_VERSION = 2
FILES_AT_ONCE = 256  # that a thread hashes before it takes the next ones


class ImageCache:
    """Read-only images, uint8 ``[N, H, W, 3]``, RGB, that are read from disk when rows are indexed.

    folder: the folder of the cache that holds the images; None if they are not in a cache.
    rows: int64 ``[N]``, the row of each image in that cache.

    ``cache[index]`` with an int, a slice or an int array copies these rows into memory. ``np.asarray(cache)`` copies
    all rows.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        images: np.ndarray,
        unreadable: np.ndarray,
        rows: np.ndarray | None = None,
        folder: Path | None = None,
        contents: np.ndarray | None = None,
    ) -> None:
        self.folder = folder
        self._images = images
        self._unreadable = unreadable
        self._contents = np.zeros(len(images), np.uint64) if contents is None else contents
        self.rows = np.arange(len(images)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def name(self) -> str:
        """The name of the cache, a hash of everything that it depends on; empty if the images are not in a cache."""
        return self.folder.name if self.folder else ""

    @property
    def whole(self) -> "ImageCache":
        """All images of the cache that holds these images."""
        return ImageCache(self._images, self._unreadable, None, self.folder, self._contents)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), *self._images.shape[1:]

    @property
    def unreadable(self) -> np.ndarray:
        """The rows whose files could not be read, int64 ``[K]``; the pixels of these rows are all zero."""
        return np.flatnonzero(np.isin(self.rows, self._unreadable))

    @property
    def contents(self) -> np.ndarray:
        """The ``content_hash`` of each image's file, uint64 ``[N]``; 0 if it is not known."""
        return self._contents[self.rows]

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        return np.take(self._images, self.rows[index], axis=0)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an ImageCache cannot become an array without copying")
        return self[:].astype(dtype or self.dtype, copy=False)

    def subset(self, rows: slice | Sequence[int] | np.ndarray) -> "ImageCache":
        """The given rows in the given order, without copying an image."""
        return ImageCache(self._images, self._unreadable, self.rows[rows], self.folder, self._contents)


Images = np.ndarray | ImageCache  # uint8 [N, H, W, 3]; features are float32 [N, 1, D, 1] arrays


def rows_of(images: Images, rows: slice | np.ndarray) -> Images:
    """The given rows of an array or of a cache; the rows of a cache are not copied."""
    return images.subset(rows) if isinstance(images, ImageCache) else images[rows]


def open_cache(
    paths: Sequence[ImagePath], folder: Path, size: Size | None = None, threads: int | None = None
) -> ImageCache:
    """The images of these files, in this order. Their cache is built in ``folder`` if it is missing or damaged.

    size: (height, width) in pixels; None: the native size if all images have the same size of at most 128 x 128 pixels,
        otherwise 64 x 64.
    threads: number of decoding threads; default: one for each CPU.

    An unreadable file gives a row of zeros, and its row number is in ``ImageCache.unreadable``.
    Raises UserError if the folder cannot be written or the cache does not fit on the disk.
    """
    (name,) = _names(paths, [size])
    place = folder / name
    try:
        found = _read_if_sound(place, len(paths))
        if found is None:
            build_folder(place, lambda draft: write_cache(paths, draft, size, threads or os.cpu_count() or 1))
            found = read_cache(place, len(paths), check_pixels=False)
    except (OSError, DamagedFile) as error:
        raise_shortage(error)
        raise UserError(f"cannot write the image cache in {folder}: {_reason(error)}; {remedy_for(error)}") from error
    images, unreadable, contents = found
    return ImageCache(images, unreadable, None, place, contents)


def _read_if_sound(place: Path, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """What ``read_cache`` finds; None if there is no cache. A damaged one is removed."""
    if not os.path.lexists(place):
        return None
    try:
        return read_cache(place, count)
    except (OSError, DamagedFile) as error:
        raise_shortage(error)
        print(f"warning: the image cache in {place} cannot be used ({_reason(error)}); decoding the images again")
    discard(place)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, DamagedFile):
        return f"{error.path.name} is damaged"
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{Path(error.filename).name} is missing"
    return str(getattr(error, "strerror", error))


def known_contents(paths: Sequence[ImagePath], folder: Path, sizes: Iterable[Size | None]) -> np.ndarray | None:
    """The ``content_hash`` of each file, uint64 ``[N]``, from their cache at one of these sizes; None if there is none.

    folder, sizes: as for ``open_cache``.
    """
    for place in (folder / name for name in _names(paths, sizes)):
        with suppress(DamagedFile, OSError):
            if len(contents := contents_in(place)) == len(paths):
                return contents
    return None


def contents_of(paths: Sequence[ImagePath]) -> np.ndarray:
    """The ``content_hash`` of each file, uint64 ``[N]``, which is read for it; 0 if it cannot be read."""
    contents = np.zeros(len(paths), np.uint64)

    def work(start: int) -> None:
        for row, path in enumerate(paths[start : start + FILES_AT_ONCE], start):
            with suppress(OSError):
                contents[row] = content_hash(read_file(path))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(0, len(paths), FILES_AT_ONCE)))
    return contents


def _names(paths: Sequence[ImagePath], sizes: Iterable[Size | None]) -> Iterator[str]:
    """For each size a hash of everything that a cache depends on: the files, the size and the decoding code."""
    stamps = [_stamp(path) for path in paths]
    for size in sizes:
        yield hashlib.sha256(json.dumps([decoder_version(), size, stamps]).encode()).hexdigest()[:32]


def decoder_version() -> list[object]:
    """What the pixels decoded from a file depend on besides its content and their size."""
    code = hashlib.sha256(b"".join(source.read_bytes() for source in decoding.SOURCES)).hexdigest()
    return [CACHE_VERSION, code, cv2.__version__, PIL.__version__]


def _stamp(path: ImagePath) -> tuple[str | int, ...]:
    """Identifies a file's content without reading it: path, size, times and mode.

    The mode is included so that a file is decoded again after it has been made readable; the time of the last change of
    its entry, because a copy that replaces it may have its size and time of modification. Calling stat for each file is
    faster than os.scandir, which makes the same call and also creates an object.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - also takes strings, and is faster
    except OSError:
        return str(path), "missing"
    return str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode
