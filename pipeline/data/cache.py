"""Decoded images as one memory-mapped uint8 array ``[N, H, W, 3]``, built once.

A cache is a folder with two files, ``images.npy`` and ``cache.json``. Its name is a hash of everything that its content
depends on. It is built under a temporary name and renamed when it is complete, so a cache that exists is complete.
"""

import glob
import hashlib
import json
import math
import os
import platform
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Self
from uuid import uuid4

import cv2
import numpy as np
import PIL

from competition.errors import UserError
from competition.progress import Progress
from pipeline.data import decode as decoding
from pipeline.data.decode import UnreadableImage, decode, resize
from pipeline.runtime.time_limit import check_time

CACHE_VERSION = 1
IMAGES, ABOUT = "images.npy", "cache.json"
LARGEST_NATIVE_SIDE = 128
DEFAULT_SIZE = (64, 64)
CHUNK_BYTES = 1 << 20  # of pixels that a thread decodes before it writes them

ImagePath = str | os.PathLike[str]
Size = tuple[int, int]  # height, width in pixels
Fit = Callable[[np.ndarray, int, int], np.ndarray]  # image, height, width -> image of that size


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
        self, images: np.ndarray, unreadable: np.ndarray, rows: np.ndarray | None = None, folder: Path | None = None
    ) -> None:
        self.folder = folder
        self._images = images
        self._unreadable = unreadable
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
        return ImageCache(self._images, self._unreadable, folder=self.folder)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), *self._images.shape[1:]

    @property
    def unreadable(self) -> np.ndarray:
        """The rows whose files could not be read, int64 ``[K]``; the pixels of these rows are all zero."""
        return np.flatnonzero(np.isin(self.rows, self._unreadable))

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        return np.take(self._images, self.rows[index], axis=0)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an ImageCache cannot become an array without copying")
        return self[:].astype(dtype or self.dtype, copy=False)

    def subset(self, rows: slice | Sequence[int] | np.ndarray) -> "ImageCache":
        """The given rows in the given order, without copying an image."""
        return ImageCache(self._images, self._unreadable, self.rows[rows], self.folder)


Images = np.ndarray | ImageCache  # uint8 [N, H, W, 3]; features are float32 [N, 1, D, 1] arrays


def rows_of(images: Images, rows: slice | np.ndarray) -> Images:
    """The given rows of an array or of a cache; the rows of a cache are not copied."""
    return images.subset(rows) if isinstance(images, ImageCache) else images[rows]


def open_cache(
    paths: Sequence[ImagePath], folder: Path, size: Size | None = None, threads: int | None = None
) -> ImageCache:
    """The images of these files, in this order. Their cache is built in ``folder`` if it does not exist.

    size: (height, width) in pixels; None: the native size if all images have the same size of at most 128 x 128 pixels,
        otherwise 64 x 64.
    threads: number of decoding threads; default: one for each CPU.

    An unreadable file gives a row of zeros, and its row number is in ``ImageCache.unreadable``.
    Raises UserError if the folder cannot be written or the disk is full.
    """
    place = folder / _name(paths, size)
    try:
        if not place.exists():
            _build(paths, place, size, threads or os.cpu_count() or 1)
    except OSError as error:
        raise UserError(
            f"cannot write the image cache in {folder}: {error.strerror or error}; "
            "free some space there or choose another folder with --work"
        ) from error
    images = np.load(place / IMAGES, mmap_mode="r")
    about = json.loads((place / ABOUT).read_text())
    # A plain array that views the map, because indexing an np.memmap is several times slower.
    return ImageCache(np.asarray(images), np.array(about["unreadable"], dtype=np.int64), folder=place)


def _name(paths: Sequence[ImagePath], size: Size | None) -> str:
    """The hash of everything that a cache depends on: the files, the target size and the decoding code."""
    code = hashlib.sha256(Path(decoding.__file__).read_bytes()).hexdigest()
    versions = [CACHE_VERSION, code, cv2.__version__, PIL.__version__]
    shaped_by = [versions, size, [_stamp(path) for path in paths]]
    return hashlib.sha256(json.dumps(shaped_by).encode()).hexdigest()[:32]


def _stamp(path: ImagePath) -> tuple[str | int, ...]:
    """Identifies a file's content without reading it: path, size, time and mode.

    The mode is included so that a file is decoded again after it has been made readable. Calling stat for each file is
    faster than os.scandir, which makes the same call and also creates an object.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - also takes strings, and is faster
    except OSError:
        return str(path), "missing"
    return str(path), status.st_size, status.st_mtime_ns, status.st_mode


def _build(paths: Sequence[ImagePath], place: Path, size: Size | None, threads: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(place.parent)
    temporary = place.with_name(f"{place.name}.{platform.node()}.{os.getpid()}.{uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        shape, unreadable = _write_images(paths, temporary / IMAGES, size, threads)
        about = {"version": CACHE_VERSION, "shape": shape, "unreadable": unreadable}
        (temporary / ABOUT).write_text(json.dumps(about))
        _rename_unless_there(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_there(temporary: Path, place: Path) -> None:
    """Rename the new cache into place, unless another process has built the same one in the meantime."""
    try:
        temporary.rename(place)
    except OSError:
        if not place.exists():
            raise


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of processes on this machine that were killed while building a cache."""
    for temporary in folder.glob(f"*.{glob.escape(platform.node())}.*.tmp"):
        if not _is_running(int(temporary.name.split(".")[-3])):
            shutil.rmtree(temporary, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is running, as another user
        pass
    return True


def _write_images(
    paths: Sequence[ImagePath], target: Path, size: Size | None, threads: int
) -> tuple[list[int], list[int]]:
    """Decode all files into ``target``. Returns the array's shape and the rows that could not be read.

    Reading the size of every image first would be slow. Instead, all images are expected to have the size of the first
    one, and decoding starts again with resizing if one does not.
    """
    native = None if size else _native_size(paths)
    if native:
        with suppress(_SizeMismatchError):
            return _decode_all(paths, target, native, _insist_on_size, threads)
    return _decode_all(paths, target, size or DEFAULT_SIZE, resize, threads)


def _native_size(paths: Sequence[ImagePath]) -> Size | None:
    """The height and width of the first readable image; None if it is too large to keep, or if none is readable."""
    for path in paths:
        with suppress(UnreadableImage):
            height, width, _ = decode(path).shape
            return (height, width) if max(height, width) <= LARGEST_NATIVE_SIDE else None
    return None


class _SizeMismatchError(Exception):
    """An image differs in size from the first one."""


def _insist_on_size(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] != (height, width):
        raise _SizeMismatchError
    return image


def _decode_all(
    paths: Sequence[ImagePath], target: Path, size: Size, fit: Fit, threads: int
) -> tuple[list[int], list[int]]:
    """Decode chunks of images in parallel and write each chunk to its rows. Returns as ``_write_images``."""
    shape = (len(paths), *size, 3)
    chunk = max(1, CHUNK_BYTES // math.prod(shape[1:]))
    unreadable: list[int] = []
    buffers: SimpleQueue[np.ndarray] = SimpleQueue()  # one for each thread: allocating memory for each chunk is slow
    for _ in range(threads):
        buffers.put(np.empty((chunk, *size, 3), np.uint8))
    bar = Progress(total=len(paths), desc="decoding", unit="image")
    with bar, _ArrayFile(target, shape) as file, _one_thread_in_cv2():

        def work(start: int) -> tuple[int, list[int]]:
            buffer, some = buffers.get(), paths[start : start + chunk]
            try:
                failed = _decode_chunk(some, buffer, fit)
                file.write(start, buffer[: len(some)])
            finally:
                buffers.put(buffer)
            return len(some), [start + row for row in failed]

        with ThreadPoolExecutor(threads) as pool:
            for done, failed in pool.map(work, range(0, len(paths), chunk)):
                unreadable += failed
                bar.update(done)
                check_time(bar.n / len(paths))
    return list(shape), unreadable


def _decode_chunk(paths: Sequence[ImagePath], images: np.ndarray, fit: Fit) -> list[int]:
    """Decode files into the first rows of ``images``. Returns the rows that could not be read, filled with zeros."""
    _, height, width, _ = images.shape
    failed = []
    for row, path in enumerate(paths):
        try:
            images[row] = fit(decode(path), height, width)
        except UnreadableImage:
            images[row] = 0
            failed.append(row)
    return failed


class _ArrayFile:
    """A uint8 .npy file whose rows can be written in any order and from any thread.

    It does not use a memory map, because the map's modified pages would count as memory of the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start, self._row_bytes = self._file.tell(), math.prod(shape[1:])
        self._lock = threading.Lock()

    def write(self, row: int, images: np.ndarray) -> None:
        with self._lock:
            self._file.seek(self._start + row * self._row_bytes)
            self._file.write(images.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@contextmanager
def _one_thread_in_cv2() -> Iterator[None]:
    """Limit cv2 to one thread, because images are already decoded in parallel and its threads would compete."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
