"""Metrics by name: how a competition measures predictions, and which of two values is the better one.

A metric of one's own is added here and in ``METRICS``, nowhere else: whatever chooses, orders, blends or reports asks
the competition's ``Metric``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from competition.errors import UserError
from competition.wording import did_you_mean

Function = Callable[[np.ndarray, np.ndarray], float]  # labels [N], predicted labels [N] or probabilities [N, C]
Interval = tuple[float, float]

LEVEL = 0.95  # of an interval
RESAMPLES = 200


@dataclass(frozen=True)
class Metric:
    """One way to measure predictions against labels.

    name: as ``--metric`` and ``known/*.toml`` spell it; title: as tables and pages show it.
    function: takes labels int64 ``[N]`` and what the metric ``needs``: predicted labels int64 ``[N]``, or
        probabilities float ``[N, C]``.
    is_proportion: whether the value is a share of the images, each counting alike.
    """

    name: str
    title: str
    function: Function
    greater_is_better: bool
    needs: Literal["labels", "probabilities"]
    is_proportion: bool = False

    def __call__(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        """The value for probabilities float ``[N, C]``, rows summing to 1, and labels int64 ``[N]`` in ``range(C)``.

        N is at least 1. Of equal probabilities the first counts as the largest.
        """
        return float(self.function(labels, self._predictions(probabilities)))

    def rank(self, value: float) -> float:
        """The value, turned round where smaller is better: a better value always ranks higher."""
        return value if self.greater_is_better else -value

    @property
    def worst(self) -> float:
        """Worse than every value: infinite."""
        return -np.inf if self.greater_is_better else np.inf

    @property
    def column(self) -> str:
        """The name as the header of a table's column, e.g. ``log_loss``."""
        return self.name.replace("-", "_")

    def interval(self, probabilities: np.ndarray, labels: np.ndarray) -> Interval:
        """The 95 % interval of the value: E. B. Wilson's for a proportion, else by the bootstrap.

        The same arguments give the same interval.
        """
        if self.is_proportion:
            return proportion_interval(round(self(probabilities, labels) * len(labels)), len(labels))
        return self._bootstrap(self._predictions(probabilities), labels)

    def _predictions(self, probabilities: np.ndarray) -> np.ndarray:
        """What the function takes."""
        return probabilities.argmax(axis=1) if self.needs == "labels" else probabilities

    def _bootstrap(self, predictions: np.ndarray, labels: np.ndarray) -> Interval:
        """Percentiles over resampled images (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""
        generator = np.random.default_rng(0)
        draws = (generator.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES))
        values = [self.function(labels[rows], predictions[rows]) for rows in draws]
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def proportion_interval(right: int, total: int) -> Interval:
    """The 95 % interval of a proportion (E. B. Wilson, "Probable Inference", JASA 22, 1927), within 0-1."""
    from scipy.stats import binomtest  # here, since it takes a while to import

    found = binomtest(right, total).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float((predicted == labels).mean())


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """In nats. A probability of 0 counts as the rounding error of its type, as with scikit-learn: no value is infinite.

    By hand: scikit-learn's takes ten times as long, and networks ask after every epoch.
    """
    truth = probabilities[np.arange(len(labels)), labels]
    rounding = np.finfo(truth.dtype).eps
    return float(-np.log(truth.clip(rounding, 1 - rounding), dtype=np.float64).mean())


def _f1_macro(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes that are either there or predicted."""
    from sklearn.metrics import f1_score  # here, since it takes a while to import

    return float(f1_score(labels, predicted, average="macro", zero_division=0.0))


ACCURACY = Metric("accuracy", "accuracy", _accuracy, greater_is_better=True, needs="labels", is_proportion=True)
LOG_LOSS = Metric("log-loss", "log loss", _log_loss, greater_is_better=False, needs="probabilities")
F1_MACRO = Metric("f1-macro", "macro F1", _f1_macro, greater_is_better=True, needs="labels")

METRICS = {metric.name: metric for metric in (ACCURACY, LOG_LOSS, F1_MACRO)}


def find_metric(name: str) -> Metric:
    """The metric of that name. Raises UserError, with the nearest name, where there is none."""
    if name not in METRICS:
        raise UserError(f"no metric is called '{name}'{did_you_mean(name, METRICS)}; use {', '.join(METRICS)}")
    return METRICS[name]
