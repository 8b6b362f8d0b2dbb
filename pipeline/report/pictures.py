"""Read images for the report: statistics of a random sample of each split, and tiles for the figures."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.data.decode import UnreadableImage, decode, resize

SAMPLED = 400  # images read of each split
WHITE = 255
GUTTER = 4  # pixels between the images of a strip


@dataclass(frozen=True, eq=False)
class ImageStats:
    """Statistics of a sample of images.

    images: number of images read; sizes: number of images of each (height, width) in pixels.
    mean, std: of the red, green and blue values, float64 ``[3]`` in 0-255; nan if no image could be read.
    """

    images: int
    sizes: Counter[tuple[int, int]]
    mean: np.ndarray
    std: np.ndarray


def image_stats(paths: Sequence[Path], seed: int = 0) -> ImageStats:
    """Statistics of at most ``SAMPLED`` of the files, drawn at random. Unreadable files are skipped."""
    drawn = np.random.default_rng(seed).permutation(len(paths))[:SAMPLED]
    measured = [each for each in _each(_measure, [paths[row] for row in drawn]) if each]
    sizes = Counter(size for size, _, _ in measured)
    mean = np.mean([mean for _, mean, _ in measured], axis=0) if measured else np.full(3, np.nan)
    squares = np.mean([squares for _, _, squares in measured], axis=0) if measured else np.full(3, np.nan)
    return ImageStats(len(measured), sizes, mean, np.sqrt(np.maximum(squares - mean**2, 0)))


def tiles(paths: Sequence[Path], side: int) -> np.ndarray:
    """The images scaled to fit white squares, uint8 ``[N, side, side, 3]``; an unreadable one gives a white square."""
    return np.array(_each(partial(_tile, side=side), paths), np.uint8).reshape(-1, side, side, 3)


def strip(paths: Sequence[Path], places: int, side: int) -> np.ndarray:
    """The images side by side, uint8 ``[side, places * side, 3]``; unused places are white."""
    page = np.full((side, places * side, 3), WHITE, np.uint8)
    for place, tile in enumerate(tiles(paths, side - GUTTER)):
        page[GUTTER // 2 : side - GUTTER // 2, place * side : (place + 1) * side - GUTTER] = tile
    return page


def drawn_by_class(labels: np.ndarray, classes: Iterable[int], most: int, seed: int = 0) -> list[np.ndarray]:
    """For each of the classes, the rows of at most ``most`` images, drawn at random. labels: int64 ``[N]``."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(np.flatnonzero(labels == label))[:most] for label in classes]


def _each(read: Callable[[Path], object], paths: Sequence[Path]) -> list:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, paths))


def _measure(path: Path) -> tuple[tuple[int, int], np.ndarray, np.ndarray] | None:
    """Size, channel means and channel means of squares; None if the file cannot be read."""
    with suppress(UnreadableImage):
        image = decode(path)
        values = image.reshape(-1, 3).astype(np.float32)
        return image.shape[:2], values.mean(axis=0, dtype=np.float64), (values**2).mean(axis=0, dtype=np.float64)
    return None


def _tile(path: Path, side: int) -> np.ndarray:
    tile = np.full((side, side, 3), WHITE, np.uint8)
    with suppress(UnreadableImage):
        image = decode(path)
        scale = side / max(image.shape[:2])
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        top, left = (side - height) // 2, (side - width) // 2
        tile[top : top + height, left : left + width] = resize(image, height, width)
    return tile
