"""How a row of numbers is a picture: its height, width and channels, which often are not written down."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEAST = 64  # pixels of a picture, 8 x 8; fewer numbers are features
_ASPECT = 4.0  # of a picture whose sides are not known
_PIXEL = re.compile(
    r"(pixels?|pix|px|p|x|v|c|col|column|image|img)?[_ .-]?(?P<number>\d+)(?P<column>[x_]\d+)?", re.IGNORECASE
)


class Grid(NamedTuple):
    """The shape of a picture: ``[H, W]``, ``[H, W, C]``, or, if ``is_planar``, ``[C, H, W]``."""

    shape: tuple[int, ...]
    is_planar: bool = False

    def picture(self, values: np.ndarray) -> np.ndarray:
        """A row of numbers as ``[H, W]`` or ``[H, W, C]``."""
        picture = values.reshape(self.shape)
        return np.moveaxis(picture, 0, -1) if self.is_planar else picture


def pixel_columns(names: Sequence[str]) -> list[str]:
    """The columns of which each is a pixel: ``pixel0``, ``pixel1``, ..., or ``0``, ``1``, ..., or ``1x1``, ``1x2``."""
    pixels = {name: match for name in names if (match := _PIXEL.fullmatch(name.strip()))}
    numbers = [int(match["number"]) for match in pixels.values() if match["column"] is None]
    is_counted = sorted(numbers) == list(range(min(numbers, default=0), min(numbers, default=0) + len(numbers)))
    return list(pixels) if len(pixels) >= LEAST and is_counted else []


def numbers_in(cell: str) -> np.ndarray:
    """The numbers in a cell, separated by blanks or commas, perhaps in brackets; empty if it holds anything else."""
    try:
        return np.array(cell.strip().strip("[]()").replace(",", " ").split(), np.float32)
    except ValueError:
        return np.zeros(0, np.float32)


def grid_of(rows: np.ndarray) -> Grid:
    """The grid in which some pictures, ``[N, pixels]``, are smoothest; a square if the number of pixels allows it."""
    count = rows.shape[1]
    side, third = round(count**0.5), round((count / 3) ** 0.5)
    if side**2 == count:
        return Grid((side, side))
    if 3 * third**2 == count:
        grids = [Grid((third, third, 3)), Grid((3, third, third), is_planar=True)]
    else:
        heights = [height for height in range(1, count + 1) if count % height == 0]
        grids = [Grid((height, count // height)) for height in heights]
        grids = [grid for grid in grids if 1 / _ASPECT <= grid.shape[0] / grid.shape[1] <= _ASPECT] or grids
    some = rows[:32].astype(np.float32)
    return min(grids, key=lambda grid: sum(_roughness(grid.picture(row)) for row in some))


def _roughness(picture: np.ndarray) -> float:
    """How much neighbouring pixels differ, on average."""
    return sum(float(np.abs(np.diff(picture, axis=axis)).mean()) for axis in (0, 1) if picture.shape[axis] > 1)
