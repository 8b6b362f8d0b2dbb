"""Refuses contests that ask for what this version cannot answer: probabilities, numbers, several labels for one image.

The cells of the tables show what a contest asks for, so it is refused before anything is trained.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from competition.wording import counted, fault_in, listed, printable

SEPARATORS = (None, ",", ";", "|")  # of labels in a cell; None: blanks, as for str.split
FEWEST_JOINED = 2  # cells of labels joined by blanks; a single one may be a name: bus, school, school bus
PLURALS = {"labels", "tags", "classes", "categories"}  # columns whose name promises several labels in a cell
FEWEST_NUMBERS = 20  # fewer different numbers may be classes with an image or two each
ONE_CLASS = "this version writes one class for each image"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]\d+)?", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_LIST = re.compile(r"[\[({].*,.*[\])}]", re.DOTALL)


def refuse_labels(path: Path, column: str, labels: Sequence[str]) -> None:
    """Raises UserError if labels of training images are numbers to estimate, or several in a cell."""
    where, different = f"column '{printable(column)}'", sorted(set(labels))
    if several := _several_in_a_cell(different, 1 if column.casefold() in PLURALS else FEWEST_JOINED):
        remedy = f"{ONE_CLASS}; give each image one label, or join the words with '_' if these are names of classes"
        raise fault_in(path, f"{where} has several labels in a cell ({listed(several)})", remedy)
    if numbers := _estimated(different, len(labels)):
        fault = f"{where} has {len(different):,} different numbers for {counted(len(labels), 'image')}"
        remedy = f"{ONE_CLASS}; if the numbers are names of classes, put a letter before each"
        raise fault_in(path, f"{fault} ({listed(numbers)}), which are no classes", remedy)


def refuse_label_columns(path: Path, columns: Mapping[str, Collection[str]]) -> None:
    """Raises UserError if several columns, given with their cells, together tell the labels of an image by 0 and 1."""
    if len(columns) > 1 and all(set(cells) <= {"0", "1"} for cells in columns.values()):
        fault = f"{len(columns)} columns of 0 and 1 ({listed(columns)}) instead of a column with the label"
        raise fault_in(path, fault, f"{ONE_CLASS}; to predict one of the columns, name it with --label-column")


def refuse_wide_sample(path: Path, columns: Mapping[str, Collection[str]]) -> None:
    """Raises UserError if a sample submission has several columns, given with their cells, that are all numbers."""
    if len(columns) > 1 and all(all(map(_NUMBER.fullmatch, cells)) for cells in columns.values()):
        cells = next(iter(columns.values()))
        fault = f"asks for numbers such as probabilities in {len(columns)} columns ({listed(columns)}; {listed(cells)})"
        raise fault_in(path, fault, f"{ONE_CLASS}; remove the file if that is what you need")


def refuse_sample(path: Path, column: str, cells: Collection[str], labels: Collection[str]) -> None:
    """Raises UserError if the cells of a sample submission are not like a class.

    labels: of train. A cell may be any word, as some samples hold a placeholder.
    """
    strange = sorted(set(cells) - set(labels))
    numbers = [cell for cell in strange if _is_probability(cell, labels)]
    several = [cell for cell in strange if _holds_several(cell, labels)]
    for found, what in ((numbers, "a probability or another number"), (several, "several values")):
        if found:
            fault = f"asks for {what} in column '{printable(column)}' ({listed(found)})"
            raise fault_in(path, fault, f"{ONE_CLASS}; remove the file if that is what you need")


def _is_probability(cell: str, labels: Collection[str]) -> bool:
    """Whether it is a number with decimals. ``1.0`` may also be class 1, unless the classes are 0 and 1."""
    if not _NUMBER.fullmatch(cell) or cell.lstrip("+-").isdecimal():
        return False
    return not _WHOLE.fullmatch(cell) or set(labels) <= {"0", "1"}


def _holds_several(cell: str, labels: Collection[str]) -> bool:
    """Whether a cell is a list of labels or of numbers, e.g. a label and its confidence."""
    return bool(_LIST.fullmatch(cell)) or any(
        len(parts) > 1 and (parts <= set(labels) or all(map(_NUMBER.fullmatch, parts)))
        for parts in (_parts(cell, separator) for separator in SEPARATORS)
    )


def _several_in_a_cell(labels: Sequence[str], fewest: int) -> list[str]:
    """Those of the different labels that are several in one cell; empty if each is one, such as ``Fat Hen``.

    fewest: how many must be made of other labels and blanks to be more than names.
    """
    found = (_joined_labels(labels, separator, 1 if separator else fewest) for separator in SEPARATORS)
    return next(filter(None, found), [label for label in labels if _LIST.fullmatch(label.strip())])


def _joined_labels(labels: Sequence[str], separator: str | None, fewest: int) -> list[str]:
    """The labels with parts, if these parts are labels of other images, whole numbers, or combined in many ways."""
    parts = {label: _parts(label, separator) for label in labels}
    several = [label for label in labels if len(parts[label]) > 1]
    words = set().union(*parts.values())
    lengths = {len(some) for some in parts.values()}
    are_combined = len(lengths) > 2 and len(labels) >= 2 * len(words)
    if are_combined or all(word.isdecimal() for word in words):
        return several
    known = set(labels)
    joined = [label for label in several if parts[label] <= known]
    return joined if len(joined) >= fewest else []


def _parts(cell: str, separator: str | None) -> set[str]:
    return {part.strip() for part in cell.split(separator)} - {""}


def _estimated(labels: Sequence[str], images: int) -> list[str]:
    """The different labels that are numbers to estimate, not classes; empty if they are classes.

    Numbers are classes if they are whole and most have several images, or if none is left out between the first and
    the last.
    """
    if not all(map(_NUMBER.fullmatch, labels)):
        return []
    if decimals := [label for label in labels if not _WHOLE.fullmatch(label)]:
        return decimals
    numbers = {int(label.partition(".")[0]) for label in labels}
    without_gaps = max(numbers) - min(numbers) < len(numbers)
    return [] if len(numbers) < FEWEST_NUMBERS or 2 * len(numbers) <= images or without_gaps else list(labels)
