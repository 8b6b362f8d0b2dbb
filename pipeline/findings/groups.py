"""Groups that show themselves: images of one patient, place or recording, which validation must not split.

A group shows in file names with a common stem, in folders, in the time when a camera took an image (EXIF), or in
consecutive numbers. It counts only if the images of a group look alike or share their labels, or if the contest kept
groups apart, so that the test has other ones. If labelled and test images are of the same groups, an ordinary split is
right.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from competition.spec import Competition
from competition.task import Task, strata
from competition.wording import printable
from pipeline.findings.evidence import closer_pictures, distances, same_labels
from pipeline.findings.finding import Finding
from pipeline.findings.pictures import Pictures
from pipeline.findings.shots import series
from pipeline.runtime.time_limit import in_time

KIND = "groups"
SEPARATOR = r"[ _.\-]+"
STEMS = (  # of file names: what stands before their first separator, and before their last
    re.compile(rf"(.+?){SEPARATOR}.+"),
    re.compile(rf"(.+){SEPARATOR}[^ _.\-]+"),
)
NUMBER = re.compile(r"(.*?)(\d{1,15})\D*")  # a stem whose last digits are a number
NEAR = 5  # numbers that may be of one group
AS_ALIKE = 0.05  # quantile of the distances of any two images, below which consecutive ones are of one group
FEWEST, FEWEST_IN_TEST = 10, 5  # groups of two images or more
SHARED = 0.3  # of the images, at least, that are in such groups
LARGEST = 0.2  # of the images, at most, that are in one group
GROUPS_OF_CLASS = 4  # with fewer of each class on average, groups whose images are all of one class are its parts
# How much more than others the pictures of a group look alike, and share their labels, in what is possible above chance
CLOSER, MUCH_CLOSER, SAME_LABELS = 0.2, 0.5, 0.1
APART = 0.5  # of the test images, at most, whose group has labelled images, if the contest kept groups apart


@dataclass(frozen=True, eq=False)
class Grouping:
    """A way to group images.

    what: shows the groups, in words. names: of the groups. labelled, test: the group of each image, int64 ``[N]``.
    counts_apart: whether it is enough that the contest kept the groups apart. closer: see ``CLOSER``.
    """

    what: str
    names: Sequence[str]
    labelled: np.ndarray
    test: np.ndarray
    counts_apart: bool
    closer: float = CLOSER

    @classmethod
    def of(cls, what: str, keys: Sequence[str], labelled: int, counts_apart: bool, closer: float = CLOSER) -> Self:
        """keys: of the labelled images, whose number is given, and then of the test images."""
        codes, names = pd.factorize(np.array(keys, object))
        return cls(what, list(names), codes[:labelled], codes[labelled:], counts_apart, closer)

    @cached_property
    def is_kept_apart(self) -> bool | None:
        """Whether the test has other groups than the labelled images; None if the test images are in no groups."""
        if not _are_groups(self.test, FEWEST_IN_TEST):
            return None
        return bool(np.isin(self.test, self.labelled).mean() < APART)


def groups(competition: Competition, labelled: Pictures) -> Finding:
    """The group of each labelled image, if there are groups."""
    classes = _classes(labelled.split.known_labels, competition.task)
    for grouping in in_time(_groupings(labelled.split.paths, competition.test.paths)):
        if _count(grouping, labelled, classes):
            found = _in_runs(grouping, labelled) if grouping.closer == MUCH_CLOSER else grouping
            return Finding(KIND, _told(found, labelled), _table(found, labelled))
    return Finding(KIND, "", pd.DataFrame())


def _classes(labels: np.ndarray, task: Task) -> np.ndarray:
    """A class of each image, int64 ``[N]``; of numbers, in which fifth the first one is."""
    if task.kind == "continuous":
        return np.searchsorted(np.quantile(labels[:, 0], [0.2, 0.4, 0.6, 0.8]), labels[:, 0])
    return strata(task.encode(labels))


def _count(grouping: Grouping, labelled: Pictures, classes: np.ndarray) -> bool:
    """Whether a split of the labelled images should keep these groups together."""
    found = grouping.labelled
    if not _are_groups(found, FEWEST) or _are_classes(found, classes) or grouping.is_kept_apart is False:
        return False
    if grouping.is_kept_apart and grouping.counts_apart:
        return True
    if closer_pictures(labelled, found, classes).surely_exceeds(grouping.closer):
        return True
    return grouping.closer == CLOSER and same_labels(found, classes).surely_exceeds(SAME_LABELS)


def _are_groups(found: np.ndarray, fewest: int) -> bool:
    """Whether enough images are in groups, and no group is too large. found: the group of each image."""
    counts = np.bincount(np.unique(found, return_inverse=True)[1], minlength=1)
    several = counts[counts > 1]
    return len(several) >= fewest and several.sum() >= SHARED * len(found) and counts.max() <= LARGEST * len(found)


def _are_classes(found: np.ndarray, classes: np.ndarray) -> bool:
    """Whether the groups are classes or parts of them, as file names may begin with the class."""
    count, each = (len(np.unique(values)) for values in (found, classes))
    is_pure = len(np.unique(found * (classes.max() + 1) + classes)) == count
    return is_pure and count < GROUPS_OF_CLASS * each


def _groupings(labelled: Sequence[Path], test: Sequence[Path]) -> Iterator[Grouping]:
    """The ways to group the images, the surest first."""
    paths, count = [*labelled, *test], len(labelled)
    yield Grouping.of("folders", [path.parent.name for path in paths], count, True)
    for stem in STEMS:
        yield Grouping.of("file names with a common stem", [_stem(path, stem) for path in paths], count, True)
    if (taken := series(paths)) is not None:
        yield Grouping.of("series of shots (EXIF)", taken, count, False)
    yield Grouping.of("consecutive numbers", [_block(path) for path in paths], count, False, MUCH_CLOSER)


def _stem(path: Path, pattern: re.Pattern[str]) -> str:
    match = pattern.fullmatch(path.stem)
    return match[1] if match else path.stem


def _block(path: Path) -> str:
    """What files whose names are the same but for a near number have in common."""
    name, number = _numbered(path)
    return f"{name}{number // NEAR * NEAR}"


def _numbered(path: Path) -> tuple[str, int]:
    """A file's name before its last number, and that number; -1 without one."""
    match = NUMBER.fullmatch(path.stem)
    return (match[1], int(match[2])) if match else (path.stem, -1)


def _in_runs(grouping: Grouping, labelled: Pictures) -> Grouping:
    """The groups that consecutive numbers really show: as long as the next image looks like the one before."""
    keys = [_numbered(path) for path in labelled.split.paths]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    first, second = order[:-1], order[1:]
    near = [keys[a][0] == keys[b][0] and keys[b][1] - keys[a][1] <= NEAR for a, b in zip(first, second, strict=True)]
    apart = distances(labelled.fingerprints, first, second)
    chance = distances(labelled.fingerprints, first, np.random.default_rng(0).permutation(order)[1:])
    run = np.concatenate([[0], np.cumsum(~(np.array(near, bool) & (apart < np.quantile(chance, AS_ALIKE))))])
    found = np.empty(len(order), np.int64)
    found[order] = run
    names = [labelled.split.paths[row].stem for row in order[np.unique(run, return_index=True)[1]]]
    return replace(grouping, names=names, labelled=found)


def _told(grouping: Grouping, labelled: Pictures) -> str:
    counts = np.bincount(grouping.labelled)
    several = np.flatnonzero(counts > 1)
    example = printable(grouping.names[several[0]])
    size = f"{len(several):,} groups of {np.median(counts[several]):.0f} images, such as {example}"
    why = (
        "the test has other ones" if grouping.is_kept_apart else "their images are alike, and the test may have others"
    )
    folds = "" if labelled.trained == len(labelled) else "--folds 5 "
    remedy = f"{folds}--group-column {KIND}.csv keeps each on one side of a split"
    return f"{grouping.what} show {size}; {why}: {remedy}"


def _table(grouping: Grouping, labelled: Pictures) -> pd.DataFrame:
    table = labelled.named(np.arange(len(labelled)))
    return table.assign(group=[grouping.names[group] for group in grouping.labelled])
