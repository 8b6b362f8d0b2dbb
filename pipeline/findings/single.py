"""Images that are odd by themselves: unreadable, blank, tiny, or extreme in size, shape, brightness or contrast."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from competition.task import Task
from competition.wording import counted
from pipeline.data.faulty_files import fault_of
from pipeline.data.fingerprints import Fingerprints
from pipeline.findings.finding import Finding
from pipeline.findings.pictures import FACTS, Pictures

UNREADABLE = "unreadable"
EXPLAINED = 100  # unreadable files of which the table says why
TINY, TINY_SHARE = 32, 0.25  # pixels, and share of the usual shorter side: images with a shorter one are tiny
SEVERAL, MOST_OF_CLASS = 10, 0.9  # blank images, and the share of them that one class has, if they belong to it
EXTREME = 8.0  # robust standard deviations from the median
MOST_EXTREME = 200  # rows of the table
DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations
# What may be extreme, and its least standard deviation. Of sizes and ratios it is that of the logarithm.
LEAST_DEVIATIONS = {"size": 0.1, "aspect ratio": 0.05, "brightness": 4.0, "contrast": 3.0}
LOGARITHMS = ("size", "aspect ratio")


def odd_images(task: Task, looked_at: Sequence[Pictures]) -> list[Finding]:
    """What is found out about images that are odd by themselves. looked_at: the labelled images, then others."""
    return [unreadable(looked_at), blank(task, looked_at), tiny(looked_at), extreme(looked_at)]


def unreadable(looked_at: Sequence[Pictures]) -> Finding:
    """The images whose files cannot be read, and why."""
    table = _those(looked_at, lambda found: ~found.known)
    paths = [each.split.paths[row] for each in looked_at for row in np.flatnonzero(~each.fingerprints.known)]
    table["fault"] = [fault_of(path) for path in paths[:EXPLAINED]] + [""] * len(paths[EXPLAINED:])
    remedy = "replace them, or leave out those with a label by --skip-unreadable"
    return Finding(UNREADABLE, f"{counted_parts(table)} that cannot be read: {remedy}" if len(table) else "", table)


def blank(task: Task, looked_at: Sequence[Pictures]) -> Finding:
    """The images of a single colour. They are told unless that is what a class looks like, as a calm sea does."""
    table = _those(looked_at, _is_blank, "red", "green", "blue")
    labelled = looked_at[0]
    labels = task.encode(labelled.split.known_labels[_is_blank(labelled.fingerprints)])
    told = f"{counted_parts(table)} of a single colour, which teach nothing: look at them"
    return Finding("blank", told if len(labels) and not _are_of_one_class(labels) else "", table)


def _is_blank(found: Fingerprints) -> np.ndarray:
    return found.known & found.blank


def _are_of_one_class(labels: np.ndarray) -> bool:
    """Whether so many images are of one class that this is no chance. labels: see ``Task.encode``."""
    counts = np.unique(labels, axis=0, return_counts=True)[1]
    return len(labels) >= SEVERAL and counts.max() >= MOST_OF_CLASS * len(labels)


def tiny(looked_at: Sequence[Pictures]) -> Finding:
    """The images that are much smaller than most."""
    sides = np.concatenate([each.fingerprints.sizes[each.readable].min(axis=1) for each in looked_at])
    usual = np.median(sides) if len(sides) else 0.0
    limit = min(TINY, TINY_SHARE * usual)
    table = _those(looked_at, lambda found: found.known & (found.sizes.min(axis=1) < limit), "height", "width")
    told = f"{counted_parts(table)} of less than {limit:.0f} pixels a side, where most have {usual:.0f}: look at them"
    return Finding("tiny", told if _has_labelled(table) else "", table)


def extreme(looked_at: Sequence[Pictures]) -> Finding:
    """The images that differ most from the others in size, shape, brightness or contrast, the most extreme first."""
    tables = [_extreme(looked_at, fact) for fact in LEAST_DEVIATIONS if any(len(each.readable) for each in looked_at)]
    if not tables:
        return Finding("extreme", "", pd.DataFrame())
    table = pd.concat(tables, ignore_index=True).sort_values("deviations", ascending=False, kind="stable")
    return Finding("extreme", "", table[:MOST_EXTREME])


def _extreme(looked_at: Sequence[Pictures], fact: str) -> pd.DataFrame:
    """The images with an extreme value: the value, the usual one, and how many standard deviations lie between."""
    measured = [_measured(each.fingerprints, fact)[each.readable] for each in looked_at]
    every = np.concatenate(measured)
    usual = np.median(every)
    spread = max(LEAST_DEVIATIONS[fact], DEVIATION * np.median(np.abs(every - usual)))
    tables = []
    for each, values in zip(looked_at, measured, strict=True):
        deviations = np.abs(values - usual) / spread
        places = np.flatnonzero(deviations > EXTREME)
        shown, normal = (np.exp(some) if fact in LOGARITHMS else some for some in (values[places], usual))
        columns = {"fact": fact, "value": shown, "usual": normal, "deviations": deviations[places]}
        tables.append(each.named(each.readable[places]).assign(**columns))
    return pd.concat(tables, ignore_index=True)


def _measured(found: Fingerprints, fact: str) -> np.ndarray:
    """The fact of each image, float32 ``[N]``. The size is the side of a square with as many pixels."""
    value = np.sqrt(FACTS["height"](found) * FACTS["width"](found)) if fact == "size" else FACTS[fact](found)
    return np.log(np.maximum(value, 1e-6)) if fact in LOGARITHMS else value  # 0 of unreadable files


def _those(looked_at: Sequence[Pictures], are_meant: Callable[[Fingerprints], np.ndarray], *facts: str) -> pd.DataFrame:
    """A row for each of the images that are meant, with these of their ``FACTS``."""
    tables = []
    for each in looked_at:
        rows = np.flatnonzero(are_meant(each.fingerprints))
        found = each.fingerprints.take(rows)
        tables.append(each.named(rows).assign(**{fact: FACTS[fact](found) for fact in facts}))
    return pd.concat(tables, ignore_index=True)


def counted_parts(table: pd.DataFrame) -> str:
    """How many of a table's images are labelled, and how many are for the test, without those of which there is none.

    ``3 labelled images and 1 test image``.
    """
    test = int((table["split"] == "test").sum())
    counts = {"labelled image": len(table) - test, "test image": test}
    return " and ".join(counted(number, thing) for thing, number in counts.items() if number)


def _has_labelled(table: pd.DataFrame) -> bool:
    """Whether labelled images are among them, from which models would learn."""
    return bool((table["split"] != "test").any())
