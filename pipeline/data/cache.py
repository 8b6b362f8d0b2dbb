"""Decoded images, uint8 ``[N, H, W, 3]``, built once: a memory-mapped array or, where that is too large, JPEGs.

A cache is a folder. Its name is a hash of everything that its content depends on. It is built under a temporary name
and renamed when it is complete, so a cache that exists is complete, unless its files were damaged afterwards; then it
is built again.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import PIL

from competition.errors import UserError
from competition.storage import build_folder, discard, remedy_for
from competition.wording import size_text
from pipeline.data import decode as decoding
from pipeline.data import jpegs
from pipeline.data.cache_files import JPEGS, Store, contents_in, read_cache, write_cache
from pipeline.data.decode import ImagePath, UnreadableImage, content_hash, decode, read_file
from pipeline.data.fingerprints import Fingerprints
from pipeline.data.fitting import Fit
from pipeline.data.fitting import Size as Size  # which users of a cache import from here
from pipeline.data.jpegs import Jpegs
from pipeline.runtime.memory import raise_shortage, total_memory
from pipeline.runtime.sealed import DamagedFile

CACHE_VERSION = 3
FILES_AT_ONCE = 256  # that a thread hashes before it takes the next ones
DEFAULT_SIZE = (64, 64)  # if no image can be read
SHARE_OF_DISK = 0.5  # of the free disk, at most, for the pixels of a cache


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
        images: Store,
        unreadable: np.ndarray,
        rows: np.ndarray | None = None,
        folder: Path | None = None,
        fingerprints: Fingerprints | None = None,
    ) -> None:
        self.folder = folder
        self._images = images
        self._unreadable = unreadable
        self._fingerprints = fingerprints
        self.rows = np.arange(images.shape[0]) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def name(self) -> str:
        """The name of the cache, a hash of everything that it depends on; empty if the images are not in a cache."""
        return self.folder.name if self.folder else ""

    @property
    def whole(self) -> "ImageCache":
        """All images of the cache that holds these images."""
        return ImageCache(self._images, self._unreadable, None, self.folder, self._fingerprints)

    @property
    def store(self) -> Store:
        """Where the pixels of all images of the cache are."""
        return self._images

    @property
    def in_jpegs(self) -> int:
        """How many images of the cache are kept as JPEGs, which change their pixels a little."""
        return self._images.stored if isinstance(self._images, Jpegs) else 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        _, height, width, channels = self._images.shape
        return len(self), height, width, channels

    @property
    def unreadable(self) -> np.ndarray:
        """The rows whose files could not be read, int64 ``[K]``; the pixels of these rows are all zero."""
        return np.flatnonzero(np.isin(self.rows, self._unreadable))

    @property
    def damaged(self) -> np.ndarray:
        """The rows of JPEGs that are damaged inside, int64 ``[K]``; parts of their pixels are wrong."""
        return np.flatnonzero(self.fingerprints.damaged)

    @property
    def contents(self) -> np.ndarray:
        """The ``content_hash`` of each image's file, uint64 ``[N]``; 0 if it is not known."""
        if self._fingerprints is None:
            return np.zeros(len(self), np.uint64)
        return self._fingerprints.contents[self.rows]

    @property
    def fingerprints(self) -> Fingerprints:
        """The images' fingerprints, which only those of a cache have. Those of its first rows are not copied."""
        assert self._fingerprints is not None
        first = slice(len(self))
        are_first = np.array_equal(self.rows, np.arange(len(self)))
        return self._fingerprints.take(first if are_first else self.rows)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        return self._images.take(self.rows[index], axis=0)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an ImageCache cannot become an array without copying")
        return self[:].astype(dtype or self.dtype, copy=False)

    def subset(self, rows: slice | Sequence[int] | np.ndarray) -> "ImageCache":
        """The given rows in the given order, without copying an image."""
        return ImageCache(self._images, self._unreadable, self.rows[rows], self.folder, self._fingerprints)

    def stored_in(self, store: Store) -> "ImageCache":
        """The same images with their pixels in another store, which is not a cache."""
        return ImageCache(store, self._unreadable, self.rows, None, self._fingerprints)


Images = np.ndarray | ImageCache  # uint8 [N, H, W, 3]; features are float32 [N, 1, D, 1] arrays


def rows_of(images: Images, rows: slice | np.ndarray) -> Images:
    """The given rows of an array or of a cache; the rows of a cache are not copied."""
    return images.subset(rows) if isinstance(images, ImageCache) else images[rows]


def open_cache(
    paths: Sequence[ImagePath],
    folder: Path,
    size: Size | None = None,
    threads: int | None = None,
    fit: Fit = "squash",
    most: int | None = None,
) -> ImageCache:
    """The images of these files, in this order. Their cache is built in ``folder`` if it is missing or damaged.

    size: (height, width) in pixels; None: that of the first image that can be read.
    threads: number of decoding threads; default: one for each CPU.
    fit: how images of another aspect ratio are brought to the size.
    most: bytes of images on the disk; where pixels need more, JPEGs are kept, and as many as fit. The others are
        decoded from their files each time. Default: a cache that is there, else half of the free disk, but no more than
        the machine's memory.

    An unreadable file gives a row of zeros, and its row number is in ``ImageCache.unreadable``.
    Raises UserError if the folder cannot be written.
    """
    size = size or _first_size(paths)
    place, kept = _place(paths, folder, size, fit, most)
    try:
        found = _read_if_sound(place, paths, fit)
        if found is None:
            build_folder(
                place, lambda draft: write_cache(paths, draft, size, fit, threads or os.cpu_count() or 1, kept)
            )
            found = read_cache(place, paths, fit, check_images=False)
    except (OSError, DamagedFile) as error:
        raise_shortage(error)
        raise UserError(f"cannot write the image cache in {folder}: {_reason(error)}; {remedy_for(error)}") from error
    store, unreadable, fingerprints = found
    return ImageCache(store, unreadable, None, place, fingerprints)


def _first_size(paths: Sequence[ImagePath]) -> Size:
    """The height and width of the first readable image."""
    for path in paths:
        with suppress(UnreadableImage):
            height, width, _ = decode(path).shape
            return height, width
    return DEFAULT_SIZE


def _place(paths: Sequence[ImagePath], folder: Path, size: Size, fit: Fit, most: int | None) -> tuple[Path, int | None]:
    """The folder of the cache, and the bytes of JPEGs to keep if it is built; None to keep pixels.

    A cache that is there decides, if it is not too large: the free disk, which changes, must not change the images.
    """
    pixels, compressed = (folder / name for name in _names(paths, [(size, fit)]))
    needed = len(paths) * math.prod(size) * 3
    if pixels.exists() and (most is None or needed <= most):
        return pixels, None
    room = default_room(folder) if most is None else most
    if compressed.exists():
        if most is None or _bytes_of(compressed / JPEGS) <= most:
            return compressed, room
        discard(compressed)
    if needed <= room:
        return pixels, None
    print(
        f"{len(paths):,} images of {size[1]} x {size[0]} pixels would need {size_text(needed)}: the cache keeps JPEGs, "
        f"at most {size_text(room)}, and the rest is read from the files; --cache-size decides"
    )
    return compressed, room


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def default_room(folder: Path) -> int:
    """Bytes for the images of a cache in this folder, which may not exist yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return min(int(SHARE_OF_DISK * shutil.disk_usage(there).free), total_memory())


def _read_if_sound(place: Path, paths: Sequence[ImagePath], fit: Fit) -> tuple[Store, np.ndarray, Fingerprints] | None:
    """What ``read_cache`` finds; None if there is no cache. A damaged one is removed."""
    if not os.path.lexists(place):
        return None
    try:
        return read_cache(place, paths, fit)
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


def known_contents(paths: Sequence[ImagePath], folder: Path, shapes: Iterable[tuple[Size, Fit]]) -> np.ndarray | None:
    """The ``content_hash`` of each file, uint64 ``[N]``, from their cache; None if there is none.

    folder: as for ``open_cache``. shapes: the sizes and fits of ``open_cache`` that the cache may have.
    """
    for place in (folder / name for name in _names(paths, shapes)):
        with suppress(DamagedFile, OSError):
            if len(contents := contents_in(place)) == len(paths):
                return contents
    return None


def known_images(paths: Sequence[ImagePath], folder: Path, shapes: Iterable[tuple[Size, Fit]]) -> ImageCache | None:
    """The images of these files, from a cache whose pixels are not checked; None if there is none.

    Arguments: see ``known_contents``.
    """
    for size, fit in shapes:
        for place in (folder / name for name in _names(paths, [(size, fit)])):
            with suppress(DamagedFile, OSError):
                store, unreadable, fingerprints = read_cache(place, paths, fit, check_images=False)
                return ImageCache(store, unreadable, None, place, fingerprints)
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


def _names(paths: Sequence[ImagePath], shapes: Iterable[tuple[Size, Fit]]) -> Iterator[str]:
    """For each shape the names of a cache of pixels and one of JPEGs, hashes of everything that they depend on."""
    stamps = [_stamp(path) for path in paths]
    for size, fit in shapes:
        for kind in ("pixels", f"jpegs {jpegs.QUALITY}"):
            facts = [decoder_version(), size, fit, kind, stamps]
            yield hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


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
