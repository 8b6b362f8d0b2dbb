"""The task and the form of a submission, from the training table and the sample submission together."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from competition.errors import UserError
from competition.form import Form, FormKind
from competition.layouts.columns import matched, named_by
from competition.layouts.evidence import Evidence
from competition.layouts.label_map import label_map
from competition.layouts.labels import (
    FEWEST_JOINED,
    NUMBER,
    PLURALS,
    SEPARATORS,
    WHOLE,
    Reading,
    are_flags,
    as_whole,
    cells_of,
    estimated,
    parted_among,
    parts_of,
    read_classes,
    read_flags,
    read_joined,
    read_numbers,
    read_targets,
    several_in_a_cell,
    spelled_separator,
)
from competition.layouts.options import Options
from competition.layouts.samples import Sample
from competition.tables import Table
from competition.task import Task
from competition.wording import counted, fault_in, listed, printable

FEWEST_RANKED = 3  # words in a cell that are a ranking although train shows none of them
_PAIRS = re.compile(r"\S+[:=][\d.]+([ ,;]+\S+[:=][\d.]+)+")  # cat:0.7 dog:0.3
_WORDS = re.compile(r"[\w. /-]+")
_CONFIDENCE = re.compile(r"\S.*?[ ,;|]\s*([01]?\.\d+|[01]\.0*)(e-?\d+)?", re.IGNORECASE)


def read_labels(
    train: Table, columns: tuple[str, ...], sample: Sample | None, options: Options, separator: str | None = None
) -> Reading:
    """How the label columns of train are read. Raises UserError if they do not fit what the sample asks for.

    separator: what is known to part several labels in a cell.
    """
    if len(columns) > 1:
        return _read_columns(train, columns, sample, options)
    (column,) = columns
    cells = set(train.stripped(column)) - {""}
    names = tuple(named_by(sample, cells).values()) if sample and sample.is_wide else ()
    if names and cells <= set(names):
        return read_classes(train, column, False, names)
    if separator and (several := [cell for cell in sorted(cells) if len(parts_of(cell, separator)) > 1]):
        return replace(read_joined(train, column, several, separator, names), separator=" ")
    separator, several = _several(cells, column, names, options)
    if several:
        return read_joined(train, column, several, separator, names)
    if _are_numbers(cells, len(train), sample, options):
        return read_numbers(train, columns)
    return read_classes(train, column, _lose_decimals(cells, sample))


def _several(cells: set[str], column: str, names: Sequence[str], options: Options) -> tuple[str | None, list[str]]:
    """The separator of several labels in a cell, and the cells that have several; none if each has one."""
    if options.form in ("class", "ranking", "confidence"):
        return None, []
    if names and (parted := parted_among(cells, names)) is not None:
        return parted[0], [cell for cell in sorted(cells) if len(parts_of(cell, parted[0])) > 1]
    is_plural = column.casefold() in PLURALS or options.form == "labels"
    return several_in_a_cell(sorted(cells), 1 if is_plural else FEWEST_JOINED)


def _read_columns(train: Table, columns: tuple[str, ...], sample: Sample | None, options: Options) -> Reading:
    cells = [set(cells_of(train, column)) for column in columns]
    if all(map(are_flags, cells)) and not options.wants_numbers:
        return read_flags(train, columns)
    asked = options.wants_numbers or (sample is not None and sample.is_wide and sample.holds_numbers)
    if all(_numbers_among(some) > (0.5 if asked else 0.999) for some in cells) and (
        asked or any(estimated(some, len(train)) for some in cells)
    ):
        return read_numbers(train, columns)
    return read_targets(train, columns)


def _numbers_among(cells: Collection[str]) -> float:
    """The share of different cells that are numbers."""
    return sum(map(bool, map(NUMBER.fullmatch, cells))) / len(cells)


def _are_numbers(cells: Collection[str], images: int, sample: Sample | None, options: Options) -> bool:
    """Whether the different labels are numbers to estimate, as they or the sample show."""
    if not all(map(NUMBER.fullmatch, cells)):
        return False
    if options.form or options.wants_numbers:
        return options.wants_numbers
    if are_flags(cells) or (sample is not None and (sample.is_wide or not sample.holds_numbers)):
        return False
    strange = sample.cells - set(cells) if sample else ()
    return any(not WHOLE.fullmatch(cell) for cell in strange) or bool(estimated(cells, images))


def _lose_decimals(cells: Collection[str], sample: Sample | None) -> bool:
    """Whether labels such as ``2.0`` are read as integers: the sample spells them so, or train has both."""
    if not all(map(WHOLE.fullmatch, cells)) or not any("." in cell for cell in cells):
        return False
    asked = sample.cells if sample else frozenset()
    return any("." not in cell for cell in cells) or (bool(asked) and not asked <= set(cells))


def kind_of(
    reading: Reading, columns: tuple[str, ...], sample: Sample | None, is_long: bool, options: Options
) -> FormKind:
    """What stands in a row of the submission. is_long: whether it has a row for each target."""
    task = reading.task
    if options.form:
        return options.form
    if sample is None or not sample.names:
        return _usual_kind(task, len(columns))
    if task.kind == "multioutput" and not (is_long and sample.is_wide):
        return "class"
    if sample.is_wide:
        return _wide_kind(sample)
    if task.kind == "continuous":
        return "number"
    if task.kind == "multilabel":
        return "probability" if is_long or len(task.classes) == 1 else _list_kind(sample)
    return "probability" if is_long else _single_kind(task, sample, options)


def _usual_kind(task: Task, columns: int) -> FormKind:
    """The kind where no sample shows it: as train has the labels."""
    if task.kind == "continuous" and columns == 1:
        return "number"
    if columns > 1 and task.kind != "multioutput":
        return "columns"
    return "labels" if task.kind == "multilabel" else "class"


def _wide_kind(sample: Sample) -> FormKind:
    if not sample.holds_numbers:
        raise asks(sample, "something else than numbers", sorted(sample.cells)[:3])
    return "columns"


def _list_kind(sample: Sample) -> FormKind:
    """Lists of labels. Raises UserError for lists in brackets, as Python spells them, which are not written here."""
    if bracketed := [cell for cell in sorted(sample.cells) if cell[:1] in tuple("[({")]:
        fault = f"asks for lists in brackets in column '{printable(sample.names[0])}' ({listed(bracketed)})"
        raise fault_in(sample.table.path, fault, "remove the file, and put the brackets into submission.csv yourself")
    return "labels"


def _single_kind(task: Task, sample: Sample, options: Options) -> FormKind:
    """The kind of a cell of a contest with one class an image."""
    labels = set(map(str, task.classes))
    strange = sorted(cell for cell in sample.cells - labels if cell)
    if strange and all(map(_CONFIDENCE.fullmatch, strange)) and not all(map(NUMBER.fullmatch, strange)):
        return "confidence"
    if pairs := list(filter(_PAIRS.fullmatch, strange)):
        raise asks(sample, "several labels with a number each", pairs)
    if several := [cell for cell in strange if holds_several(cell, labels)]:
        if any(cell[:1] in "[({" for cell in several):
            raise asks(sample, "several values", several)
        return "ranking"
    if _ranks_others(sample, labels, options.ranked > 1):
        return "ranking"
    are_flag_labels = labels <= {"0", "1"}
    decimals = [cell for cell in strange if _is_fraction(cell, are_flag_labels)]
    if decimals and len(labels) > 2:
        raise asks(sample, "a probability or another number", decimals)
    return "probability" if decimals or (are_flag_labels and options.wants_probabilities) else "class"


def _ranks_others(sample: Sample, labels: Collection[str], is_ranked: bool) -> bool:
    """Whether all cells have as many words, which train need not show, where each of its labels is one word.

    is_ranked: whether the metric ranks; else the words must be three and have digits, as codes have.
    """
    if not is_ranked and not all(any(map(str.isdigit, cell)) for cell in sample.cells):
        return False
    counts = {len(set(cell.split())) for cell in sample.cells}
    are_words = all(map(_WORDS.fullmatch, (*sample.cells, *labels)))
    return (
        are_words
        and len(counts) == 1
        and counts.pop() >= (2 if is_ranked else FEWEST_RANKED)
        and all(len(label.split()) == 1 for label in labels)
    )


def _is_fraction(cell: str, are_flag_labels: bool) -> bool:
    """Whether it is a number with decimals. ``1.0`` may also be class 1, unless the classes are 0 and 1."""
    if not NUMBER.fullmatch(cell) or cell.lstrip("+-").isdecimal():
        return False
    return not WHOLE.fullmatch(cell) or are_flag_labels


def holds_several(cell: str, labels: Collection[str]) -> bool:
    """Whether a cell is a list of labels, most of which train shows, or of numbers."""
    if cell[:1] in tuple("[({") and "," in cell:
        return True
    return any(
        len(parts) > 1 and (2 * len(parts & set(labels)) > len(parts) or all(map(NUMBER.fullmatch, parts)))
        for parts in (parts_of(cell, separator) for separator in SEPARATORS)
    )


def asks(sample: Sample, what: str, cells: Sequence[str]) -> UserError:
    """The error to raise if the sample asks for what the labels cannot give."""
    fault = f"asks for {what} in column '{printable(sample.names[0])}' ({listed(cells)})"
    remedy = "name the column of the training table that is asked for with --label-column, or remove the file"
    return fault_in(sample.table.path, fault, remedy)


def separator_of(cells: Collection[str], task: Task, usual: str) -> str:
    """What parts the labels in the cells of a sample; ``usual`` if it shows none."""
    labels = set(map(str, task.classes))
    for cell in sorted(cells):
        for separator in (usual.strip() or None, *SEPARATORS):
            parts = parts_of(cell, separator)
            if len(parts) > 1 and (parts <= labels or all(map(NUMBER.fullmatch, parts))):
                return spelled_separator(cell, separator)
    return usual


def spelled_as(sample: Sample, task: Task, evidence: Evidence) -> dict[str, str]:
    """How the sample spells labels that train spells otherwise.

    With decimals, as a side table says, without leading zeros, by their number in the alphabet, or in another case.
    """
    labels = list(map(str, task.classes))
    strange = [cell for cell in sample.cells if cell and cell not in set(labels)]
    if strange and all(WHOLE.fullmatch(cell) and as_whole(cell) in set(labels) for cell in strange):
        ending = strange[0].partition(".")
        return {label: f"{label}{ending[1]}{ending[2]}" for label in labels} if ending[1] else {}
    if strange and (names := label_map(evidence, labels, strange)):
        return dict(names)
    if strange and all(map(str.isdecimal, (*strange, *labels))):
        numbers = {label: str(int(label)) for label in labels}
        return numbers if len({*numbers.values()}) == len(labels) and {*strange} <= {*numbers.values()} else {}
    if strange and all(cell.isdecimal() and int(cell) < len(labels) for cell in strange) and not labels[0].isdecimal():
        return {label: str(place) for place, label in enumerate(labels)}
    folded = {label.casefold(): label for label in labels}
    return {folded[cell.casefold()]: cell for cell in strange if cell.casefold() in folded}


def told(form: Form, task: Task, columns: tuple[str, ...]) -> list[str]:
    """What the submission has in each row, for the user; nothing if it is a class, as usual."""
    each = "each row of the submission has"
    last = task.classes[-1]
    positive = f"'{printable(last)}'" if isinstance(last, str) else f"{printable(columns[0])} = {last}"
    what = "numbers" if task.kind == "continuous" else "a probability"
    spelled = list(form.spelled.items())
    return {
        "probability": [f"{each} the probability of {positive if form.row_targets is None else 'its label'}"],
        "columns": [f"{each} {what} in {counted(len(task.classes), 'column')}"],
        "labels": [f"{each} all labels of its image"],
        "ranking": [f"{each} the {form.most} likeliest labels"],
        "confidence": [f"{each} the likeliest label and its probability"],
        "number": [f"{each} a number"],
        "class": [f"the sample spells '{printable(label)}' as '{printable(cell)}'" for label, cell in spelled[:2]],
    }.get(form.kind, [])


def usual_metric(form: Form, task: Task) -> str:
    """The name of the metric that such a submission is likely measured by."""
    if task.kind == "continuous":
        return "rmse"
    if form.kind in ("probability", "columns"):
        return "log-loss"
    return {"labels": "f1-samples", "ranking": f"map@{form.most}", "confidence": "gap"}.get(form.kind, "accuracy")


def places(task: Task, names: Sequence[str], sample: Sample | None) -> tuple[int, ...]:
    """The places in ``Task.classes`` of the columns ``names``."""
    index = {str(label): place for place, label in enumerate(task.classes)}
    stands_for = matched(names, set(index)) or {name: name for name in names}
    if sample is not None and (strange := [name for name in names if stands_for[name] not in index]):
        raise fault_in(sample.table.path, f"columns that are no labels ({listed(strange)})", "take them out")
    return tuple(index[stands_for[name]] for name in names)


def target_numbers(targets: Sequence[str], task: Task) -> np.ndarray:
    """The number of each target, int64."""
    names = task.targets if task.kind == "multioutput" else tuple(map(str, task.classes))
    index = {name: place for place, name in enumerate(names)}
    return np.array([index[target] for target in targets], np.int64)
