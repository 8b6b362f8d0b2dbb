"""Whether images that may belong together do: whether their pictures are alike, and whether their labels are."""

from dataclasses import dataclass

import numpy as np

from pipeline.data.fingerprints import SCALE, SIDE, Fingerprints
from pipeline.findings.pictures import FACTS, Pictures

PAIRS = 1_000  # drawn, at most
SEED = 0
SURE = 3.0  # standard errors
LOOKS = ("red", "green", "blue", "brightness", "contrast")


@dataclass(frozen=True)
class Shares:
    """A share of pairs, and the share by chance; both in [0, 1]. error: the standard error of the first."""

    found: float
    by_chance: float
    error: float

    def surely_exceeds(self, least: float) -> bool:
        """Whether the share surely lies above chance by ``least`` of what is possible."""
        return self.found - SURE * self.error > self.by_chance + least * (1 - self.by_chance)


def looks(found: Fingerprints) -> np.ndarray:
    """Vectors, float32 ``[N, D]``, whose distances say how much images differ: thumbnails, colours, contrast.

    Thumbnails count as much as the rest.
    """
    thumbnails = found.thumbnails.reshape(len(found), -1) / np.float32(SCALE * SIDE)
    facts = np.stack([FACTS[name](found) for name in LOOKS], axis=1)
    spread = np.maximum(facts.std(axis=0), 1.0)
    return np.concatenate([thumbnails, facts / spread / np.float32(len(LOOKS) ** 0.5)], axis=1)


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
    first, second, other = (looks(pictures.fingerprints.take(rows[is_other])) for rows in (first, second, other))
    to_mate, to_other = (np.square(first - each).sum(axis=1) for each in (second, other))
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
