"""Cells that hold one thing: a class, a probability or another number."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from competition.cells.base import Cells, Column, cells_at, one_hot
from competition.metrics import grades_of
from competition.tables import Table
from competition.wording import counted, listed, printable


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
            self._refuse_unknown(table, at, lambda cell: (cell,))
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
        if self.form.kind == "columns" and self.task.kind == "multioutput":
            return self.task.by_target(probabilities)
        if self.form.kind == "columns" and self.task.kind == "multiclass":
            return probabilities
        return self.task.scores(probabilities)

    def columns(self, decided: np.ndarray) -> list[Column]:
        of_rows = self._of_row(decided)
        if self.form.kind == "columns":
            return [of_rows[:, at] for at in self.form.order or range(of_rows.shape[1])]
        return [of_rows if self.form.row_targets is not None else of_rows[:, 0]]

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
        if decided[0].size == self.task.columns:
            return decided.reshape(len(decided), -1)
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


def _in_order(columns: Sequence[np.ndarray], order: Sequence[int], count: int) -> np.ndarray:
    """The columns of a file side by side, each at its place among ``count`` classes or targets."""
    table = np.zeros((len(columns[0]), count), columns[0].dtype)
    table[:, list(order or range(len(columns)))] = np.stack(columns, axis=1)
    return table
