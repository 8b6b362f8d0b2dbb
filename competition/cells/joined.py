"""Cells that hold several things: labels, a ranking of labels, or a label and its confidence."""

import math
from collections.abc import Sequence

import numpy as np

from competition.cells.base import Cells, Column, cells_at, one_hot
from competition.metrics import likeliest
from competition.tables import Table


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
        self._refuse_unknown(table, at, parts.__getitem__)
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
        self._refuse_unknown(table, at, lambda cell: filter(None, pairs[cell][:1]))
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


def _number(text: str) -> float:
    """The number that the text spells; nan if it spells none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
