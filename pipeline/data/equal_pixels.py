"""Images with equal pixels, and those of them whose labels differ."""

from collections.abc import Sequence

import numpy as np

PARTS = 16  # of the hashes, which are compared one after the other, as sorting them all at once takes memory


def equal_pixels(pixels: np.ndarray, are_known: np.ndarray) -> list[np.ndarray]:
    """The rows of images with equal pixels, at least two in each group, int64 ``[n]``, ascending.

    pixels: see ``Fingerprints``, ``[N]``. are_known: whether each image could be read, bool ``[N]``.
    """
    part_of = pixels.view(np.uint8)[::8] % PARTS
    parts = (np.flatnonzero(are_known & (part_of == part)) for part in range(PARTS))
    return [group for rows in parts for group in _equal(pixels[rows], rows)]


def _equal(values: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The rows that share their value with another one, in groups."""
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.append(values[order[1:]] != values[order[:-1]], True)) + 1
    starts = np.append(0, ends[:-1])
    shared = np.flatnonzero(ends - starts > 1)
    return [rows[order[start:end]] for start, end in zip(starts[shared], ends[shared], strict=True)]


def conflicting(groups: Sequence[np.ndarray], labels: np.ndarray) -> list[tuple[int, int]]:
    """The rows of images with another label than an equal one, and the row of the first such.

    groups: of ``equal_pixels``. labels: as in ``Split.labels``.
    """
    found = []
    for group in groups:
        own = labels[group].reshape(len(group), -1)
        for row, label in zip(group, own, strict=True):
            differ = (own != label).any(axis=1)
            if differ.any():
                found.append((int(row), int(group[differ.argmax()])))
    return found
