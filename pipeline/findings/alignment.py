"""How alike two pictures are once one is mirrored and cropped so that it fits the other.

A picture is described by the cosine transform of a window of it: the coefficients of ``cos(pi k y) cos(pi l x)``, where
y and x run from 0 to 1 over the window. Mirroring only changes the sign of those with odd k or l, brightening only
their scale. The window is fitted as Lucas and Kanade (1981) align images: by linear least squares, step by step.
"""

import numpy as np

FLIPS = 4  # not mirrored, left to right, top to bottom, both
LONGEST_STEP = 0.06  # of a border of the window, as a share of the side
BORDERS = -0.06, 0.24  # what a window may leave out at a side; a negative share reaches beyond the picture
RIDGE = 0.02  # against steps that explain next to nothing, relative to the picture's own part
STEP = 0.01  # for derivatives


def cosines(start: np.ndarray, end: np.ndarray, count: int, side: int) -> np.ndarray:
    """Matrices that take the pixels of a line to the coefficients of windows of it, float32 ``[M, count, side]``.

    start, end: the share of the line that each window leaves out there, ``[M]``.
    """
    edges = np.arange(side + 1, dtype=np.float32) / side
    start, end = np.asarray(start, np.float32)[:, None], np.asarray(end, np.float32)[:, None]
    inside = np.clip(edges, start, 1 - end)
    inside[:, :1], inside[:, -1:] = start, 1 - end  # beyond the picture, its border goes on
    weight, middle = np.diff(inside), (inside[:, 1:] + inside[:, :-1]) / 2
    length = 1 - start - end
    phases = np.pi * np.arange(count, dtype=np.float32)[:, None] * ((middle - start) / length)[:, None]
    scale = np.sqrt(2 - (np.arange(count, dtype=np.float32) == 0))[:, None]  # makes them orthonormal
    return np.cos(phases) * scale * (weight / length)[:, None]


def frequencies(count: int) -> tuple[np.ndarray, np.ndarray]:
    """k and l of each coefficient but the first, which is the mean, int64 ``[count**2 - 1]``."""
    down, right = np.divmod(np.arange(1, count**2), count)
    return down, right


def flip_signs(count: int) -> np.ndarray:
    """By what mirroring multiplies each coefficient but the first, float32 ``[FLIPS, count**2 - 1]``."""
    down, right = frequencies(count)
    return np.stack([(-1.0) ** (right * (flip % 2) + down * (flip // 2)) for flip in range(FLIPS)]).astype(np.float32)


def coefficients(pictures: np.ndarray, windows: np.ndarray, count: int) -> np.ndarray:
    """float32 ``[M, count**2 - 1]``. pictures: float32 ``[M, side, side]``.

    windows: what is left out of each at the top, the bottom, the left and the right, as shares, ``[M, 4]``.
    """
    down = cosines(windows[:, 0], windows[:, 1], count, pictures.shape[1])
    right = cosines(windows[:, 2], windows[:, 3], count, pictures.shape[2])
    return _flat(down @ pictures @ right.transpose(0, 2, 1))


def _flat(found: np.ndarray) -> np.ndarray:
    return found.reshape(len(found), found.shape[1] * found.shape[2])[:, 1:]


def windowed(pictures: np.ndarray, lines: np.ndarray, count: int) -> np.ndarray:
    """``coefficients`` of the same windows of all pictures, float32 ``[M, L * L, count**2 - 1]``.

    lines: what windows leave out at two opposite sides, ``[L, 2]``. Each is combined with each: down, then right.
    """
    bases = cosines(lines[:, 0], lines[:, 1], count, pictures.shape[1]).reshape(-1, pictures.shape[1])
    found = (bases @ pictures @ bases.T).reshape(len(pictures), len(lines), count, len(lines), count)
    found = _flat(found.transpose(0, 1, 3, 2, 4).reshape(-1, count, count))
    return found.reshape(len(pictures), len(lines) ** 2, count**2 - 1)


def whole(pictures: np.ndarray, count: int) -> np.ndarray:
    """``coefficients`` of the whole pictures."""
    return windowed(pictures, np.zeros((1, 2)), count)[:, 0]


def aligned(
    pictures: np.ndarray, windows: np.ndarray, wanted: np.ndarray, weights: np.ndarray, count: int, steps: int
) -> np.ndarray:
    """The windows of the pictures, ``[M, 4]``, that fit wanted coefficients best.

    windows: to begin with. wanted: ``[M, count**2 - 1]``. weights: of each coefficient.
    """
    for _ in range(steps):
        present = coefficients(pictures, windows, count)
        terms = np.stack([present, *_derivatives(pictures, windows, count)], axis=1) * weights
        products = terms @ terms.transpose(0, 2, 1)
        own = products[:, 0, 0]
        products[:, np.arange(1, 5), np.arange(1, 5)] += RIDGE * own[:, None] / LONGEST_STEP
        products[:, np.arange(5), np.arange(5)] += 1e-6 * own[:, None] + 1e-12
        found = np.linalg.solve(products, terms @ (wanted * weights)[:, :, None])[:, :, 0]
        scale = np.where(np.abs(found[:, :1]) > 1e-9, found[:, :1], 1e-9)
        windows = np.clip(windows + np.clip(found[:, 1:] / scale, -LONGEST_STEP, LONGEST_STEP), *BORDERS)
    return windows


def _derivatives(pictures: np.ndarray, windows: np.ndarray, count: int) -> list[np.ndarray]:
    """How the coefficients change with each border of the windows, four ``[M, count**2 - 1]``."""
    return [
        (coefficients(pictures, windows + shift, count) - coefficients(pictures, windows - shift, count)) / (2 * STEP)
        for shift in STEP * np.eye(4)
    ]


def unit(found: np.ndarray) -> np.ndarray:
    """Coefficients, ``[M, n]``, scaled to length 1; those of a picture of a single colour stay zero."""
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine between coefficients, float32 ``[M]``; both ``[M, n]``."""
    return (unit(first) * unit(second)).sum(axis=1)
