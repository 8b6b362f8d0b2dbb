"""Scores of predictions: the competition's metric with its interval, and others; as a table and as scores.csv."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition.errors import UserError
from competition.metrics import Metric, metrics_for
from competition.storage import atomic_write
from competition.task import Task


@dataclass(frozen=True)
class Score:
    """The scores of predictions.

    metric, title: name and title of the metric by which models are chosen and sorted. low, high: its 95 % interval.
    values: of that metric and of those that are always measured, by name.
    """

    metric: str
    title: str
    greater_is_better: bool
    low: float
    high: float
    values: dict[str, float]

    @property
    def value(self) -> float:
        """The value of ``metric``."""
        return self.values[self.metric]

    @property
    def rank(self) -> float:
        """Higher for a better score; comparable between scores by the same metric."""
        return self._rank(self.value)

    @property
    def cautious_rank(self) -> float:
        """The rank of the worse end of the interval."""
        return min(map(self._rank, (self.low, self.high)))

    def _rank(self, value: float) -> float:
        return value if self.greater_is_better else -value

    def __str__(self) -> str:
        """The metric and its value, e.g. ``accuracy 0.9123``."""
        return f"{self.title} {self.value:.4f}"


@dataclass(frozen=True)
class ModelScore:
    """One row of scores.csv: a recipe, its validation score, seconds of training, number of parameters.

    options: train.py options that differ from the defaults, e.g. ``epochs=30,seed=1``.
    """

    model: str
    score: Score
    seconds: float
    parameters: int
    options: str = ""


def score(probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Score:
    """Score a model's output, float ``[N, T * K]``, against labels, as in ``Split.labels``.

    Raises UserError if there is no image.
    """
    if len(labels) == 0:
        raise UserError("no labelled image to measure on; give a validation table with at least one row")
    values = {each.name: each(probabilities, labels) for each in (metric, *other_metrics(metric))}
    low, high = metric.interval(probabilities, labels)
    return Score(metric.name, metric.title, metric.greater_is_better, low, high, values)


def score_by(metric: Metric, known: Score | None, probabilities: np.ndarray, labels: np.ndarray) -> Score:
    """The score of these predictions by ``metric``: ``known`` if there is one by that metric, else computed."""
    return known if known and known.metric == metric.name else score(probabilities, labels, metric)


def other_metrics(metric: Metric) -> list[Metric]:
    """The metrics that are measured in addition to this one."""
    task = metric.task or Task((0, 1))  # without a task it is one class an image
    return [replace(each, task=metric.task) for each in metrics_for(task) if each != metric]


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for the terminal: the first column aligned left, the others right."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    layout = f"{{:{widths[0]}}}" + "".join(f"  {{:>{width}}}" for width in widths[1:])
    return "\n".join(layout.format(*line).rstrip() for line in lines)


def scores_table(rows: Iterable[ModelScore], metric: Metric) -> str:
    """A table of the models' validation scores for the terminal, in the given order. All scores are by ``metric``."""
    others = other_metrics(metric)
    header = ("model", metric.title, "95 % interval", *(each.title for each in others), "seconds", "parameters")
    return text_table(
        header,
        (
            (
                f"{row.model}~{row.options}" if row.options else row.model,
                f"{row.score.value:.4f}",
                f"{row.score.low:.4f}-{row.score.high:.4f}",
                *(f"{row.score.values[each.name]:.4f}" for each in others),
                f"{row.seconds:.1f}",
                f"{row.parameters:,}",
            )
            for row in rows
        ),
    )


def write_scores(path: Path, rows: Iterable[ModelScore], metric: Metric) -> None:
    """Write scores.csv, one row per run, in the given order; first the metric and its interval, then the others."""
    table = pd.DataFrame([_cells(row, metric) for row in rows])
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _cells(row: ModelScore, metric: Metric) -> dict[str, str]:
    numbers = {metric.column: row.score.value, "low": row.score.low, "high": row.score.high}
    numbers |= {each.column: row.score.values[each.name] for each in other_metrics(metric)}
    texts = {name: f"{number:.6f}" for name, number in numbers.items()}
    costs = {"seconds": f"{row.seconds:.1f}", "parameters": str(row.parameters)}
    return {"model": row.model} | texts | costs | {"options": row.options}
