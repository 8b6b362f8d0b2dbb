"""Images for models that see each pixel as a number of its own: large ones are shrunk to at most 64 x 64 pixels."""

import hashlib
from math import prod, sqrt
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from competition.errors import UserError
from competition.progress import Progress
from competition.remembered import remembered
from competition.storage import atomic_write, remedy_for
from pipeline.data import fitting
from pipeline.data.cache import ImageCache, Images
from pipeline.data.cache_files import PIXELS, ArrayFile, Store
from pipeline.data.fitting import Size, resize
from pipeline.runtime.sealed import is_sealed, seal
from pipeline.runtime.time_limit import check_time

LARGE = 128  # pixels; images with a longer side are shrunk
SIDE = 64
AT_ONCE = 64  # images, which are in memory at their full size


def small_size(size: Size) -> Size:
    """The (height, width) to which images of that size are shrunk: as many pixels as 64 x 64, in the same ratio."""
    if max(size) <= LARGE:
        return size
    scale = SIDE / sqrt(prod(size))
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def small(images: Images) -> Images:
    """The images, uint8 ``[N, H, W, 3]``, shrunk to ``small_size``; features, and images that are small, as they are.

    Those of a cache of pixels are computed once and kept in its folder; a cache of JPEGs, which is one because room is
    short, is read again each time.
    """
    size = small_size(images.shape[1:3])
    if images.dtype != np.uint8 or size == tuple(images.shape[1:3]):
        return images
    if not isinstance(images, ImageCache):
        return _shrunk(images, size)
    if images.folder is None or not isinstance(images.store, np.ndarray):
        return images.stored_in(Shrunk(images.store, size))
    try:
        return images.stored_in(_kept_in(images.folder, size))
    except OSError as error:
        fault = f"cannot write the small images to {images.folder}: {error.strerror or error}"
        raise UserError(f"{fault}; {remedy_for(error)}") from error


def resized_rows(images: Images, rows: np.ndarray, size: Size) -> np.ndarray:
    """The images at these rows, uint8 ``[n, *size, 3]``; only a few at a time are in memory at their full size."""
    found = np.empty((len(rows), *size, 3), np.uint8)
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        found[start : start + len(some)] = _shrunk(images[some], size)
    return found


class Shrunk:
    """The images of a store at a smaller size, which is computed each time."""

    def __init__(self, store: Store, size: Size) -> None:
        self.store, self.shape = store, (store.shape[0], *size, 3)

    def take(self, rows: Any, axis: int = 0) -> np.ndarray:
        """uint8 ``[n, height, width, 3]``, or ``[height, width, 3]`` for a single row."""
        places = np.asarray(rows)
        found = np.empty((places.size, *self.shape[1:]), np.uint8)
        for start in range(0, places.size, AT_ONCE):
            some = places.reshape(-1)[start : start + AT_ONCE]
            found[start : start + len(some)] = _shrunk(self.store.take(some, 0), self.shape[1:3])
        return found.reshape(*places.shape, *self.shape[1:])


def _shrunk(images: np.ndarray, size: Size) -> np.ndarray:
    found = np.empty((len(images), *size, 3), np.uint8)
    for row, image in enumerate(images):
        found[row] = resize(image, *size)
    return found


@remembered
def _kept_in(folder: Path, size: Size) -> np.ndarray:
    """The small images of a cache of pixels, memory-mapped; they are computed if they are missing or damaged."""
    code = hashlib.sha256(Path(fitting.__file__).read_bytes() + cv2.__version__.encode()).hexdigest()[:16]
    place = folder / f"small-{size[1]}x{size[0]}-{code}.npy"
    owner = f"{folder.name}/{place.name}"
    if not is_sealed(place, owner):
        images = Shrunk(np.load(folder / PIXELS, mmap_mode="r"), size)
        with atomic_write(place) as temporary:
            _write(images, temporary)
            seal(temporary, owner)
    return np.asarray(np.load(place, mmap_mode="r"))


def _write(images: Shrunk, path: Path) -> None:
    count = images.shape[0]
    with ArrayFile(path, images.shape) as file, Progress(total=count, desc="small images", unit="image") as bar:
        for start in range(0, count, AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, count))
            file.write(start, images.take(rows))
            bar.update(len(rows))
            check_time()
