"""The charts of the page of a running training: drawn as SVG by its template, from points that are computed here."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

WIDTH, HEIGHT = 600, 150  # of a chart, in its own units
MOST_POINTS = 200  # of a line
MOST_LINES = 12  # of a chart; of more folds or seeds, the last ones are drawn


@dataclass(frozen=True)
class Line:
    """A line of a chart. points: ``x,y x,y``, as SVG has them. is_faint: drawn dashed."""

    points: str
    is_faint: bool


@dataclass(frozen=True)
class Chart:
    """What a chart shows, in words too.

    low, high: the values at its lower and its upper edge. networks: of folds, seeds or points of a grid; each has a
    line, and where there are losses two.
    """

    title: str
    told: str
    low: float
    high: float
    epochs: int
    networks: int
    lines: list[Line]


def charts(histories: Mapping[str, pd.DataFrame], measure: str) -> list[Chart]:
    """The score and the losses after each epoch. measure: title of the competition's metric."""
    drawn = [history for history in histories.values() if len(history)][-MOST_LINES:]
    if not drawn:
        return []
    scores = [history["validation_score"] for history in drawn]
    losses = [history["validation_loss"] for history in drawn]
    training = [history["loss"] for history in drawn]
    return [
        _chart(f"{measure} on validation", scores, []),
        _chart("loss on validation, and dashed on the augmented training images", losses, training),
    ]


def _chart(title: str, series: list[pd.Series], faint: list[pd.Series]) -> Chart:
    values = np.concatenate([each.to_numpy(float) for each in (*series, *faint)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    epochs = max(map(len, series))
    lines = [(each, False) for each in series] + [(each, True) for each in faint]
    drawn = [Line(_points(each.to_numpy(float), epochs, low, high), is_faint) for each, is_faint in lines]
    ends = "; ".join(f"{each.iloc[0]:.3f} to {each.iloc[-1]:.3f}" for each in series)
    told = f"{title}, from the first to the last of {epochs} epochs: {ends}"
    return Chart(title, told, low, high, epochs, len(series), drawn)


def _points(values: np.ndarray, epochs: int, low: float, high: float) -> str:
    """The line through the finite values; one epoch is a dot at the left edge."""
    step = -(-len(values) // MOST_POINTS)
    places = [place for place in _last_of_each(len(values), step) if np.isfinite(values[place])]
    across = WIDTH / max(1, epochs - 1)
    up = HEIGHT / (high - low or 1.0)
    pairs = ((place * across, HEIGHT - (values[place] - low) * up) for place in places)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def _last_of_each(count: int, step: int) -> list[int]:
    """The last number below ``count`` and each ``step``-th one before it, ascending."""
    return [*range(count - 1, -1, -step)][::-1]
