"""Images with equal pixels, and those of them whose labels differ."""

from collections.abc import Sequence

import numpy as np


def equal_pixels(pixels: np.ndarray, are_known: np.ndarray) -> list[np.ndarray]:
    """The rows of images with equal pixels, at least two in each group, int64 ``[n]``, ascending.

    pixels: see ``Fingerprints``, ``[N]``. are_known: whether each image could be read, bool ``[N]``.
    """
    order = np.argsort(pixels, kind="stable")
    ends = np.flatnonzero(np.append(pixels[order[1:]] != pixels[order[:-1]], True)) + 1
    sizes = np.diff(ends, prepend=0)
    groups = [order[end - size : end] for end, size in zip(ends[sizes > 1], sizes[sizes > 1], strict=True)]
    readable = [group[are_known[group]] for group in groups]
    return [group for group in readable if len(group) > 1]


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
