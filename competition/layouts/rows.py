"""What the rows of a submission are about: an image, several images of a case, or a target of an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.layouts.columns import SEPARATORS
from competition.tables import Table

BAR = "|"  # between labels that several rows had


@dataclass(frozen=True)
class Asked:
    """cases: what each row is about. targets: the number of its target, int64, or None."""

    cases: tuple[str, ...]
    targets: np.ndarray | None = None


def parted(ids: Sequence[str], names: Sequence[str] = ()) -> pd.DataFrame | None:
    """The columns ``case`` and ``target`` of ids such as ``7_vowel``; None if they are no such ids.

    names: of the targets, if they are known. Each case has each target.
    """
    distinct = pd.Series(ids, dtype=str)
    for separator in SEPARATORS:
        pairs = _ended(distinct, separator, names) if names else distinct.str.rsplit(separator, n=1, expand=True)
        if pairs.shape[1] < 2 or pairs.isna().any(axis=None):
            continue
        pairs = pairs.set_axis(["case", "target"], axis="columns")
        unique = pairs.drop_duplicates()
        counts = unique.nunique()
        if counts["target"] > 1 and len(unique) == counts["case"] * counts["target"] and counts["case"] > 0:
            return pairs
    return None


def _ended(ids: pd.Series, separator: str, names: Sequence[str]) -> pd.DataFrame:
    """The ids parted before the names with which they end; blank where they do not."""
    case, target = pd.Series(pd.NA, ids.index, dtype=object), pd.Series(pd.NA, ids.index, dtype=object)
    for name in names:
        ending = separator + name
        ends = ids.str.endswith(ending)
        case[ends] = ids[ends].str.slice(stop=-len(ending))
        target[ends] = name
    return pd.DataFrame({"case": case, "target": target})


def gathered(table: Table, image: str, label: str) -> Table:
    """A table with a row for each image of one with a row for each image and label; labels are parted by bars."""
    rows = table.frame.assign(number=table.frame.index)
    rows[label] = rows.groupby(image, sort=False)[label].transform(BAR.join)
    rows = rows.drop_duplicates(image)
    return Table(table.path, rows.set_index("number").rename_axis(None))


def pivoted(table: Table, image: str, value: str) -> Table | None:
    """A table with a row for each image of one with a row for each image and target; None if it is no such table.

    The columns are that of the images, and one for each target. Rows that are there twice count once.
    """
    pairs = parted(table.stripped(image))
    if pairs is None:
        return None
    return _wide(table, image, pairs.assign(value=table.column(value), number=table.frame.index))


def unstacked(table: Table, image: str, target: str, value: str) -> Table | None:
    """The same of a table whose columns name the image and the target of each row; each image has each target once."""
    pairs = table.frame[[image, target]].set_axis(["case", "target"], axis="columns")
    counts = pairs.nunique()
    if min(counts) < 2 or pairs.duplicated().any() or len(pairs) != counts["case"] * counts["target"]:
        return None
    return _wide(table, image, pairs.assign(value=table.column(value), number=table.frame.index))


def _wide(table: Table, image: str, rows: pd.DataFrame) -> Table:
    rows = rows.drop_duplicates(["case", "target", "value"])
    twice = rows.duplicated(["case", "target"], keep=False)
    wrong = np.isin(table.frame.index, rows.loc[twice, "number"])
    table.refuse(wrong, "different labels for the same id", "keep one row of each")
    wide = rows.pivot(index="case", columns="target", values="value")
    wide = wide.loc[rows["case"].unique(), rows["target"].unique()]
    first = rows.drop_duplicates("case")["number"].to_numpy()
    frame = wide.reset_index(names=image).rename_axis(columns=None)
    return Table(table.path, frame.set_axis(first, axis="index"))
