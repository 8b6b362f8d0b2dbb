"""The files of an image cache: the decoded images, and facts about them by which damage is noticed.

``images.npy`` holds the images, ``contents.npz`` a hash of each image file, ``cache.json`` everything else: the shape,
the rows that could not be read, and a checksum of every chunk of pixels.
"""

import io
import math
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Self

import cv2
import numpy as np
from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from competition.errors import UserError
from competition.progress import Progress
from competition.wording import size_text
from pipeline.data.decode import ImagePath, UnreadableImage, content_hash, decode, decode_bytes, read_file, resize
from pipeline.runtime.memory import raise_shortage
from pipeline.runtime.sealed import DamagedFile, read_arrays, read_json, write_arrays, write_json
from pipeline.runtime.time_limit import check_time

IMAGES, CONTENTS, ABOUT = "images.npy", "contents.npz", "cache.json"
LARGEST_NATIVE_SIDE = 128
DEFAULT_SIZE = (64, 64)
CHUNK_BYTES = 1 << 20  # of pixels that a thread decodes before it writes them

Size = tuple[int, int]  # height, width in pixels
Fit = Callable[[np.ndarray, int, int], np.ndarray]  # image, height, width -> image of that size


@dataclass(frozen=True)
class _Facts:
    """What cache.json holds.

    shape: of all images, ``[N, H, W, 3]``. unreadable: the rows that could not be read.
    chunk: images in a chunk of pixels. checksums: the CRC-32 of each chunk.
    """

    shape: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt, NonNegativeInt]
    unreadable: list[NonNegativeInt]
    chunk: NonNegativeInt
    checksums: list[int]


def read_cache(folder: Path, count: int, check_pixels: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images of a cache, uint8 ``[N, H, W, 3]``, the rows that could not be read, and ``contents_in`` the cache.

    count: the number of images that the cache must hold. check_pixels: read all pixels once, to check them.
    Raises DamagedFile if a file is not as it was written, and OSError if one cannot be read.
    """
    facts, contents = _read_facts(folder), contents_in(folder)
    if not facts.shape[0] == len(contents) == count:
        raise DamagedFile(folder / ABOUT)
    if check_pixels:
        _check_images(folder / IMAGES, facts)
    images = np.load(folder / IMAGES, mmap_mode="r")
    # A plain array that views the map, because indexing an np.memmap is several times slower.
    return np.asarray(images), np.array(facts.unreadable, dtype=np.int64), contents


def contents_in(folder: Path) -> np.ndarray:
    """The ``content_hash`` of each image file, uint64 ``[N]``; 0 if the file could not be read.

    Raises DamagedFile or OSError as ``read_cache`` does.
    """
    return read_arrays(folder / CONTENTS)["contents"]


def _read_facts(folder: Path) -> _Facts:
    try:
        return TypeAdapter(_Facts).validate_python(read_json(folder / ABOUT))
    except ValidationError:
        raise DamagedFile(folder / ABOUT) from None


def _check_images(path: Path, facts: _Facts) -> None:
    header, chunk = _array_header(facts.shape), facts.chunk * math.prod(facts.shape[1:])
    with path.open("rb", buffering=0) as file:
        is_whole = file.read(len(header)) == header and path.stat().st_size == len(header) + math.prod(facts.shape)
        if not is_whole or list(_checksums(file, chunk)) != facts.checksums:
            raise DamagedFile(path)


def _checksums(file: BinaryIO, chunk: int) -> Iterator[int]:
    """The CRC-32 of each chunk of bytes. The file is not mapped, so that its pages do not count as memory in use."""
    buffer = memoryview(bytearray(chunk))
    while (length := file.readinto(buffer)) > 0:  # type: ignore[attr-defined]
        check_time()
        yield zlib.crc32(buffer[:length])


def _array_header(shape: Sequence[int]) -> bytes:
    file = io.BytesIO()
    facts: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def write_cache(paths: Sequence[ImagePath], folder: Path, size: Size | None, threads: int) -> None:
    """Decode all files into a new cache in an existing folder. size, threads: see ``open_cache``.

    Reading the size of every image first would be slow. Instead, all images are expected to have the size of the first
    one, and decoding starts again with resizing if one does not.
    """
    native = None if size else _native_size(paths)
    if native:
        with suppress(_SizeMismatchError):
            return _decode_all(paths, folder, native, _insist_on_size, threads)
    return _decode_all(paths, folder, size or DEFAULT_SIZE, resize, threads)


def _native_size(paths: Sequence[ImagePath]) -> Size | None:
    """The height and width of the first readable image; None if it is too large to keep, or if none is readable."""
    for path in paths:
        with suppress(UnreadableImage):
            height, width, _ = decode(path).shape
            return (height, width) if max(height, width) <= LARGEST_NATIVE_SIDE else None
    return None


def _check_space(folder: Path, needed: int) -> None:
    """Raises UserError if fewer than ``needed`` bytes are free on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the image cache needs {size_text(needed)}, but only {size_text(free)} are free in {folder.parent}; "
            "free some space there, choose another folder with --work, or lower --size"
        )


class _SizeMismatchError(Exception):
    """An image differs in size from the first one."""


def _insist_on_size(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] != (height, width):
        raise _SizeMismatchError
    return image


def _decode_all(paths: Sequence[ImagePath], folder: Path, size: Size, fit: Fit, threads: int) -> None:
    """Decode chunks of images in parallel and write each chunk to its rows, then the facts about them."""
    shape = (len(paths), *size, 3)
    _check_space(folder, math.prod(shape))
    chunk = max(1, CHUNK_BYTES // math.prod(shape[1:]))
    contents = np.zeros(len(paths), np.uint64)
    unreadable: list[int] = []
    checksums: list[int] = []
    buffers: SimpleQueue[np.ndarray] = SimpleQueue()  # one for each thread: allocating memory for each chunk is slow
    for _ in range(threads):
        buffers.put(np.empty((chunk, *size, 3), np.uint8))
    bar = Progress(total=len(paths), desc="decoding", unit="image")
    with bar, _ArrayFile(folder / IMAGES, shape) as file, _one_thread_in_cv2():

        def work(start: int) -> tuple[int, list[int], int]:
            rows, buffer = slice(start, start + chunk), buffers.get()
            try:
                images = buffer[: len(paths[rows])]
                failed = _decode_chunk(paths[rows], images, contents[rows], fit)
                file.write(start, images)
                return len(images), [start + row for row in failed], zlib.crc32(images.data)
            finally:
                buffers.put(buffer)

        with ThreadPoolExecutor(threads) as pool:
            for done, failed, checksum in pool.map(work, range(0, len(paths), chunk)):
                unreadable += failed
                checksums.append(checksum)
                bar.update(done)
                check_time(len(checksums) * chunk / len(paths))
    write_arrays(folder / CONTENTS, {"contents": contents})
    write_json(folder / ABOUT, {"shape": shape, "unreadable": unreadable, "chunk": chunk, "checksums": checksums})


def _decode_chunk(paths: Sequence[ImagePath], images: np.ndarray, contents: np.ndarray, fit: Fit) -> list[int]:
    """Decode files into ``images``, and their hashes into ``contents``.

    Returns the rows that could not be read, filled with zeros.
    """
    _, height, width, _ = images.shape
    failed = []
    for row, path in enumerate(paths):
        try:
            data = read_file(path)
            images[row] = fit(decode_bytes(data), height, width)
            contents[row] = content_hash(data)
        except (OSError, UnreadableImage) as error:
            raise_shortage(error)
            images[row] = 0
            failed.append(row)
    return failed


class _ArrayFile:
    """A uint8 .npy file whose rows can be written in any order and from any thread.

    It does not use a memory map, because the map's modified pages would count as memory of the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        self._start, self._row_bytes = self._file.write(_array_header(shape)), math.prod(shape[1:])
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
