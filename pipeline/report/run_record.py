"""Read a run's folder for the report: summary of the recipe, training history, and results of grid searches."""

from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import pandas as pd

from competition.errors import UserError
from competition.metrics import Metric, find_metric
from competition.wording import printable
from pipeline.models.neural.history import EpochRecord
from pipeline.models.persistence import Saved
from pipeline.training.runs import FoldFolder, Run, RunFolder

Instead = TypeVar("Instead")
UNREADABLE = (OSError, ValueError, LookupError)
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
        metric = find_metric(run.score.metric)
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
    """The columns of a history.csv, float64 ``[epochs]``; None if the file is missing, empty or damaged."""
    if not path.is_file():
        return None
    try:
        table = _table(path)
        columns = {column.name: table[column.name].to_numpy(np.float64) for column in fields(EpochRecord)}
    except UNREADABLE:
        return left_out(path, None)
    return columns if len(table) else None


def read_grid(folder: FoldFolder) -> list[dict[str, Value]]:
    """The grid of a fitted model: a network's grid.csv or a classical model's ``grid_scores``.

    [] if there is none, or if its file is damaged.
    """
    if not folder.grid.is_file():
        return _saved_facts(folder.weights).get("grid_scores", [])
    try:
        table = _table(folder.grid)
        return [_point(row) for row in table.astype({"validation_score": float}).to_dict("records")]
    except UNREADABLE:
        return left_out(folder.grid, [])


def _point(row: dict[Hashable, str]) -> dict[str, Value]:
    settings = {str(name): _value(text) for name, text in row.items() if name not in ("validation_score", "kept")}
    return settings | {SCORE: float(row["validation_score"])}


def _table(path: Path) -> pd.DataFrame:
    """Read a CSV with all cells as text. Raises ValueError if it is cut."""
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    return pd.read_csv(StringIO(text), dtype=str, keep_default_na=False)


def _saved_facts(path: Path) -> dict:
    """The facts of a saved model; empty for a file that is missing or damaged."""
    try:
        return Saved.read(path).facts if path.is_file() else {}
    except UserError:
        return left_out(path, {})


def left_out(path: Path, instead: Instead) -> Instead:
    """Say that the report does without a damaged file. Returns ``instead``."""
    print(f"warning: {printable(path, most=200)}: damaged; the report leaves out what it shows of this file")
    return instead


def _value(text: str) -> Value:
    """The cell as a number if it is one, otherwise as text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
