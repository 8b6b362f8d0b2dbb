"""Finds, for each of many thumbnails, those that may show the same picture: mirrored, cropped, brighter or coarser.

As in other perceptual hashes, the bits of a thumbnail's hash are the signs of its lowest frequencies. Two hashes are
compared if they agree in one of several bands of bits, which a table for each band tells. A crop is found because the
hashes of many windows of a picture are looked up, not only that of all of it; mirroring flips known bits.
"""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from pipeline.findings.alignment import FLIPS, flip_signs, frequencies, unit, whole, windowed

COUNT = 7  # coefficients a side
BITS, GROUPS = 16, 6  # of a band; the bits are in groups, and each band leaves out two of these
DOUBTFUL = 2  # bits of a band, those of the smallest coefficients, that are also looked up the other way
MOST_DIFFERENT = 10  # bits of two hashes
LEAST_ALIKE = 0.88  # cosine between the coefficients
BLOCK = 1 << BITS  # thumbnails in a table, so that its size does not grow with the number of images
TOGETHER = 64  # thumbnails that are looked up at once
MOST_AGREEING = 4000  # for each of these and a band; keys that most thumbnails share are passed over
BORDERS = (0.0, 0.075, 0.15)  # what windows leave out at a side
LINES = np.array([pair for pair in product(BORDERS, BORDERS) if sum(pair) <= max(BORDERS)], np.float32)
WINDOWS = np.array([(*down, *right) for down, right in product(LINES, LINES)], np.float32)

_SIGNS = flip_signs(COUNT)
_LOWEST = np.argsort(np.add(*frequencies(COUNT)), kind="stable")[: BITS * GROUPS // (GROUPS - 2)]
_BANDS = [_LOWEST[(np.arange(len(_LOWEST)) - band) % GROUPS >= 2] for band in range(GROUPS)]
_VALUES = 1 << np.arange(BITS)
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of images that may show the same picture.

    first, second: their rows, int64 ``[M]``. windows: what to leave out of the first, so that it shows what the second
    does, see ``coefficients``. flips: how the second is mirrored, int64 ``[M]``.
    """

    first: np.ndarray
    second: np.ndarray
    windows: np.ndarray
    flips: np.ndarray

    @classmethod
    def none(cls) -> Self:
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, np.zeros((0, 4), np.float32), nothing)

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(self.first[rows], self.second[rows], self.windows[rows], self.flips[rows])


class Block:
    """Images that others are looked up among.

    rows: of the images, ascending, at most BLOCK. thumbnails: float32 ``[n, side, side]``.
    """

    def __init__(self, rows: np.ndarray, thumbnails: np.ndarray) -> None:
        self.rows = rows
        self.coefficients = unit(whole(thumbnails, COUNT))
        self.hashes = _hashes(self.coefficients)
        self._tables = [_table(_keys(self.coefficients, band)) for band in _BANDS]

    def coefficients_of(self, rows: np.ndarray) -> np.ndarray:
        """The coefficients of images of the block, float32 ``[M, n]``."""
        return self.coefficients[np.searchsorted(self.rows, rows)]

    def agreeing(self, band: int, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The places of keys, and the places of images that have these keys in a band. keys: int64 ``[n]``."""
        order, starts = self._tables[band]
        counts = starts[keys + 1] - starts[keys]
        places = np.flatnonzero(counts)
        if counts[places].sum() > TOGETHER * MOST_AGREEING:
            places = places[np.argsort(counts[places], kind="stable")]
            places = places[np.cumsum(counts[places]) <= TOGETHER * MOST_AGREEING]
        counts = counts[places]
        shift = np.repeat(starts[keys[places]] - (np.cumsum(counts) - counts), counts)
        return np.repeat(places, counts), order[np.arange(len(shift)) + shift]


def _table(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the keys in ascending order of keys, and where each possible key begins among them."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << BITS))])
    return np.argsort(keys, kind="stable").astype(np.int32), starts


def _keys(found: np.ndarray, band: np.ndarray) -> np.ndarray:
    """The bits of a band as a number, int64 ``[n]``. found: coefficients."""
    return (found[:, band] > 0) @ _VALUES


def _hashes(found: np.ndarray) -> np.ndarray:
    """The bits of all coefficients, uint64 ``[n]``."""
    padded = np.pad(found > 0, ((0, 0), (0, 64 - found.shape[1])))
    return np.packbits(padded, axis=1).view(np.uint64)[:, 0]


_FLIPPED = _hashes(-_SIGNS)  # the bits that mirroring changes


def candidates(rows: np.ndarray, thumbnails: np.ndarray, block: Block) -> Candidates:
    """The images of the block that may show the same as these images, which are the first of each pair.

    rows: of the images, at most TOGETHER. thumbnails: float32 ``[n, side, side]``.
    """
    query = unit(windowed(thumbnails, LINES, COUNT).reshape(len(rows) * len(WINDOWS), -1))
    hashes = _hashes(query)[:, None] ^ _FLIPPED
    found = [_in_band(band, query, hashes.ravel(), block) for band in range(GROUPS)]
    views, others, alike = (np.concatenate(each) for each in zip(*found, strict=True))
    best = _first_of_each(views // (FLIPS * len(WINDOWS)) * BLOCK + others, -alike)
    views = views[best]
    pairs = Candidates(
        rows[views // (FLIPS * len(WINDOWS))],
        block.rows[others[best]],
        WINDOWS[views // FLIPS % len(WINDOWS)],
        views % FLIPS,
    )
    return pairs.take(np.flatnonzero(pairs.first != pairs.second))


def _in_band(
    band: int, query: np.ndarray, hashes: np.ndarray, block: Block
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is alike: the places of views, which are windows as they are mirrored, those of images, and how much it is.

    query: coefficients of the windows. hashes: of the views.
    """
    keys = _keys_of_views(query, _BANDS[band])
    places, others = block.agreeing(band, keys.ravel())
    views = places // keys.shape[1]
    near = np.flatnonzero(_different_bits(hashes[views], block.hashes[others]) <= MOST_DIFFERENT)
    views, others = views[near], others[near]
    alike = np.einsum("mk,mk,mk->m", query[views // FLIPS], _SIGNS[views % FLIPS], block.coefficients[others])
    kept = alike >= LEAST_ALIKE
    return views[kept], others[kept], alike[kept]


def _keys_of_views(query: np.ndarray, band: np.ndarray) -> np.ndarray:
    """The keys to look up for each view, int64 ``[n * FLIPS, 1 + DOUBTFUL]``. query: coefficients of n windows."""
    doubtful = np.argpartition(np.abs(query[:, band]), DOUBTFUL, axis=1)[:, :DOUBTFUL]
    changes = np.pad(_VALUES[doubtful], ((0, 0), (1, 0)))
    flipped = (_SIGNS[:, band] < 0) @ _VALUES
    keys = _keys(query, band)[:, None] ^ flipped
    return (keys[:, :, None] ^ changes[:, None, :]).reshape(-1, 1 + DOUBTFUL)


def _different_bits(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """In how many bits hashes differ, uint8 ``[M]``."""
    parts = (first ^ second).view(np.uint16).reshape(-1, 4)
    return _ONES[parts[:, 0]] + _ONES[parts[:, 1]] + _ONES[parts[:, 2]]


def _first_of_each(keys: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The places of the first of all with the same key, in ascending order of ``by``."""
    order = np.lexsort((by, keys))
    return order[np.flatnonzero(np.diff(keys[order], prepend=-1))]
