"""How good predictions are: accuracy with its interval, macro F1, log loss; as a table and as scores.csv."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from math import sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np

from competition.errors import UserError
from pipeline.runtime.files import atomic_write

SCORES_HEADER = ("model", "accuracy", "low", "high", "f1_macro", "log_loss", "seconds", "parameters", "options")


@dataclass(frozen=True)
class Score:
    """accuracy with its 95 % interval ``low``-``high`` and macro F1, all in 0-1; log loss in nats."""

    accuracy: float
    low: float
    high: float
    f1_macro: float
    log_loss: float


@dataclass(frozen=True)
class ModelScore:
    """One row of scores.csv: a recipe, its validation score, seconds of training, trained parameters.

    options: train.py's, where they are not the defaults: ``epochs=30,seed=1``.
    """

    model: str
    score: Score
    seconds: float
    parameters: int
    options: str = ""


def score(probabilities: np.ndarray, labels: np.ndarray) -> Score:
    """Measure float ``[N, C]`` probabilities, rows summing to 1, against int ``[N]`` labels in ``range(C)``.

    Macro F1 averages over the classes that are either there or predicted.
    Raises UserError where there is no image to measure on.
    """
    if len(labels) == 0:
        raise UserError("no labelled image to measure on; give a validation table with at least one row")
    # imported here, since it takes seconds and whoever only prints tables needs none of it
    from sklearn.metrics import f1_score, log_loss

    classes = np.arange(probabilities.shape[1])
    predicted_labels = probabilities.argmax(axis=1)
    right = int((predicted_labels == labels).sum())
    low, high = wilson_interval(right, len(labels))
    return Score(
        accuracy=right / len(labels),
        low=low,
        high=high,
        f1_macro=float(f1_score(labels, predicted_labels, labels=classes, average="macro", zero_division=np.nan)),
        log_loss=float(log_loss(labels, probabilities, labels=classes)),
    )


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (E. B. Wilson, "Probable Inference", JASA 22, 1927), within 0-1."""
    z = NormalDist().inv_cdf(0.975)
    share, shrink = right / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / shrink
    reach = z * sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2) / shrink
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns for the terminal: the first to the left, the others to the right."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    layout = f"{{:{widths[0]}}}" + "".join(f"  {{:>{width}}}" for width in widths[1:])
    return "\n".join(layout.format(*line).rstrip() for line in lines)


def scores_table(rows: Iterable[ModelScore]) -> str:
    """The models' validation scores for the terminal, in the order given."""
    header = ("model", "accuracy", "95 % interval", "F1 macro", "log loss", "seconds", "parameters")
    return text_table(
        header,
        (
            (
                f"{row.model}~{row.options}" if row.options else row.model,
                f"{row.score.accuracy:.4f}",
                f"{row.score.low:.4f}-{row.score.high:.4f}",
                f"{row.score.f1_macro:.4f}",
                f"{row.score.log_loss:.4f}",
                f"{row.seconds:.1f}",
                f"{row.parameters:,}",
            )
            for row in rows
        ),
    )


def write_scores(path: Path, rows: Iterable[ModelScore]) -> None:
    """Write scores.csv, one row a run, in the order given."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(SCORES_HEADER)
        for row in rows:
            numbers = (f"{number:.6f}" for number in astuple(row.score))
            writer.writerow((row.model, *numbers, f"{row.seconds:.1f}", row.parameters, row.options))
