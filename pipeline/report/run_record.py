"""What a run's folder tells beside its score: the recipe's words, the course of a training, a grid's table."""

import csv
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import safe_open

from pipeline.training.runs import FoldFolder, Run, RunFolder

Value = int | float | str
FEWEST_POINTS = 4  # that make a curve, on average


@dataclass(frozen=True)
class Grid:
    """What was tried, a row a point: its settings, and its validation ``accuracy`` in 0-1.

    fold: which of several models tried it, from 1; None where there is one.
    """

    fold: int | None
    rows: list[dict[str, Value]]

    @property
    def columns(self) -> list[str]:
        """The settings in the order of their first appearance, then ``accuracy``."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [*(name for name in names if name != "accuracy"), "accuracy"]

    @property
    def best(self) -> int:
        """The row number of the highest accuracy, the first of equals."""
        return max(range(len(self.rows)), key=lambda number: self.rows[number]["accuracy"])

    @property
    def axis(self) -> str | None:
        """The number that most values were tried of, where they are enough for curves."""
        tried = {name: {row.get(name) for row in self.rows} for name in self.columns[:-1]}
        numbers = [name for name, values in tried.items() if all(isinstance(value, int | float) for value in values)]
        longest = max(numbers, key=lambda name: len(tried[name]), default=None)
        return longest if longest and len(self.curves(longest)) * FEWEST_POINTS <= len(self.rows) else None

    def curves(self, axis: str) -> dict[str, list[tuple[float, float]]]:
        """``(value of the axis, accuracy)``, ascending, for each combination of the other settings."""
        others = [name for name in self.columns[:-1] if name != axis]
        curves: dict[str, list[tuple[float, float]]] = {}
        for row in self.rows:
            combination = ", ".join(str(row[name]) for name in others if name in row)
            curves.setdefault(combination, []).append((row[axis], row["accuracy"]))
        return {combination: sorted(points) for combination, points in curves.items()}


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What lies beside a run's score.

    reported: the figure that the recipe's own report gives, in 0-1, if any.
    histories: of a network, one a fold: each column of its history.csv, float64 ``[epochs]``.
    grids: one a fold, where the model chose among several settings.
    """

    summary: str
    reported: float | None
    histories: list[dict[str, np.ndarray]]
    grids: list[Grid]

    @classmethod
    def read(cls, folder: RunFolder, run: Run) -> Self:
        """folder: the run's own."""
        places = [folder.fold(name) for name in run.fold_folders]
        histories = [history for place in places if (history := read_history(place.history))]
        numbers = [None] if len(places) == 1 else range(1, len(places) + 1)
        grids = [Grid(fold, rows) for fold, place in zip(numbers, places, strict=True) if (rows := read_grid(place))]
        return cls(run.recipe.summary, run.recipe.reported, histories, grids)

    @property
    def seconds_an_epoch(self) -> float | None:
        """The mean over all epochs; None where there were none."""
        return (
            float(np.concatenate([history["seconds"] for history in self.histories]).mean()) if self.histories else None
        )


def read_history(path: Path) -> dict[str, np.ndarray] | None:
    """The columns of a history.csv, float64; None where there is none."""
    if not path.is_file():
        return None
    rows = _csv_rows(path)
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]} if rows else None


def read_grid(folder: FoldFolder) -> list[dict[str, Value]]:
    """The table of what a fitted model tried: a network's grid.csv, or ``grid_scores`` of a classical model."""
    if folder.grid.is_file():
        return [_point(row) for row in _csv_rows(folder.grid)]
    return _saved_facts(folder.weights).get("grid_scores", [])


def _point(row: dict[str, str]) -> dict[str, Value]:
    settings = {name: _value(text) for name, text in row.items() if name not in ("validation_accuracy", "kept")}
    return settings | {"accuracy": float(row["validation_accuracy"])}


def _csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _saved_facts(path: Path) -> dict:
    """What a classical model keeps besides arrays; nothing of a network, or where there is no file."""
    if not path.is_file():
        return {}
    with safe_open(path, framework="numpy") as file:
        return json.loads((file.metadata() or {}).get("facts", "{}"))


def _value(text: str) -> Value:
    """The cell as a number, if it is one."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
