"""What the cells of the label columns mean: a class, several labels, numbers; and the labels of a table in a task."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from competition.tables import Table
from competition.task import Label, Task
from competition.wording import counted, fault_in, listed, printable

SEPARATORS = (None, ",", ";", "|")  # of labels in a cell; None: blanks, as for str.split
FEWEST_JOINED = 2  # cells of labels joined by blanks; a single one may be a name: bus, school, school bus
PLURALS = {"labels", "tags", "classes", "categories"}  # columns whose name promises several labels in a cell
FEWEST_NUMBERS = 20  # fewer different numbers may be classes with an image or two each
MOST_INTERVALS, FEWEST_INTERVALS = 64, 8  # of a number
MOST_ROUNDS = 100  # in which the intervals are improved
NO_LABEL = {"nan", "none", "na", "null", "n/a"}  # words that may be a class, or a cell that was blank once

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_FLAG = re.compile(r"[01](\.0*)?")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_LIST = re.compile(r"[\[({](.*,.*)[\])}]", re.DOTALL)


@dataclass(frozen=True)
class Reading:
    """How the label columns of a contest are read.

    encode: the labels of a table as ``Split.labels`` has them. Raises UserError for labels that are not of the task.
    separator: between several labels in a cell. found: what was found, for the user.
    """

    task: Task
    encode: Callable[[Table], np.ndarray]
    separator: str = " "
    found: tuple[str, ...] = ()


def cells_of(table: Table, column: str) -> tuple[str, ...]:
    """The label of each row, without the blanks around it. Raises UserError if one is missing."""
    labels = table.stripped(column)
    if all(labels):
        return labels
    fault = f"missing label (column '{printable(column)}')"
    table.refuse([not label for label in labels], fault, "fill them in or take the rows out")
    return labels


def ordered(labels: Iterable[str]) -> tuple[Label, ...]:
    """The different labels, sorted; integers if every label is spelled like an integer."""
    different = set(labels)
    are_integers = all(map(_INTEGER.fullmatch, different))
    return tuple(sorted(map(int, different) if are_integers else different))


def as_whole(label: str) -> str:
    """The label; without its decimals if it is a whole number: ``2`` for ``2.0``."""
    return label.partition(".")[0] if WHOLE.fullmatch(label) else label


# --- one column


def read_classes(train: Table, column: str, without_decimals: bool, named: Sequence[str] = ()) -> Reading:
    """A class in each cell. without_decimals: whole numbers are read as integers.

    named: classes that the sample submission names; there may be more than training images show.
    """
    spelled = as_whole if without_decimals else str
    cells = set(map(spelled, cells_of(train, column)))
    if len(cells) == 1 and not named:
        fault = f"column '{printable(column)}' shows one class only ({listed(cells)})"
        raise fault_in(train.path, fault, "add images of another or name the column with --label-column")
    classes = ordered({*cells, *named})
    index = {str(label): place for place, label in enumerate(classes)}
    words = [label for label in cells_of(train, column) if label.casefold() in NO_LABEL]
    found = [
        f"{train.path.name}: '{word}', in {counted(number, 'row')}, is read as the name of a class"
        for word, number in Counter(words).items()
    ]
    is_count = classes == tuple(range(len(classes)))  # of which nobody would think otherwise
    if len(classes) >= FEWEST_NUMBERS and not is_count and all(map(NUMBER.fullmatch, map(str, classes))):
        numbers = f"{len(classes):,} different numbers of column '{printable(column)}'"
        found.append(f"{train.path.name}: the {numbers} are read as names of classes")
    return Reading(
        Task(classes), lambda table: _indices(table, column, index, spelled, train.path.name), " ", tuple(found)
    )


def _indices(table: Table, column: str, index: dict[str, int], spelled: Callable[[str], str], train: str) -> np.ndarray:
    labels = [spelled(label) for label in cells_of(table, column)]
    labels = [label if label in index else as_whole(label) for label in labels]
    strange = listed(dict.fromkeys(label for label in labels if label not in index))
    fault = f"label that {train} never shows ({strange})"
    table.refuse([label not in index for label in labels], fault, "correct them or take the rows out")
    return np.array([index[label] for label in labels], np.int64)


def read_joined(
    train: Table, column: str, several: Sequence[str], separator: str | None, named: Sequence[str] = ()
) -> Reading:
    """Several labels in a cell, parted by ``separator``; a blank cell has none. several: cells with more than one."""
    cells = train.stripped(column)
    counts = [len(parts_of(cell, separator)) for cell in cells]
    classes = ordered({*named} or {part for cell in set(cells) for part in parts_of(cell, separator)})
    index = {str(label): place for place, label in enumerate(classes)}
    joined = f"{sum(count > 1 for count in counts):,} of {len(cells):,} cells of column '{printable(column)}'"
    found = f"{train.path.name}: {joined} hold several labels ({listed(several[:1])}): several labels an image"
    return Reading(
        Task(classes, "multilabel"),
        lambda table: _marks(table, column, index, separator, train.path.name),
        spelled_separator(several[0], separator),
        (found,),
    )


def _marks(table: Table, column: str, index: dict[str, int], separator: str | None, train: str) -> np.ndarray:
    parts = [parts_of(cell, separator) for cell in table.stripped(column)]
    strange = [some - index.keys() for some in parts]
    fault = (
        f"label that {train} never shows ({listed(dict.fromkeys(name for some in strange for name in sorted(some)))})"
    )
    table.refuse([bool(some) for some in strange], fault, "correct them or take the rows out")
    marks = np.zeros((len(parts), len(index)), np.int64)
    for row, some in enumerate(parts):
        marks[row, [index[name] for name in some]] = 1
    return marks


def read_numbers(train: Table, columns: tuple[str, ...]) -> Reading:
    """Numbers to estimate, one a column."""
    values = _values(train, columns)
    where = f"column '{printable(columns[0])}'" if len(columns) == 1 else f"{len(columns)} columns"
    low, high = values.min(), values.max()
    found = f"{train.path.name}: {where} of numbers from {low:g} to {high:g}, which are estimated"
    task = Task(columns, "continuous", intervals=_intervals(values))
    return Reading(task, lambda table: _values(table, columns), " ", (found,))


def _values(table: Table, columns: tuple[str, ...]) -> np.ndarray:
    for column in columns:
        strange = [not NUMBER.fullmatch(cell) for cell in cells_of(table, column)]
        fault = f"no number (column '{printable(column)}')"
        table.refuse(strange, fault, "correct them or take the rows out")
    return np.stack([np.array(table.stripped(column), np.float64) for column in columns], axis=1)


def _intervals(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """The mean of each of the intervals that part the numbers, float64 ``[N, T]``, by quantiles; as many of each."""
    most = min(MOST_INTERVALS, max(FEWEST_INTERVALS, isqrt(len(values))))
    means = [_means(column, most) for column in values.T]
    longest = max(map(len, means))
    return tuple((*each, *[each[-1]] * (longest - len(each))) for each in means)


def _means(values: np.ndarray, most: int) -> tuple[float, ...]:
    """At most ``most`` numbers, each the mean of the values that it is nearest to.

    From quantiles on, by the method of S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on
    Information Theory 28, 1982. The values of the intervals that ``Task.encode`` assigns have their means.
    """
    different = np.unique(values)
    if len(different) <= most:
        return tuple(different.tolist())
    edges = np.unique(np.quantile(values, np.arange(1, most) / most))
    means = _means_at(values, edges)
    for _ in range(MOST_ROUNDS):
        before, means = means, _means_at(values, (means[1:] + means[:-1]) / 2)
        if np.array_equal(before, means):
            break
    return tuple(means.tolist())


def _means_at(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The mean of the values in each interval between the edges that has any, ascending."""
    places = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]
    return np.bincount(places, values) / np.bincount(places)


# --- several columns


def read_flags(train: Table, columns: tuple[str, ...]) -> Reading:
    """A column of 0 and 1 for each label: one-hot classes if each row has a single 1, else several labels an image."""
    marks = _flags(train, columns)
    if (marks.sum(axis=1) == 1).all():
        found = f"{train.path.name}: {len(columns)} columns of 0 and 1, one of them 1 in each row: a class an image"
        order = np.argsort(np.argsort(columns))
        return Reading(
            Task(tuple(sorted(columns))), lambda table: order[_flags(table, columns).argmax(axis=1)], " ", (found,)
        )
    found = f"{train.path.name}: {len(columns)} columns of 0 and 1 ({listed(columns)}): several labels an image"
    return Reading(Task(columns, "multilabel"), lambda table: _flags(table, columns), " ", (found,))


def _flags(table: Table, columns: tuple[str, ...]) -> np.ndarray:
    for column in columns:
        strange = [not _FLAG.fullmatch(cell) for cell in cells_of(table, column)]
        table.refuse(strange, f"neither 0 nor 1 (column '{printable(column)}')", "correct them or take the rows out")
    return np.stack([np.array(table.stripped(column), np.float64) for column in columns], axis=1).astype(np.int64)


def read_targets(train: Table, columns: tuple[str, ...]) -> Reading:
    """A class in each of several columns: several targets with classes of their own, numbered together."""
    classes = ordered(cell for column in columns for cell in cells_of(train, column))
    index = {str(label): place for place, label in enumerate(classes)}
    found = f"{train.path.name}: {len(columns)} columns of classes ({listed(columns)}): a class of each for an image"

    def encode(table: Table) -> np.ndarray:
        return np.stack([_indices(table, column, index, str, train.path.name) for column in columns], axis=1)

    return Reading(Task(classes, "multioutput", columns), encode, " ", (found,))


def are_flags(cells: Collection[str]) -> bool:
    """Whether the different cells of a column are 0 and 1."""
    return all(map(_FLAG.fullmatch, cells))


# --- numbers and several labels in a cell, told from classes


def estimated(labels: Collection[str], images: int) -> list[str]:
    """The different labels that are numbers to estimate, not classes; empty if they are classes.

    Numbers are classes if they are whole and most have several images, or if none is left out between the first and
    the last.
    """
    if not all(map(NUMBER.fullmatch, labels)):
        return []
    if decimals := [label for label in labels if not WHOLE.fullmatch(label)]:
        return decimals
    numbers = {int(label.partition(".")[0]) for label in labels}
    without_gaps = max(numbers) - min(numbers) < len(numbers)
    return [] if len(numbers) < FEWEST_NUMBERS or 2 * len(numbers) <= images or without_gaps else list(labels)


def several_in_a_cell(labels: Sequence[str], fewest: int = FEWEST_JOINED) -> tuple[str | None, list[str]]:
    """The separator, and those of the different labels that are several in one cell; none if each is one: ``Fat Hen``.

    fewest: how many must be made of other labels and blanks to be more than names.
    """
    labels = [label for label in labels if label]
    for separator in SEPARATORS:
        if found := _joined_labels(labels, separator, 1 if separator else fewest):
            return separator, found
    return ",", [label for label in labels if _LIST.fullmatch(label)]


def _joined_labels(labels: Sequence[str], separator: str | None, fewest: int) -> list[str]:
    """The labels with parts, if these parts are labels of other images, whole numbers, or combined in many ways."""
    parts = {label: parts_of(label, separator) for label in labels}
    several = [label for label in labels if len(parts[label]) > 1]
    words = set().union(*parts.values())
    lengths = {len(some) for some in parts.values()}
    are_combined = len(lengths) > 2 and len(labels) >= 2 * len(words)
    if are_combined or all(word.isdecimal() for word in words):
        return several
    known = set(labels)
    joined = [label for label in several if parts[label] <= known]
    return joined if len(joined) >= fewest else []


def parted_among(cells: set[str], names: Collection[str]) -> tuple[str | None, set[str]] | None:
    """The separator and the labels in some cells, which hold several of the names each; None if they do not."""
    for separator in SEPARATORS:
        words = {part for cell in cells for part in parts_of(cell, separator)}
        if words <= set(names):
            return separator, words
    return None


def spelled_separator(cell: str, separator: str | None) -> str:
    """The separator with the blanks around it as they are in a cell of several labels."""
    found = re.search(rf"\s*{re.escape(separator)}\s*", cell) if separator else None
    return found[0] if found else " "


def parts_of(cell: str, separator: str | None) -> set[str]:
    """The labels in a cell, which may be a list in brackets with quotes around its labels."""
    inner = _LIST.fullmatch(cell) if separator == "," else None
    parts = (inner[1] if inner else cell.strip("[](){}") if separator == "," else cell).split(separator)
    return {part.strip().strip("'\"") if separator == "," else part.strip() for part in parts} - {""}
