"""Groups: what images have in common that must not be on both sides of a split, such as the patient."""

from dataclasses import replace
from pathlib import Path

from competition.layouts.parts import Found
from competition.spec import Competition, Split
from competition.storage import expanded
from competition.tables import Table, read_table
from competition.wording import counted, fault_in, printable

FEWEST = 1.5  # images of a group in the mean
MOST = 100_000  # rows that are looked at
ID, GROUP = "id", "group"  # the columns of a CSV of groups


def group_hint(found: Found) -> tuple[str, ...]:
    """A line about a column whose values repeat across images, where images of one value share a label."""
    if found.group is not None:
        return (f"images with the same '{printable(found.group)}' stay on one side of every split",)
    table = found.train.table
    for name in table.columns:
        if name and name not in (found.train.image, *found.labels) and _is_group(table, name, found.labels):
            hint = f"column '{printable(name)}' repeats, and its images share a label"
            return (f"{table.path.name}: {hint}; --group-column {printable(name)} keeps them on one side of a split",)
    return ()


def _is_group(table: Table, name: str, labels: tuple[str, ...]) -> bool:
    """Whether the cells of a column part the classes further, and most of them are there several times."""
    frame = table.frame.head(MOST)
    groups = frame[name]
    if groups.nunique() > len(groups) / FEWEST:
        return False
    classes = frame.groupby(list(labels)).ngroup()
    if groups.nunique() <= classes.nunique():
        return False
    return bool(classes.groupby(groups.to_numpy()).nunique().max() == 1)


def table_of_groups(group_column: str | None) -> Path | None:
    """The CSV that ``group_column`` names; None if it names a column."""
    path = expanded(group_column or "")
    return path if path.suffix and path.is_file() else None


def check_column(found: Found, group_column: str) -> None:
    """Raises UserError if a column says nothing of what images share: it is one of labels, or differs in each row."""
    table = found.train.table
    column = table.called(group_column)
    if column in found.labels:
        fault = "is that of the labels, whose images would all be on one side of a split"
    elif column == found.train.image and not table.frame[column].duplicated().any():
        fault = "has the ids, which no two images share"
    else:
        return
    remedy = "give a column of what images share, such as the patient, or leave --group-column out"
    raise fault_in(table.path, f"column '{printable(column)}' {fault}", remedy)


def grouped(competition: Competition, path: Path) -> Competition:
    """The competition with the groups of a CSV, whose columns are ``id`` and ``group``.

    An image that the CSV does not name, or whose cell is empty, is a group of its own. Raises UserError if the CSV
    names none of the images, or if it gives one several groups.
    """
    table = read_table(path)
    pairs = {pair for pair in zip(table.stripped(ID), table.stripped(GROUP), strict=True) if pair[1]}
    groups = dict(sorted(pairs))
    if len(groups) < len(pairs):
        twice = next(name for name, group in sorted(pairs) if groups[name] != group)
        raise fault_in(path, f"id '{printable(twice)}' has several groups", "give each id one group")
    train, val = (_grouped(split, groups) for split in (competition.train, competition.val))
    if groups.keys().isdisjoint((*train.ids, *val.ids)):
        remedy = "give the ids of training images, as in their table"
        raise fault_in(path, f"none of the ids in the column '{ID}' is that of a labelled image", remedy)
    return replace(competition, train=train, val=val, found=(*competition.found, _told(path, train, val)))


def _told(path: Path, train: Split, val: Split) -> str:
    if shared := len({*(train.groups or ())} & {*(val.groups or ())}):
        return f"{path.name}: val has images of {counted(shared, 'group')} of train; --folds 5 keeps each on one side"
    return f"images with the same '{GROUP}' in {path.name} stay on one side of every split"


def _grouped(split: Split, groups: dict[str, str]) -> Split:
    return replace(split, groups=tuple(groups.get(name, name) for name in split.ids))
