"""Read a run's folder for the report: summary of the recipe, training history, and results of grid searches."""

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
SCORE = "score"  # key of the validation score in a row of a grid
FEWEST_POINTS = 4  # mean number of points that a curve needs


@dataclass(frozen=True)
class Grid:
    """The results of a grid search.

    fold: number of the fold, from 1; None if there are no folds.
    rows: one for each point: its settings, and its score on validation under the key ``score``.
    metric: the metric of the scores.
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
        """Index of the row with the best score, the first in a tie."""
        return max(range(len(self.rows)), key=lambda number: self.metric.rank(float(self.rows[number][SCORE])))

    @property
    def axis(self) -> str | None:
        """The numeric setting with the most distinct values; None if there are too few points for curves over it."""
        tried = {name: {row.get(name) for row in self.rows} for name in self.columns[:-1]}
        numbers = [name for name, values in tried.items() if all(isinstance(value, int | float) for value in values)]
        longest = max(numbers, key=lambda name: len(tried[name]), default=None)
        return longest if longest and len(self.curves(longest)) * FEWEST_POINTS <= len(self.rows) else None

    def curves(self, axis: str) -> dict[str, list[tuple[float, float]]]:
        """The points ``(value of the axis, score)``, ascending, for each combination of the other settings."""
        others = [name for name in self.columns[:-1] if name != axis]
        curves: dict[str, list[tuple[float, float]]] = {}
        for row in self.rows:
            combination = ", ".join(str(row[name]) for name in others if name in row)
            curves.setdefault(combination, []).append((float(row[axis]), float(row[SCORE])))
        return {combination: sorted(points) for combination, points in curves.items()}


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What the report shows of a run besides its score.

    summary: the recipe's summary.
    reported: the accuracy that the recipe's source reports, in 0-1, if any.
    histories: of a network, one for each fold: the columns of its history.csv, float64 ``[epochs]``.
    grids: one for each fold, if the model searched a grid of settings.
    """

    summary: str
    reported: float | None
    histories: list[dict[str, np.ndarray]]
    grids: list[Grid]

    @classmethod
    def read(cls, folder: RunFolder, run: Run) -> Self:
        """Read the record of a run from its folder."""
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
        """Mean duration of an epoch in seconds; None if there is no history."""
        return (
            float(np.concatenate([history["seconds"] for history in self.histories]).mean()) if self.histories else None
        )


def read_history(path: Path) -> dict[str, np.ndarray] | None:
    """The columns of a history.csv, float64 ``[epochs]``; None if the file is missing or empty."""
    if not path.is_file():
        return None
    table = _table(path)
    return {str(name): table[name].to_numpy(np.float64) for name in table} if len(table) else None


def read_grid(folder: FoldFolder) -> list[dict[str, Value]]:
    """The grid of a fitted model: a network's grid.csv or a classical model's ``grid_scores``; [] if there is none."""
    if folder.grid.is_file():
        return [_point(row) for row in _table(folder.grid).to_dict("records")]
    return _saved_facts(folder.weights).get("grid_scores", [])


def _point(row: dict[Hashable, str]) -> dict[str, Value]:
    settings = {str(name): _value(text) for name, text in row.items() if name not in ("validation_score", "kept")}
    return settings | {SCORE: float(row["validation_score"])}


def _table(path: Path) -> pd.DataFrame:
    """Read a CSV with all cells as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _saved_facts(path: Path) -> dict:
    """The metadata of a saved classical model; empty for a network or a missing file."""
    if not path.is_file():
        return {}
    with safe_open(path, framework="numpy") as file:
        return json.loads((file.metadata() or {}).get("facts", "{}"))


def _value(text: str) -> Value:
    """The cell as a number if it is one, otherwise as text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
