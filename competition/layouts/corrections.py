"""Corrected labels: a CSV with a row for each image, its id and the label to train on, or none to leave it out."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from competition.layouts.extra import LABEL, labels_in
from competition.layouts.labels import SEPARATORS
from competition.spec import Competition
from competition.tables import Table, read_table
from competition.task import Task
from competition.wording import counted, did_you_mean, fault_in, listed, printable

ID = "id"
FAR = 0.5  # of the range of a target's numbers, by which a corrected one lies outside it
NO_LABELS = "(none)"  # of an image that has none of several labels; an empty cell leaves the image out


def label_cells(task: Task, labels: np.ndarray) -> dict[str, list[str]]:
    """The labels as cells of a CSV that ``read_corrections`` reads, by the names of their columns.

    labels: as in ``Split.labels``. It is one column, ``label``, or one for each target of a task that has several.
    """
    if task.kind == "multiclass":
        return {LABEL: [str(task.classes[label]) for label in labels]}
    if task.kind == "multilabel":
        return {LABEL: [joined(task, marks) for marks in labels]}
    if task.kind == "continuous":
        return {str(name): [f"{number:.12g}" for number in each] for name, each in _by_name(task.classes, labels)}
    return {name: [str(task.classes[label]) for label in each] for name, each in _by_name(task.targets, labels)}


def _by_name(names: Sequence[object], labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return list(zip(map(str, names), labels.T, strict=True))


def joined(task: Task, marks: np.ndarray) -> str:
    """The labels of an image that may have several, in one cell. marks: 0 or 1 for each label, int64 ``[T]``."""
    classes = [str(label) for label in task.classes]
    marks_between = (mark for mark in (" ", *filter(None, SEPARATORS)) if not any(mark in name for name in classes))
    return next(marks_between, ",").join(name for name, mark in zip(classes, marks, strict=True) if mark) or NO_LABELS


def read_corrections(path: Path, competition: Competition) -> dict[str, np.ndarray | None]:
    """What ``corrections_in`` the file. Raises its errors, and UserError if no label differs from the tables'."""
    changed = corrections_in(path, competition)
    if not changed:
        column = listed(map(repr, _several(competition.task) or (LABEL,)))
        remedy = f"correct its column {column}, or empty it to leave an image out"
        raise fault_in(path, "no label in it differs from that of the tables", remedy)
    if competition.task.kind == "continuous":
        _warn_of_far(path, changed, competition)
    return changed


def _warn_of_far(path: Path, changed: Mapping[str, np.ndarray | None], competition: Competition) -> None:
    """Print a warning of numbers that lie so far outside those of the tables that a slip of the pen is likely."""
    before = np.concatenate([split.known_labels for split in (competition.train, competition.val) if len(split)])
    low, high = before.min(axis=0), before.max(axis=0)
    least, most = low - FAR * (high - low), high + FAR * (high - low)
    for place, target in enumerate(competition.task.classes):
        given = {name: label[place] for name, label in changed.items() if label is not None}
        far = [f"{number:g} of {name}" for name, number in given.items() if not least[place] <= number <= most[place]]
        if far:
            where = f"{printable(path, most=200)}: column '{printable(target)}' has {counted(len(far), 'number')}"
            usual = f"those of the tables, {low[place]:g} to {high[place]:g}"
            print(f"warning: {where} far outside {usual} ({listed(far)}), which are trained on unless you correct them")


def corrections_in(path: Path, competition: Competition) -> dict[str, np.ndarray | None]:
    """The labels that differ from the tables', by the images' ids, see ``Competition.corrections``.

    path: a CSV with a column ``id``, or one called as in the training table, and the label columns of ``label_cells``.
    Other columns are ignored.
    Raises UserError for missing columns, ids that are unknown or repeated, and labels that are not the competition's.
    """
    table = read_table(path)
    image, columns = _columns(table, competition)
    ids = table.column(image)
    before = _labels_by_id(competition)
    _check_ids(table, ids, before.keys())
    cells = zip(*(table.stripped(column) for column in columns), strict=True)
    is_given = np.array([any(row) for row in cells])
    given = _without_mark(table.take(is_given), columns)
    labels = iter(labels_in(given, columns, competition.task) if is_given.any() else ())
    read = {name: next(labels) if is_known else None for name, is_known in zip(ids, is_given, strict=True)}
    return {name: label for name, label in read.items() if label is None or np.any(before[name] != label)}


def _labels_by_id(competition: Competition) -> dict[str, list[np.ndarray]]:
    """The labels of each labelled image; there are two of an id that is both in train and in val."""
    found = defaultdict(list)
    for split in (competition.train, competition.val):
        for name, label in zip(split.ids, split.known_labels if len(split) else (), strict=True):
            found[name].append(label)
    return found


def _columns(table: Table, competition: Competition) -> tuple[str, tuple[str, ...]]:
    """The column of the ids and those of the labels."""
    image = next(filter(None, map(table.called, (ID, competition.image_column))), None)
    several = _several(competition.task)
    labels = tuple(filter(None, map(table.called, several or (LABEL, competition.label_column))))
    missing = [name for name in several if not table.called(name)] if several else [] if labels else [LABEL]
    missing = ([ID] if image is None else []) + missing
    if image is None or missing:
        hint = did_you_mean(missing[0], table.columns)
        fault = f"no column {listed(repr(name) for name in missing)}{hint}, only {listed(table.columns)}"
        raise fault_in(table.path, fault, f"it needs the columns {', '.join((ID, *(several or (LABEL,))))}")
    return image, labels if several else labels[:1]


def _several(task: Task) -> tuple[str, ...]:
    """The names of the columns of a task with several; empty if it has one column of labels."""
    return tuple(map(str, task.classes)) if task.kind == "continuous" else task.targets


def _check_ids(table: Table, ids: Sequence[str], known: Collection[str]) -> None:
    unknown = [name for name in ids if name not in known]
    if unknown:
        near = did_you_mean(unknown[0], known) if len(known) < 10**5 else ""
        fault = f"no labelled image of the competition ({listed(unknown)}){near}"
        table.refuse([name not in known for name in ids], fault, "correct the ids or take the rows out")
    times = Counter(ids)
    repeated = listed(name for name, count in times.items() if count > 1)
    table.refuse([times[name] > 1 for name in ids], f"an id more than once ({repeated})", "keep one row for each image")


def _without_mark(table: Table, columns: tuple[str, ...]) -> Table:
    """The table with empty cells in place of the word for no labels."""
    return replace(table, frame=table.frame.replace({column: {NO_LABELS: ""} for column in columns}))
