"""The files of an image cache: the decoded images, and facts about them by which damage is noticed.

``images.npy`` holds the images as pixels; where these would need too much room, ``images.jpegs`` holds them as JPEGs,
one after the other, and ``starts.npz`` where each begins. ``contents.npz`` holds a hash of each image file,
``fingerprints.npz`` what else is kept to compare the images, ``cache.json`` everything else: the shape, the rows that
could not be read, and a checksum of every chunk of the images.
The checksum is the sum of the 64-bit words, as even a CRC would take an eighth of the time of decoding.
"""

import io
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Protocol, Self

import cv2
import numpy as np
from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from competition.progress import Progress
from pipeline.data.complaints import Complaints, heard
from pipeline.data.decode import ImagePath, UnreadableImage, content_hash, decode_sized, read_file
from pipeline.data.fingerprints import LONGEST, Fingerprints
from pipeline.data.fitting import Fit, Size, fitted
from pipeline.data.jpegs import Jpegs, encoded
from pipeline.runtime.memory import raise_shortage
from pipeline.runtime.sealed import DamagedFile, read_arrays, read_json, write_arrays, write_json
from pipeline.runtime.time_limit import check_time

PIXELS, JPEGS, STARTS = "images.npy", "images.jpegs", "starts.npz"
CONTENTS, FINGERPRINTS, ABOUT = "contents.npz", "fingerprints.npz", "cache.json"
CHUNK_BYTES, CHUNK_IMAGES = 1 << 20, 8  # of pixels, and of images at least, that a thread decodes before it writes them

MOST_SUSPECTS = 1_000  # images that are decoded again to find those that are damaged inside


class Store(Protocol):
    """Where the pixels of images are: an array of all of them, or something that reads those that are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, H, W, 3)``."""

    def take(self, rows: Any, axis: int) -> np.ndarray:
        """uint8 ``[n, H, W, 3]``, or ``[H, W, 3]`` for a single row. axis: 0."""


@dataclass(frozen=True)
class _Facts:
    """What cache.json holds.

    shape: of all images, ``[N, H, W, 3]``. unreadable: the rows that could not be read.
    chunks: bytes and checksum of each chunk of the images.
    """

    shape: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt, NonNegativeInt]
    unreadable: list[NonNegativeInt]
    chunks: list[tuple[NonNegativeInt, int]]


def read_cache(
    folder: Path, paths: Sequence[ImagePath], fit: Fit, check_images: bool = True
) -> tuple[Store, np.ndarray, Fingerprints]:
    """The images of a cache, the rows that could not be read, and the images' fingerprints.

    paths, fit: of the images that the cache must hold; those that did not fit in are read from their files.
    check_images: read the whole cache once, to check it.
    Raises DamagedFile if a file is not as it was written, and OSError if one cannot be read.
    """
    facts, fingerprints = _read_facts(folder), Fingerprints.read(folder / FINGERPRINTS, contents_in(folder))
    if not facts.shape[0] == len(fingerprints) == len(paths):
        raise DamagedFile(folder / ABOUT)
    unreadable = np.array(facts.unreadable, dtype=np.int64)
    if (folder / STARTS).exists():
        if check_images:
            _check_images(folder / JPEGS, b"", facts)
        starts = read_arrays(folder / STARTS)["starts"]
        return Jpegs(folder / JPEGS, starts, facts.shape, paths, fit, unreadable), unreadable, fingerprints
    if check_images:
        _check_images(folder / PIXELS, _array_header(facts.shape), facts)
    # A plain array that views the map, because indexing an np.memmap is several times slower.
    return np.asarray(np.load(folder / PIXELS, mmap_mode="r")), unreadable, fingerprints


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


def _check_images(path: Path, header: bytes, facts: _Facts) -> None:
    lengths, checksums = zip(*facts.chunks, strict=True) if facts.chunks else ((), ())
    with path.open("rb", buffering=0) as file:
        is_whole = file.read(len(header)) == header and path.stat().st_size == len(header) + sum(lengths)
        if not is_whole or tuple(_checksums(file, lengths)) != checksums:
            raise DamagedFile(path)


def _checksums(file: BinaryIO, lengths: Sequence[int]) -> Iterator[int]:
    """The checksum of each chunk of bytes. The file is not mapped, so that its pages do not count as memory in use."""
    buffer = memoryview(bytearray(max(lengths, default=0)))
    for length in lengths:
        check_time()
        piece = buffer[:length]
        file.readinto(piece)  # type: ignore[attr-defined]
        yield checksum(piece)


def checksum(data: memoryview | bytes) -> int:
    """The sum of the 64-bit words of the data and of the bytes after the last of them, modulo 2**64."""
    values = np.frombuffer(data, np.uint8)
    words = values[: len(values) // 8 * 8].view(np.uint64)
    return (int(words.sum()) + int(values[words.nbytes :].sum())) % 2**64


def _array_header(shape: Sequence[int]) -> bytes:
    file = io.BytesIO()
    facts: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def write_cache(
    paths: Sequence[ImagePath], folder: Path, size: Size, fit: Fit, threads: int, most: int | None = None
) -> None:
    """Decode all files into a new cache in an existing folder. size, fit, threads: see ``open_cache``.

    most: bytes of JPEGs to keep; None keeps pixels.
    """
    shape = (len(paths), *size, 3)
    writer = ArrayFile(folder / PIXELS, shape) if most is None else _JpegFile(folder, len(paths), most)
    with writer, heard(folder) as complaints:
        fingerprints, unreadable, chunks = _decode_all(paths, shape, fit, threads, writer, complaints)
    write_arrays(folder / CONTENTS, {"contents": fingerprints.contents})
    fingerprints.write(folder / FINGERPRINTS)
    write_json(folder / ABOUT, {"shape": shape, "unreadable": unreadable, "chunks": chunks})


def _decode_all(
    paths: Sequence[ImagePath],
    shape: tuple[int, ...],
    fit: Fit,
    threads: int,
    writer: "ArrayFile | _JpegFile",
    complaints: Complaints,
) -> tuple[Fingerprints, list[int], list[tuple[int, int]]]:
    """Decode chunks of images in parallel and hand each to the writer.

    Returns the fingerprints, the rows that could not be read, and ``_Facts.chunks``.
    """
    chunk = max(CHUNK_IMAGES, CHUNK_BYTES // math.prod(shape[1:]))
    fingerprints = Fingerprints.empty(len(paths))
    unreadable: list[int] = []
    chunks: list[tuple[int, int]] = []
    buffers: SimpleQueue[np.ndarray] = SimpleQueue()  # one for each thread: allocating memory for each chunk is slow
    for _ in range(threads):
        buffers.put(np.empty((chunk, *shape[1:]), np.uint8))

    def work(start: int) -> tuple[int, list[int], Callable[[], tuple[int, int]]]:
        rows, buffer = slice(start, start + chunk), buffers.get()
        try:
            images = buffer[: len(paths[rows])]
            failed = _decode_chunk(paths[rows], images, fingerprints.take(rows), fit, complaints)
            return len(images), [start + row for row in failed], writer.write(start, images)
        finally:
            buffers.put(buffer)

    bar = Progress(total=len(paths), desc="decoding", unit="image")
    with bar, one_thread_in_cv2(), ThreadPoolExecutor(threads) as pool:
        for done, failed, conclude in pool.map(work, range(0, len(paths), chunk)):
            unreadable += failed
            chunks.append(conclude())
            bar.update(done)
            check_time(len(chunks) * chunk / len(paths))
        fingerprints.damaged[:] = _damaged(
            paths, np.flatnonzero(fingerprints.damaged), (shape[1], shape[2]), complaints
        )
    return fingerprints, unreadable, chunks


def _damaged(paths: Sequence[ImagePath], suspects: np.ndarray, size: Size, complaints: Complaints) -> np.ndarray:
    """Which images are JPEGs that are damaged inside, bool ``[N]``; of the suspects, the first MOST_SUSPECTS.

    suspects: the rows that were decoded when something was printed on standard error, int64 ``[n]``.
    """
    damaged = np.zeros(len(paths), bool)
    for row in suspects[:MOST_SUSPECTS].tolist():
        check_time()
        damaged[row] = complaints.are_about(paths[row], size)
    return damaged


def _decode_chunk(
    paths: Sequence[ImagePath], images: np.ndarray, fingerprints: Fingerprints, fit: Fit, complaints: Complaints
) -> list[int]:
    """Decode files into ``images``, and take their fingerprints, where all suspects count as damaged.

    Returns the rows that could not be read, filled with zeros.
    """
    size, heard_of = images.shape[1:3], complaints.length
    failed, sizes, contents = [], [(0, 0)] * len(paths), [0] * len(paths)  # lists, as setting an array's cell is slow
    for row, path in enumerate(paths):
        try:
            data = read_file(path)
            image, sizes[row] = decode_sized(data, size)
            images[row] = fitted(image, size, fit)
            contents[row] = content_hash(data)
            if (length := complaints.length) > heard_of:
                fingerprints.damaged[row], heard_of = True, length
        except (OSError, UnreadableImage) as error:
            raise_shortage(error)
            images[row] = 0
            failed.append(row)
    fingerprints.sizes[:], fingerprints.contents[:] = np.minimum(sizes, LONGEST), contents
    fingerprints.look_at(images)
    return failed


class ArrayFile:
    """A uint8 .npy file whose rows can be written in any order and from any thread.

    It does not use a memory map, because the map's modified pages would count as memory of the process.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        self._start, self._row_bytes = self._file.write(_array_header(shape)), math.prod(shape[1:])
        self._lock = threading.Lock()

    def write(self, row: int, images: np.ndarray) -> Callable[[], tuple[int, int]]:
        """Write the images from ``row`` on. Returns a function that returns their bytes and checksum."""
        written = images.nbytes, checksum(images.reshape(-1).data)
        with self._lock:
            self._file.seek(self._start + row * self._row_bytes)
            self._file.write(images.data)
        return lambda: written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


class _JpegFile:
    """JPEGs one after the other, up to ``most`` bytes, and a file of where each begins; later images are left out."""

    def __init__(self, folder: Path, count: int, most: int) -> None:
        self._folder, self._most = folder, most
        self._file = (folder / JPEGS).open("wb")
        self._starts = np.zeros(count + 1, np.int64)
        self._is_full = False

    def write(self, row: int, images: np.ndarray) -> Callable[[], tuple[int, int]]:
        """Encode the images, from ``row`` on. Returns a function that writes them; call these in the order of rows.

        It returns the bytes written and their checksum.
        """
        found = [encoded(image) for image in images]
        return lambda: self._append(row, found)

    def _append(self, row: int, images: list[bytes]) -> tuple[int, int]:
        kept = []
        for number, data in enumerate(images, start=row):
            self._is_full |= self._starts[number] + len(data) > self._most
            kept.append(b"" if self._is_full else data)
            self._starts[number + 1] = self._starts[number] + len(kept[-1])
        written = b"".join(kept)
        self._file.write(written)
        return len(written), checksum(written)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if error is None:
            write_arrays(self._folder / STARTS, {"starts": self._starts})


@contextmanager
def one_thread_in_cv2() -> Iterator[None]:
    """Limit cv2 to one thread, because images are already decoded in parallel and its threads would compete."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
