"""What a run's folder tells beside its score: the recipe's words, the course of a training, a grid's table."""

import json
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from safetensors import safe_open

from competition.metrics import METRICS, Metric
from pipeline.training.runs import FoldFolder, Run, RunFolder

Value = int | float | str
SCORE = "score"  # the key of a point's value on validation
FEWEST_POINTS = 4  # that make a curve, on average


@dataclass(frozen=True)
class Grid:
    """What was tried, a row a point: its settings, and as ``score`` its value on validation.

    fold: which of several models tried it, from 1; None where there is one.
    metric: what the scores are values of.
    """

    fold: int | None
    rows: list[dict[str, Value]]
    metric: Metric

    @property
    def columns(self) -> list[str]:
        """The settings in the order of their first appearance, then ``score``."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [*(name for name in names if name != SCORE), SCORE]

    @property
    def best(self) -> int:
        """The row number of the best score, the first of equals."""
        return max(range(len(self.rows)), key=lambda number: self.metric.rank(float(self.rows[number][SCORE])))

    @property
    def axis(self) -> str | None:
        """The number that most values were tried of, where they are enough for curves."""
        tried = {name: {row.get(name) for row in self.rows} for name in self.columns[:-1]}
        numbers = [name for name, values in tried.items() if all(isinstance(value, int | float) for value in values)]
        longest = max(numbers, key=lambda name: len(tried[name]), default=None)
        return longest if longest and len(self.curves(longest)) * FEWEST_POINTS <= len(self.rows) else None

    def curves(self, axis: str) -> dict[str, list[tuple[float, float]]]:
        """``(value of the axis, score)``, ascending, for each combination of the other settings."""
        others = [name for name in self.columns[:-1] if name != axis]
        curves: dict[str, list[tuple[float, float]]] = {}
        for row in self.rows:
            combination = ", ".join(str(row[name]) for name in others if name in row)
            curves.setdefault(combination, []).append((float(row[axis]), float(row[SCORE])))
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
        metric = METRICS[run.score.metric]
        grids = [
            Grid(fold, rows, metric) for fold, place in zip(numbers, places, strict=True) if (rows := read_grid(place))
        ]
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
    table = _table(path)
    return {str(name): table[name].to_numpy(np.float64) for name in table} if len(table) else None


def read_grid(folder: FoldFolder) -> list[dict[str, Value]]:
    """The table of what a fitted model tried: a network's grid.csv, or ``grid_scores`` of a classical model."""
    if folder.grid.is_file():
        return [_point(row) for row in _table(folder.grid).to_dict("records")]
    return _saved_facts(folder.weights).get("grid_scores", [])


def _point(row: dict[Hashable, str]) -> dict[str, Value]:
    settings = {str(name): _value(text) for name, text in row.items() if name not in ("validation_score", "kept")}
    return settings | {SCORE: float(row["validation_score"])}


def _table(path: Path) -> pd.DataFrame:
    """A CSV as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


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
