"""Cells: what stands in a row of a submission besides its id; one class for each kind of form.

``decide`` makes of a model's output what is answered for each case, in an array whose shape depends on the kind:

    class        int64 ``[N]``, or ``[N, T]`` with several targets: the choice
    probability  float ``[N, L]``, with the columns of ``Task.scores``
    columns      float ``[N, C]``: a probability a class or label, or the numbers
    number       float ``[N, T]``
    labels       bool ``[N, L]``
    ranking      int64 ``[N, k]``: the likeliest labels, best first
    confidence   float64 ``[N, 2]``: the likeliest label and its probability
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd

from competition.form import Form, FormKind
from competition.images_on_disk import IMAGE_SUFFIXES
from competition.metrics import grades_of, likeliest
from competition.tables import Table
from competition.task import Label, Task
from competition.wording import counted, did_you_mean, listed, printable

Column = np.ndarray  # the cells of one column: objects that are labels or text, or floats


@dataclass(frozen=True)
class Cells(ABC):
    """How answers of one kind are decided, laid out, checked and read."""

    form: Form
    task: Task

    @abstractmethod
    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The plain answers. probabilities: a model's output, float ``[N, T * K]``."""

    @abstractmethod
    def columns(self, decided: np.ndarray) -> list[Column]:
        """The columns besides the id. decided: the answer of each row's case, in the order of the rows."""

    @abstractmethod
    def check(self, table: Table, places: Sequence[int]) -> str:
        """What the cells in these columns hold, in words. Raises UserError with the rows of cells that are wrong."""

    @abstractmethod
    def read(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        """What ``decide`` would have to return for these cells, which ``check`` has passed; in long form ``[R]``."""

    @abstractmethod
    def output(self, decided: np.ndarray) -> np.ndarray:
        """A model's output of which ``decide`` makes these answers, float ``[N, T * K]``."""

    @cached_property
    def names(self) -> list[Label]:
        """How each choice of a target is spelled."""
        labels: Sequence[Label] = (0, 1) if self._is_yes_or_no else self.task.classes
        return [self.form.spelled.get(str(label), label) for label in labels]

    @cached_property
    def places(self) -> dict[str, int]:
        return {str(name): place for place, name in enumerate(self.names)}

    @property
    def _is_yes_or_no(self) -> bool:
        return self.task.kind == "multilabel" and self.form.kind == "class"

    @cached_property
    def _named(self) -> np.ndarray:
        named = np.empty(len(self.names), object)
        named[:] = self.names
        return named

    def _of_row(self, decided: np.ndarray) -> np.ndarray:
        """The answer for each row's target: ``[R, T]`` to ``[R]`` in long form, else as it is."""
        targets = self.form.row_targets
        return decided if targets is None or decided.ndim == 1 else decided[np.arange(len(decided)), targets]

    def _refuse_unknown(self, table: Table, at: int, parts: dict[str, list[str]]) -> None:
        """Raises UserError for cells with labels that are none of the names. parts: of each cell, its labels."""
        unknown = [part for part in dict.fromkeys(chain.from_iterable(parts.values())) if part not in self.places]
        if unknown:
            hint = same_spelled(unknown[0], self.places) or did_you_mean(unknown[0], self.places)
            fault = f"class not in train.csv ({listed(unknown)}){hint}"
            remedy = f"write the {len(self.places):,} classes as in train.csv: {listed(self.places)}"
            strange = set(unknown)
            table.refuse([not strange.isdisjoint(parts[cell]) for cell in cells_at(table, at)], fault, remedy)


class ClassCells(Cells):
    """One label in a row, or one for each target."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        if self.task.target_count == 1:
            return probabilities.argmax(axis=1)
        return self.task.by_target(probabilities).argmax(axis=2)

    def columns(self, decided: np.ndarray) -> list[Column]:
        named = self._named[self._of_row(decided)]
        return [named] if named.ndim == 1 else [named[:, at] for at in self.form.order or range(named.shape[1])]

    def check(self, table: Table, places: Sequence[int]) -> str:
        seen: set[str] = set()
        for at in places:
            cells = cells_at(table, at)
            table.refuse([not cell.strip() for cell in cells], "no prediction", "give each id a class")
            self._refuse_unknown(table, at, {cell: [cell] for cell in cells})
            seen.update(cells)
        return f"{len(seen):,} of {len(self.places):,} classes"

    def read(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        found = [np.array([self.places[cell] for cell in cells]) for cells in columns]
        return found[0] if len(found) == 1 else _in_order(found, self.form.order, self.task.target_count)

    def output(self, decided: np.ndarray) -> np.ndarray:
        return one_hot(self.task, decided)


class NumberCells(Cells):
    """One number in a row, or one in each column: probabilities, or the numbers of a continuous task."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        if self.task.kind == "continuous":
            return self.task.numbers(probabilities)
        if self.form.kind == "number":
            return grades_of(self.task, probabilities)[:, None]
        if self.form.kind == "columns" and self.task.kind != "multilabel":
            return probabilities
        return self.task.scores(probabilities)

    def columns(self, decided: np.ndarray) -> list[Column]:
        if self.form.kind == "columns":
            return [decided[:, at] for at in self.form.order or range(decided.shape[1])]
        return [self._of_row(decided) if self.form.row_targets is not None else decided[:, 0]]

    def check(self, table: Table, places: Sequence[int]) -> str:
        numbers = np.stack([self._checked(table, at) for at in places], axis=1)
        if not self._are_probabilities:
            return f"numbers from {numbers.min():.4g} to {numbers.max():.4g}"
        what = "a probability" if len(places) == 1 else f"{len(places):,} probabilities"
        return f"{what} a row{self._remark(numbers)}"

    def read(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        found = [np.array(cells, np.float64) for cells in columns]
        if self.form.kind == "columns":
            return _in_order(found, self.form.order, len(self.task.classes))
        return found[0] if self.form.row_targets is not None else found[0][:, None]

    def output(self, decided: np.ndarray) -> np.ndarray:
        if decided.shape[1] == self.task.columns:
            return decided
        return np.stack([1 - decided, decided], axis=2).reshape(len(decided), -1)

    @property
    def _are_probabilities(self) -> bool:
        return self.task.kind != "continuous" and self.form.kind != "number"

    def _checked(self, table: Table, at: int) -> np.ndarray:
        """The numbers of one column. Raises UserError for cells that are none, or probabilities outside 0 to 1."""
        cells = table.frame.iloc[:, at]
        numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
        what = "a probability from 0 to 1" if self._are_probabilities else "a number"
        where = f" (column '{printable(table.columns[at])}')" if len(table.columns) > 2 else ""
        wrong = ~np.isfinite(numbers)
        table.refuse(wrong.tolist(), f"not a number ({listed(dict.fromkeys(cells[wrong]))}){where}", f"write {what}")
        outside = (numbers < 0) | (numbers > 1) if self._are_probabilities else np.zeros(len(numbers), bool)
        table.refuse(
            outside.tolist(), f"not from 0 to 1 ({listed(dict.fromkeys(cells[outside]))}){where}", f"write {what}"
        )
        return numbers

    def _remark(self, numbers: np.ndarray) -> str:
        if np.isin(numbers, (0, 1)).all():
            return " (only 0 and 1; the metric may want values between)"
        astray = int((np.abs(numbers.sum(axis=1) - 1) > 1e-3).sum())
        if self.form.kind == "columns" and self.task.kind == "multiclass" and astray:
            return f" ({counted(astray, 'row')} not summing to 1)"
        return ""


class LabelCells(Cells):
    """All labels of an image in one cell."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        if self.task.kind == "multilabel":
            return self.task.scores(probabilities) > 0.5
        return probabilities.argmax(axis=1)[:, None] == np.arange(len(self.names))

    def columns(self, decided: np.ndarray) -> list[Column]:
        rows, labels = np.nonzero(decided)
        words = self._named[labels].astype(str).tolist()
        ends = np.searchsorted(rows, np.arange(len(decided) + 1)).tolist()
        joined = np.empty(len(decided), object)
        joined[:] = [self.form.separator.join(words[ends[row] : ends[row + 1]]) for row in range(len(decided))]
        return [joined]

    def check(self, table: Table, places: Sequence[int]) -> str:
        (at,) = places
        cells = cells_at(table, at)
        parts = {cell: self._parts(cell) for cell in dict.fromkeys(cells)}
        self._refuse_unknown(table, at, parts)
        return self._summary(table, [len(parts[cell]) for cell in cells])

    def _summary(self, table: Table, lengths: list[int]) -> str:
        return f"{np.mean(lengths):.2f} labels a row"

    def read(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        sets = np.zeros((len(columns[0]), len(self.names)), bool)
        for row, cell in enumerate(columns[0]):
            sets[row, [self.places[part] for part in self._parts(cell)]] = True
        return sets

    def output(self, decided: np.ndarray) -> np.ndarray:
        return one_hot(self.task, decided.astype(np.int64)) if self.task.kind == "multilabel" else decided.astype(float)

    def _parts(self, cell: str) -> list[str]:
        return [part.strip() for part in cell.split(self.form.separator) if part.strip()]


class RankingCells(LabelCells):
    """The likeliest labels in one cell, best first."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        scores = self.task.scores(probabilities) if self.task.kind == "multilabel" else probabilities
        return likeliest(scores, self.form.most)

    def columns(self, decided: np.ndarray) -> list[Column]:
        joined = np.empty(len(decided), object)
        joined[:] = [self.form.separator.join(words) for words in self._named[decided].astype(str).tolist()]
        return [joined]

    def _summary(self, table: Table, lengths: list[int]) -> str:
        most = self.form.most
        table.refuse([not length for length in lengths], "no prediction", "give each id at least one label")
        table.refuse([length > most for length in lengths], f"more than {most} labels", f"keep the {most} likeliest")
        return f"up to {max(lengths)} labels a row"

    def read(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        """Shorter rankings end in -1; a label that is given twice counts once."""
        found = np.full((len(columns[0]), self.form.most), -1)
        for row, cell in enumerate(columns[0]):
            parts = [self.places[part] for part in dict.fromkeys(self._parts(cell))]
            found[row, : len(parts)] = parts
        return found

    def output(self, decided: np.ndarray) -> np.ndarray:
        """The probability of the second is half of that of the first, and so on: only their order counts."""
        odds = np.zeros((len(decided), len(self.names)))
        for place in range(decided.shape[1]):
            rows = np.flatnonzero(decided[:, place] >= 0)
            odds[rows, decided[rows, place]] = 1 / (1 + place)
        return odds


class ConfidenceCells(Cells):
    """The likeliest label and its probability in one cell; blank for none."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        return np.stack([probabilities.argmax(axis=1), probabilities.max(axis=1)], axis=1, dtype=np.float64)

    def columns(self, decided: np.ndarray) -> list[Column]:
        joined = np.empty(len(decided), object)
        labels = self._named[decided[:, 0].astype(np.int64)]
        joined[:] = [
            f"{label}{self.form.separator}{sure:.9g}" for label, sure in zip(labels, decided[:, 1], strict=True)
        ]
        return [joined]

    def check(self, table: Table, places: Sequence[int]) -> str:
        (at,) = places
        cells = cells_at(table, at)
        pairs = {cell: self._pair(cell) for cell in dict.fromkeys(cells)}
        unsure = [math.isnan(pairs[cell][1]) for cell in cells]
        table.refuse(unsure, "no confidence behind the label", f"write them as {self.names[0]}{self.form.separator}0.9")
        self._refuse_unknown(table, at, {cell: [label] if label else [] for cell, (label, _) in pairs.items()})
        return "a label and its confidence a row"

    def read(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        pairs = [self._pair(cell) for cell in columns[0]]
        return np.array([(self.places.get(label, -1), sure) for label, sure in pairs], np.float64)

    def output(self, decided: np.ndarray) -> np.ndarray:
        """No label is a probability of 0 for all."""
        odds = np.zeros((len(decided), len(self.names)))
        rows = np.flatnonzero(decided[:, 0] >= 0)
        odds[rows, decided[rows, 0].astype(np.int64)] = decided[rows, 1]
        return odds

    def _pair(self, cell: str) -> tuple[str, float]:
        """The label and its confidence, which is nan if there is none; no label and 0 for a blank cell."""
        if not cell.strip():
            return "", 0.0
        label, _, sure = cell.strip().rpartition(self.form.separator)
        number = _number(sure)
        return (label.strip(), number) if label and math.isfinite(number) else (cell.strip(), math.nan)


_KINDS: dict[FormKind, Callable[[Form, Task], Cells]] = {
    "class": ClassCells,
    "probability": NumberCells,
    "columns": NumberCells,
    "number": NumberCells,
    "labels": LabelCells,
    "ranking": RankingCells,
    "confidence": ConfidenceCells,
}


def cells_of(form: Form, task: Task) -> Cells:
    """The cells of submissions in that form."""
    return _KINDS[form.kind](form, task)


def answers_form(form: Form) -> Form:
    """The form of the right answers: of a ranking or a label with its confidence, the true labels alone."""
    return replace(form, kind="labels") if form.kind in ("ranking", "confidence") else form


def one_hot(task: Task, labels: np.ndarray) -> np.ndarray:
    """A model's output that is sure of these labels, float32 ``[N, T * K]``."""
    chosen = task.encode(labels).reshape(len(labels), -1)
    return np.eye(task.choices, dtype=np.float32)[chosen].reshape(len(labels), -1)


def spelled(column: Column) -> list[str]:
    """The cells as text: nine digits of a number tell any two float32 apart."""
    if column.dtype.kind == "f":
        return [f"{number:.9g}" for number in column.tolist()]
    return [str(cell) for cell in column.tolist()]


def _number(text: str) -> float:
    """The number that the text spells; nan if it spells none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def cells_at(table: Table, at: int) -> list[str]:
    """The cells of the column in that place, as a list: to go through a series of strings takes ten times as long."""
    return list(table.frame.iloc[:, at].to_numpy(object))


def same_spelled(name: str, known: Iterable[str]) -> str:
    """`` (did you mean '00017'?)`` if a known name differs only in what tools tend to change; otherwise empty."""
    plain = _plain(name)
    near = next((each for each in known if _plain(each) == plain), None)
    return f" (did you mean '{printable(near)}'?)" if near is not None else ""


def _plain(name: str) -> str:
    """The name without what tools add or lose: spaces, extension, ``.0``, leading zeros and upper case."""
    name = name.strip().casefold()
    for suffix in (*IMAGE_SUFFIXES, ".0"):
        name = name.removesuffix(suffix)
    return name.lstrip("0")


def _in_order(columns: Sequence[np.ndarray], order: Sequence[int], count: int) -> np.ndarray:
    """The columns of a file side by side, each at its place among ``count`` classes or targets."""
    table = np.zeros((len(columns[0]), count), columns[0].dtype)
    table[:, list(order or range(len(columns)))] = np.stack(columns, axis=1)
    return table
