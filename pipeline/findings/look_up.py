"""Finds, for each of many thumbnails, those that may show the same picture: mirrored, cropped, brighter or coarser.

As in other perceptual hashes, the bits of a thumbnail's hash are the signs of its lowest frequencies. Two hashes are
compared if they agree in one of several bands of bits, which a table for each band tells. A crop is found because the
hashes of many windows of a picture are looked up, not only that of all of it; mirroring flips known bits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from pipeline.findings.alignment import FLIPS, flip_signs, frequencies, unit, whole, windowed

COUNT = 7  # coefficients a side
BITS, GROUPS = 16, 6  # of a band; the bits are in groups, and each band leaves out two of these
DOUBTFUL = 2  # bits of a band, those of the smallest coefficients, that are also looked up the other way
MOST_DIFFERENT = 12  # bits of two hashes
LEAST_ALIKE = 0.85  # cosine between the coefficients
BLOCK = 1 << 15  # thumbnails in a table, so that its size does not grow with the number of images
PIECE = 1 << 13  # thumbnails, or agreements, that are in work at once
SCALE = 127  # of coefficients that are kept as whole numbers
TOGETHER = 64  # thumbnails that are looked up at once
MOST_AGREEING = 4000 * TOGETHER  # in a band
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

    rows: of the images, ascending, at most BLOCK. thumbnails: of rows, float32 ``[n, side, side]``.
    """

    def __init__(self, rows: np.ndarray, thumbnails: Callable[[np.ndarray], np.ndarray]) -> None:
        self.rows = rows
        self._coefficients = np.empty((len(rows), COUNT**2 - 1), np.int8)
        self.hashes = np.empty(len(rows), np.uint64)
        keys = np.empty((len(rows), GROUPS), np.uint16)
        for start in range(0, len(rows), PIECE):
            some = slice(start, start + PIECE)
            found = unit(whole(thumbnails(rows[some]), COUNT))
            self._coefficients[some], self.hashes[some] = np.rint(found * SCALE), _hashes(found)
            keys[some] = np.stack([_keys(found, band) for band in _BANDS], axis=1)
        self._tables = [_table(each) for each in keys.T]

    def coefficients(self, places: np.ndarray) -> np.ndarray:
        """The coefficients of the images at these places of ``rows``, about of length 1, float32 ``[M, n]``."""
        return self._coefficients[places] / np.float32(SCALE)

    def agreeing(self, band: int, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places of keys and the places of images that have these keys in a band, some at a time.

        keys: int64 ``[n]``. The keys that most images have are passed over if there are more than MOST_AGREEING.
        """
        order, starts = self._tables[band]
        places = np.flatnonzero(starts[keys + 1] > starts[keys])
        counts = starts[keys[places] + 1] - starts[keys[places]]
        if counts.sum() > MOST_AGREEING:
            rarest = np.argsort(counts, kind="stable")
            rarest = rarest[np.cumsum(counts[rarest]) <= MOST_AGREEING]
            places, counts = places[rarest], counts[rarest]
        pieces = np.flatnonzero(np.diff(np.cumsum(counts) // PIECE)) + 1
        for some, number in zip(np.split(places, pieces), np.split(counts, pieces), strict=True):
            shift = np.repeat(starts[keys[some]] - (np.cumsum(number) - number), number)
            yield np.repeat(some, number), order[np.arange(len(shift)) + shift]


def _table(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the keys in ascending order of keys, and where each possible key begins among them."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << BITS))])
    return np.argsort(keys, kind="stable").astype(np.int32), starts.astype(np.int32)


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
    found = [piece for band in range(GROUPS) for piece in _in_band(band, query, hashes.ravel(), block)]
    views, others, alike = (np.concatenate(each) for each in zip(*found, strict=True))
    best = _first_of_each(views // (FLIPS * len(WINDOWS)) * BLOCK + others, -alike)
    windows, flips = np.divmod(views[best], FLIPS)
    first, windows = np.divmod(windows, len(WINDOWS))
    pairs = Candidates(rows[first], block.rows[others[best]], WINDOWS[windows], flips)
    return pairs.take(np.flatnonzero(pairs.first != pairs.second))


def _in_band(
    band: int, query: np.ndarray, hashes: np.ndarray, block: Block
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What is alike: the places of views, which are windows as they are mirrored, those of images, and how much it is.

    query: coefficients of the windows. hashes: of the views.
    """
    keys = _keys_of_views(query, _BANDS[band])
    for places, others in block.agreeing(band, keys.ravel()):
        views = places // keys.shape[1]
        near = np.flatnonzero(_different_bits(hashes[views], block.hashes[others]) <= MOST_DIFFERENT)
        views, others = views[near], others[near]
        alike = np.einsum("mk,mk,mk->m", query[views // FLIPS], _SIGNS[views % FLIPS], block.coefficients(others))
        kept = alike >= LEAST_ALIKE
        yield views[kept], others[kept], alike[kept]


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
