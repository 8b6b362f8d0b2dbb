"""Whether images that may belong together do: whether their pictures are alike, and whether their labels are."""

from dataclasses import dataclass

import numpy as np

from pipeline.data.fingerprints import SCALE, SIDE, Fingerprints
from pipeline.findings.pictures import FACTS, Pictures

PAIRS = 1_000  # drawn, at most
SEED = 0
SURE = 3.0  # standard errors
LOOKS = ("red", "green", "blue", "brightness", "contrast")
LEVELS = 40  # by which these differ in images that are as unlike as two thumbnails of noise
AT_ONCE = 10_000  # pairs of images


@dataclass(frozen=True)
class Shares:
    """A share of pairs, and the share by chance; both in [0, 1]. error: the standard error of the first."""

    found: float
    by_chance: float
    error: float

    def surely_exceeds(self, least: float) -> bool:
        """Whether the share surely lies above chance by ``least`` of what is possible."""
        return self.found - SURE * self.error > self.by_chance + least * (1 - self.by_chance)


def distances(found: Fingerprints, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How much the images at the first rows look unlike those at the second, float32 ``[n]``.

    Thumbnails count as much as colours, brightness and contrast.
    """
    apart = np.empty(len(first), np.float32)
    for start in range(0, len(first), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        differences = _looks(found.take(first[rows])) - _looks(found.take(second[rows]))
        apart[rows] = np.linalg.norm(differences, axis=1)
    return apart


def _looks(found: Fingerprints) -> np.ndarray:
    thumbnails = found.thumbnails.reshape(len(found), -1) / np.float32(SCALE * SIDE)
    levels = np.stack([FACTS[name](found) for name in LOOKS], axis=1) / np.float32(LEVELS * len(LOOKS) ** 0.5)
    return np.concatenate([thumbnails, levels], axis=1)


def closer_pictures(pictures: Pictures, groups: np.ndarray, classes: np.ndarray) -> Shares:
    """How often an image looks more like another one of its group than like one of another group; all of its class.

    groups, classes: int64 ``[N]``.
    """
    rng = np.random.default_rng(SEED)
    order = np.lexsort((groups, classes))
    first, second = _mates(order, groups, classes, rng)
    starts = np.searchsorted(classes[order], classes[first])
    ends = np.searchsorted(classes[order], classes[first], side="right")
    other = order[rng.integers(starts, ends)]
    is_other = groups[other] != groups[first]
    first, second, other = (rows[is_other] for rows in (first, second, other))
    to_mate, to_other = (distances(pictures.fingerprints, first, each) for each in (second, other))
    return _shares((to_mate < to_other) + (to_mate == to_other) / 2, 0.5)


def same_labels(groups: np.ndarray, classes: np.ndarray) -> Shares:
    """How often two images of a group have the same class, and how often any two have."""
    first, second = _mates(
        np.argsort(groups, kind="stable"), groups, np.zeros_like(groups), np.random.default_rng(SEED)
    )
    frequencies = np.bincount(classes) / len(classes)
    return _shares(classes[first] == classes[second], float(np.square(frequencies).sum()))


def _mates(
    order: np.ndarray, groups: np.ndarray, classes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that follow one another in the order and have the same group and class, int64 ``[n]`` each."""
    first, second = order[:-1], order[1:]
    pairs = np.flatnonzero((groups[first] == groups[second]) & (classes[first] == classes[second]))
    drawn = rng.permutation(pairs)[:PAIRS]
    return first[drawn], second[drawn]


def _shares(cases: np.ndarray, by_chance: float) -> Shares:
    """Of cases that are true (1), false (0) or undecided (0.5)."""
    if not len(cases):
        return Shares(by_chance, by_chance, 0.0)
    error = (by_chance * (1 - by_chance) / len(cases)) ** 0.5
    return Shares(float(np.mean(cases)), by_chance, error)
