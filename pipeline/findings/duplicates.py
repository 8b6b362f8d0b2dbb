"""Copies of images: twice among the labelled ones, with other labels, or in the test.

Equal pixels are found by hashes, what else shows the same picture by ``near_duplicates``.
"""

import numpy as np
import pandas as pd

from competition.wording import counted
from pipeline.data.equal_pixels import conflicting, equal_pixels
from pipeline.findings.finding import Finding
from pipeline.findings.joined import Joined
from pipeline.findings.look_up import Candidates
from pipeline.findings.near_duplicates import near_duplicates

LEAKS = "leaks"  # the kind of the finding about copies in the test
MIRRORED = np.array(["", "left to right", "top to bottom", "both ways"], object)  # by the number of the flip
LEAST_CONTRAST = 0.1  # levels; pictures with less show nothing that could be compared


def exact_duplicates(images: Joined) -> list[Finding]:
    """What is found out about images with equal pixels."""
    groups = equal_pixels(images.every("pixels"), images.every("known"))
    return [copies(images, groups), conflicts(images, groups), leaks(images, groups)]


def copies(images: Joined, groups: list[np.ndarray]) -> Finding:
    """The labelled images whose pixels another labelled one has; of a training and a validation image, the former."""
    labelled = [group[group < images.labelled] for group in groups]
    table = _table(images, [(row, group[-1]) for group in labelled for row in group[:-1]])
    return Finding("duplicates", _told_of_copies(images, table), table)


def _told_of_copies(images: Joined, table: pd.DataFrame) -> str:
    across = int((table["split"] != table["other_split"]).sum())
    remedy = "empty the labels in duplicates.csv and train with --relabel to leave copies out"
    if across:
        return f"{counted(across, 'training image')} also in val, so its score is too good: {remedy}"
    if len(table) and images.trained == images.labelled:
        return f"{counted(len(table), 'image')} twice in train, so one copy may validate the other: {remedy}"
    return ""


def conflicts(images: Joined, groups: list[np.ndarray]) -> Finding:
    """The labelled images whose pixels another one has with another label."""
    labelled = [group[group < images.labelled] for group in groups]
    table = _table(images, conflicting(labelled, images.parts[0].split.known_labels))
    told = f"{counted(len(table), 'image')} have a copy with another label: --drop-conflicts leaves them out"
    return Finding("conflicts", told if len(table) else "", table)


def leaks(images: Joined, groups: list[np.ndarray]) -> Finding:
    """The test images whose pixels a labelled one has."""
    known = [group for group in groups if group[0] < images.labelled]
    table = _table(images, [(row, group[0]) for group in known for row in group[group >= images.labelled]])
    told = f"{counted(len(table), 'test image')} also among the labelled ones: {LEAKS}.csv has the labels"
    return Finding(LEAKS, told if len(table) else "", table)


def _table(images: Joined, pairs: list[tuple[int, int]]) -> pd.DataFrame:
    """Pairs of images with equal pixels, and whether their files are equal, too."""
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    contents = (images.fingerprints("contents", rows) for rows in (first, second))
    return images.pairs(first, second).assign(same_file=np.equal(*contents))


def similar_pictures(images: Joined) -> Finding:
    """The labelled images that show the same picture as others, with other pixels, and the test images that do."""
    are_compared = images.every("known") & (images.every("contrast") >= LEAST_CONTRAST)
    for group in equal_pixels(images.every("pixels"), are_compared):
        are_compared[group[1:]] = False
    pairs = near_duplicates(images, np.flatnonzero(are_compared))
    table = images.pairs(pairs.second, pairs.first).assign(mirrored=MIRRORED[pairs.flips])
    return Finding("similar", _told_of_similar(images, pairs), table)


def _told_of_similar(images: Joined, pairs: Candidates) -> str:
    later = np.unique(pairs.second)
    validate = later < images.labelled if images.trained == images.labelled else later >= images.trained
    counts = {
        "in test": (later >= images.labelled).sum(),
        "in train" if images.trained == images.labelled else "in val": (validate & (later < images.labelled)).sum(),
        "with another label": images.differ(pairs.first, pairs.second).sum(),
    }
    found = ", ".join(f"{number:,} {where}" for where, number in counts.items() if number)
    what = "labelled pictures once more, but mirrored, cropped, compressed or brightened"
    return f"{what}: {found}; look at similar.csv" if found else ""
