"""Descriptors: features computed once for each image on its own, and saved in the folder of the image cache."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from competition.errors import UserError
from competition.progress import Progress
from competition.storage import atomic_write, discard, remedy_for
from competition.wording import printable
from pipeline.data.cache import ImageCache, Images
from pipeline.data.decode import resize
from pipeline.runtime.sealed import is_sealed, seal
from pipeline.runtime.time_limit import check_time

SIDE = 32  # height and width in pixels that every image is resized to first
CELLS, ORIENTATIONS = 8, 9  # cells on each side, and directions in the gradient histogram of a cell
TILES = 4  # tiles on each side for the colours
SMALL = 16  # height and width of the small image in pixels
FAINT = 10.0  # length in grey levels below which a block of cells counts as nearly flat
IMAGES_AT_ONCE = 500

HISTOGRAMS = slice(0, CELLS * CELLS * ORIENTATIONS)
COLOURS = slice(HISTOGRAMS.stop, HISTOGRAMS.stop + TILES * TILES * 3 * 2)
PIXELS = slice(COLOURS.stop, COLOURS.stop + SMALL * SMALL * 3)


def descriptors(images: Images) -> np.ndarray:
    """Gradient histograms, colours and small pixels, float16 ``[N, 1440]``, of uint8 ``[N, H, W, 3]``.

    The parts are the columns ``HISTOGRAMS``, ``COLOURS`` and ``PIXELS``. All values are in [0, 1].
    """
    found = np.empty((len(images), PIXELS.stop), np.float16)
    with Progress(total=len(images), desc="descriptors", unit="image") as bar:
        for start in range(0, len(images), IMAGES_AT_ONCE):
            batch = np.stack([resize(image, SIDE, SIDE) for image in images[start : start + IMAGES_AT_ONCE]])
            rows = slice(start, start + len(batch))
            found[rows, HISTOGRAMS] = gradient_histograms(batch)
            found[rows, COLOURS] = colours(batch)
            found[rows, PIXELS] = small_pixels(batch)
            bar.update(len(batch))
            check_time()
    return found


def gradient_histograms(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients of uint8 ``[n, S, S, 3]``, float32 ``[n, CELLS * CELLS * ORIENTATIONS]``.

    Directions are unsigned. Each gradient is divided between the two nearest directions. Every block of 2x2 cells is
    scaled to length 1; blocks do not overlap. Dalal and Triggs, Histograms of Oriented Gradients for Human Detection,
    2005.
    """
    count, side = images.shape[:2]
    grey = cv2.cvtColor(images.reshape(-1, side, 3), cv2.COLOR_RGB2GRAY).reshape(count, side, side)
    magnitude, direction = _gradients(grey.astype(np.float32))
    lower = np.floor(direction).astype(np.int64)
    cell = np.arange(side) * CELLS // side
    place = ((np.arange(count)[:, None, None] * CELLS + cell[:, None]) * CELLS + cell) * ORIENTATIONS
    share = (direction - lower) * magnitude
    size = count * HISTOGRAMS.stop
    total = np.bincount((place + lower % ORIENTATIONS).ravel(), (magnitude - share).ravel(), size)
    total += np.bincount((place + (lower + 1) % ORIENTATIONS).ravel(), share.ravel(), size)
    return _scaled_blocks(total.reshape(count, CELLS, CELLS, ORIENTATIONS).astype(np.float32))


def _gradients(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude, and direction in [0, ORIENTATIONS], of float32 ``[n, S, S]``; the magnitude is 0 at the border."""
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    return np.hypot(across, down), np.arctan2(down, across) / np.pi % 1 * ORIENTATIONS


def _scaled_blocks(cells: np.ndarray) -> np.ndarray:
    """The cells with each block of 2x2 scaled to length 1, or less if it is nearly flat.

    ``[n, CELLS, CELLS, ORIENTATIONS]`` to ``[n, CELLS * CELLS * ORIENTATIONS]``, in the same order.
    """
    count, half = len(cells), CELLS // 2
    blocks = cells.reshape(count, half, 2, half, 2, ORIENTATIONS)
    length = np.sqrt(np.square(blocks).sum(axis=(2, 4, 5), keepdims=True) + FAINT**2)
    return (blocks / length).reshape(count, -1)


def colours(images: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each channel of each tile: uint8 ``[n, S, S, 3]`` to float32 ``[n, TILES²*6]``."""
    tiles = _tiles(images, TILES)
    return np.stack([tiles.mean(axis=(2, 4)), tiles.std(axis=(2, 4))], axis=-1).reshape(len(images), -1)


def small_pixels(images: np.ndarray) -> np.ndarray:
    """The images shrunk to SMALL x SMALL pixels: uint8 ``[n, S, S, 3]`` to float32 ``[n, SMALL² * 3]`` in [0, 1]."""
    return _tiles(images, SMALL).mean(axis=(2, 4)).reshape(len(images), -1)


def _tiles(images: np.ndarray, count: int) -> np.ndarray:
    """The images cut into count x count tiles: float32 ``[n, count, pixels, count, pixels, 3]`` in [0, 1]."""
    side = images.shape[1] // count
    return images.reshape(len(images), count, side, count, side, 3) / np.float32(255)


def descriptors_name() -> str:
    """The name of the descriptors' file, with a hash of the code that computes them."""
    code = Path(__file__).read_bytes() + cv2.__version__.encode()
    return f"descriptors-{hashlib.sha256(code).hexdigest()[:16]}"


def computed_once(images: Images, name: str, compute: Callable[[Images], np.ndarray]) -> np.ndarray:
    """The result of ``compute`` for the images, ``[N, D]``.

    If the images are in a cache, the result is computed for all rows of the cache and saved as ``name`` in its folder.
    The name must identify everything besides the images that the result depends on.
    A saved result that is damaged is computed again, and a line says so.
    Raises UserError if the folder cannot be written or the disk is full.
    """
    if not isinstance(images, ImageCache) or images.folder is None:
        return compute(images)
    place = images.folder / f"{name}.npy"
    try:
        if not _is_intact(place):
            _save(compute(images.whole), place)
    except OSError as error:
        raise UserError(
            f"cannot write the features to {place.parent}: {error.strerror or error}; {remedy_for(error)}"
        ) from error
    return np.load(place, mmap_mode="r", allow_pickle=False)[images.rows]


def is_computed(images: ImageCache, name: str) -> bool:
    """Whether ``computed_once`` has saved the result of that name for the cache of the images."""
    return images.folder is not None and _is_intact(images.folder / f"{name}.npy")


def _is_intact(place: Path) -> bool:
    """Whether the result is there as it was saved. A damaged one is removed."""
    if not place.exists() or is_sealed(place, _owner(place)):
        return place.exists()
    print(f"{printable(place, most=200)}: damaged; it is computed again")
    discard(place)
    return False


def _save(values: np.ndarray, place: Path) -> None:
    with atomic_write(place) as temporary:
        with temporary.open("wb") as file:
            np.save(file, values)
        seal(temporary, _owner(place))


def _owner(place: Path) -> str:
    """The cache and the name of the result."""
    return f"{place.parent.name}/{place.name}"
