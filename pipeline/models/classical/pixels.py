"""Images as rows of pixels, in pieces of bounded size."""

from collections.abc import Iterator

import numpy as np

from pipeline.data.cache import Images
from pipeline.runtime.time_limit import check_time

CHUNK_VALUES = 2**23


def chunks(rows: int, values: int) -> Iterator[slice]:
    """Slices that cover ``rows`` rows of ``values`` values each; a slice has at most about eight million values."""
    step = max(1, CHUNK_VALUES // max(1, values))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def is_grey(images: Images) -> bool:
    """Whether the images (``[N, H, W, C]``) have three channels that are all equal."""
    if images.shape[-1] != 3:
        return False
    pieces = (images[piece] for piece in chunks(len(images), int(np.prod(images.shape[1:]))))
    return all((piece[..., :1] == piece[..., 1:]).all() for piece in pieces)


def flat_chunks(images: Images, grey: bool, rows: np.ndarray | None = None, beside: int = 0) -> Iterator[np.ndarray]:
    """The images (or those at ``rows``, in that order) as ``[n, D]`` of the same dtype, piece by piece.

    D is H * W * C, or H * W if ``grey``: a pixel is then the mean of its channels, which are equal in a grey image.
    beside: the number of values that the caller computes for each row; more values make smaller pieces.
    """
    rows = np.arange(len(images)) if rows is None else rows
    for piece in chunks(len(rows), max(beside, int(np.prod(images.shape[1:])))):
        check_time()
        pixels = images[rows[piece]]
        if grey:
            pixels = (pixels.sum(axis=-1, dtype=np.uint16) // 3).astype(np.uint8)
        yield pixels.reshape(len(pixels), -1)


def pixel_sums(pieces: Iterator[np.ndarray], values: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares of each of the ``values`` columns, ``[D]`` each.

    For pixels they are int64 and exact; for floating-point features, float64.
    """
    total, squares = np.zeros(values, np.int64), np.zeros(values, np.int64)
    for piece in pieces:
        square, wide = (np.uint16, np.int64) if piece.dtype == np.uint8 else (np.float64, np.float64)
        total = total + piece.sum(axis=0, dtype=wide)
        squares = squares + np.square(piece, dtype=square).sum(axis=0, dtype=wide)
    return total, squares


def mean_and_variance(total: np.ndarray, squares: np.ndarray, count: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance from exact sums, float64.

    The numerator is an exact integer below 9e18 for up to ten million images, so the variance of a constant pixel is
    exactly zero.
    """
    count = np.maximum(count, 1)
    return total / count, np.maximum(count * squares - total * total, 0) / (count * count)


def sample_by_class(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most ``most`` random rows, ascending; each class keeps its share, and at least one row if ``most`` allows."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = np.arange(len(members)) / len(members)
    return np.sort(np.argsort(place, kind="stable")[:most])
