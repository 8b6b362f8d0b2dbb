"""Near duplicates: pictures that were mirrored, cropped, compressed or brightened, among many that only look alike.

Thumbnails are looked up; the pairs that are most alike are aligned and compared by the cached pixels. Skies, seas and
silhouettes agree in their coarse parts, so only finer ones count, and a crop or a brightening must be a small one.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial

import numpy as np

from competition.progress import Progress
from pipeline.data.fingerprints import LUMA
from pipeline.findings import look_up
from pipeline.findings.alignment import aligned, coefficients, flip_signs, frequencies, likeness, whole
from pipeline.findings.featureless import featureless_pairs
from pipeline.findings.joined import Joined
from pipeline.findings.look_up import TOGETHER, Block, Candidates, candidates
from pipeline.runtime.time_limit import check_time

LEAST_ALIKE = 0.88  # cosine between the coefficients of aligned thumbnails
AT_ONCE = 256  # pairs of nearly featureless pictures
MOST_COMPARED = 4  # pairs for each image, the most alike ones, whose pixels are compared
SIDE, COUNT, STEPS = 32, 16, 3  # of the pictures that are compared: pixels, coefficients a side, steps to align them
FINER, FINEST = 3, 12  # frequencies of the parts that have to agree
ALIKE = 0.93  # cosine between their coefficients, from which on two pictures are the same
MOST_CROPPED = 0.18  # of a side: 0.15, and what alignment is wrong by
BRIGHTER = 0.7, 1.5  # contrast of the second picture to that of the first
FAINT = 0.7  # levels; compression and rounding change the finer parts by up to as much
FAINTLY_ALIKE, SAME_COLOUR = 0.5, 3  # cosine, and levels between mean colours, of the same picture if not more differs
MOST_TINTED, TINTED_SHARE = 12, 0.3  # levels, and share of the tint itself, by which the mean tints may differ

_SIGNS = {count: flip_signs(count) for count in (look_up.COUNT, COUNT)}
_RADIUS = np.hypot(*frequencies(COUNT))
_FINE = (_RADIUS >= FINER) & (_RADIUS < FINEST)
_WEIGHTS = np.sqrt(_RADIUS).astype(np.float32)


def near_duplicates(images: Joined, rows: np.ndarray) -> Candidates:
    """All pairs of images that show the same picture, the lower row first; no two test images.

    rows: of the images that are compared, ascending; of images with equal pixels one is enough.
    """
    blocks = [rows[start : start + look_up.BLOCK] for start in range(0, len(rows), look_up.BLOCK)]
    found = [Candidates.none(), *_featureless(images, rows)]
    with Progress(total=len(blocks) * len(rows), desc="comparing images", unit="image") as bar:
        for among in blocks:
            block = Block(among, partial(_thumbnails, images))
            for number, pairs in _in_threads(partial(_found, block=block, images=images), rows):
                found.append(pairs)
                bar.update(number)
    return _each_once(found)


def _featureless(images: Joined, rows: np.ndarray) -> Iterator[Candidates]:
    pairs = featureless_pairs(images, rows)
    pairs = pairs.take(np.flatnonzero(pairs.first < images.labelled))
    for start in range(0, len(pairs), AT_ONCE):
        check_time()
        yield _same(pairs.take(np.arange(start, min(start + AT_ONCE, len(pairs)))), images)


def _thumbnails(images: Joined, rows: np.ndarray) -> np.ndarray:
    return images.fingerprints("thumbnails", rows).astype(np.float32)


def _in_threads(work: Callable[[np.ndarray], Candidates], rows: np.ndarray) -> Iterator[tuple[int, Candidates]]:
    """The number of rows of each chunk, and what the work finds for it, in order."""
    chunks = [rows[start : start + TOGETHER] for start in range(0, len(rows), TOGETHER)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk, found in zip(chunks, pool.map(work, chunks), strict=True):
            check_time()
            yield len(chunk), found


def _found(rows: np.ndarray, block: Block, images: Joined) -> Candidates:
    """The pairs of one of these images and one of the block that show the same picture."""
    thumbnails = _thumbnails(images, rows)
    pairs = candidates(rows, thumbnails, block)
    pairs = pairs.take(np.flatnonzero(np.minimum(pairs.first, pairs.second) < images.labelled))
    tints = (images.fingerprints("colours", each) for each in (pairs.first, pairs.second))
    pairs = pairs.take(np.flatnonzero(_of_one_tint(*tints)))
    own = thumbnails[np.searchsorted(rows, pairs.first)]
    return _same(_most_alike(pairs, own, block, MOST_COMPARED * len(rows)), images)


def _of_one_tint(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether mean colours may be those of one picture, bool ``[M]``; uint8 ``[M, 3]``."""
    tints = [each - each.mean(axis=1, keepdims=True) for each in (first.astype(np.float32), second.astype(np.float32))]
    most = MOST_TINTED + TINTED_SHARE * np.maximum(*np.abs(tints)).max(axis=1)
    return np.abs(tints[0] - tints[1]).max(axis=1) <= most


def _most_alike(pairs: Candidates, thumbnails: np.ndarray, block: Block, most: int) -> Candidates:
    """The pairs whose thumbnails are most alike once they are aligned. thumbnails: of the first of each."""
    wanted = block.coefficients(np.searchsorted(block.rows, pairs.second)) * _SIGNS[look_up.COUNT][pairs.flips]
    even = np.ones(wanted.shape[1], np.float32)
    windows = aligned(thumbnails, pairs.windows, wanted, even, look_up.COUNT, steps=1)
    alike = likeness(coefficients(thumbnails, windows, look_up.COUNT), wanted)
    best = np.argsort(-alike, kind="stable")[:most]
    best = np.sort(best[alike[best] >= LEAST_ALIKE])
    return Candidates(pairs.first[best], pairs.second[best], windows[best], pairs.flips[best])


def _same(pairs: Candidates, images: Joined) -> Candidates:
    """The pairs that show the same picture by their pixels."""
    if not len(pairs):
        return pairs
    rows, places = np.unique([pairs.first, pairs.second], return_inverse=True)
    pictures = images.pictures(rows, SIDE) @ LUMA
    first, second = pictures[places.reshape(2, -1)]
    wanted = whole(second, COUNT) * _SIGNS[COUNT][pairs.flips]
    windows = aligned(first, pairs.windows, wanted, _WEIGHTS, COUNT, STEPS)
    colours = (images.fingerprints("colours", each).astype(np.float32) for each in (pairs.first, pairs.second))
    is_same = _agree(coefficients(first, windows, COUNT)[:, _FINE], wanted[:, _FINE], np.abs(np.subtract(*colours)))
    is_same &= (windows[:, ::2] + windows[:, 1::2]).max(axis=1) <= MOST_CROPPED
    return Candidates(pairs.first, pairs.second, windows, pairs.flips).take(np.flatnonzero(is_same))


def _agree(present: np.ndarray, wanted: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Whether the finer coefficients of two pictures are those of one, bool ``[M]``.

    apart: levels between their mean colours, ``[M, 3]``.
    """
    alike = likeness(present, wanted)
    contrast = np.linalg.norm(wanted, axis=1) / np.maximum(np.linalg.norm(present, axis=1), 1e-6)
    is_close = (np.linalg.norm(present - wanted, axis=1) <= FAINT) & (apart.max(axis=1) <= SAME_COLOUR)
    is_alike = (alike >= ALIKE) | (is_close & (alike >= FAINTLY_ALIKE))
    return is_alike & (contrast >= BRIGHTER[0]) & (contrast <= BRIGHTER[1])


def _each_once(found: list[Candidates]) -> Candidates:
    """All pairs, each in one order only."""
    every = [np.concatenate([getattr(each, field.name) for each in found]) for field in fields(Candidates)]
    both = np.sort(every[:2], axis=0)
    _, places = np.unique(both, axis=1, return_index=True)
    return Candidates(*both[:, places], *(values[places] for values in every[2:]))
