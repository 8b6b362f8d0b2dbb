"""Metrics by name: how a competition measures predictions, and which of two values is the better one."""

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
    """

    name: str
    title: str
    function: Function
    greater_is_better: bool
    needs: Literal["labels", "probabilities"]

    def __call__(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        """The value for probabilities float ``[N, C]`` and labels int64 ``[N]`` in ``range(C)``."""
        predictions = probabilities.argmax(axis=1) if self.needs == "labels" else probabilities
        return float(self.function(labels, predictions))

    def rank(self, value: float) -> float:
        """The value, turned round where smaller is better: a better value always ranks higher."""
        return value if self.greater_is_better else -value

    @property
    def worst(self) -> float:
        """Worse than every value."""
        return -self.rank(np.inf)

    def interval(self, probabilities: np.ndarray, labels: np.ndarray) -> Interval:
        """The 95 % interval of the value: exact for accuracy, by the bootstrap for every other metric."""
        if self is ACCURACY:
            return proportion_interval(int((probabilities.argmax(axis=1) == labels).sum()), len(labels))
        return self._bootstrap(probabilities, labels)

    def _bootstrap(self, probabilities: np.ndarray, labels: np.ndarray) -> Interval:
        """Percentiles over resampled images (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""
        generator = np.random.default_rng(0)
        draws = (generator.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES))
        values = [self(probabilities[rows], labels[rows]) for rows in draws]
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
    """In nats; a probability counts as at least a tenth of a millionth, so that the value is finite."""
    truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(truth.clip(1e-7)).mean())


def _f1_macro(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes that are either there or predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, average="macro", zero_division=0.0))


ACCURACY = Metric("accuracy", "accuracy", _accuracy, greater_is_better=True, needs="labels")
LOG_LOSS = Metric("log-loss", "log loss", _log_loss, greater_is_better=False, needs="probabilities")
F1_MACRO = Metric("f1-macro", "macro F1", _f1_macro, greater_is_better=True, needs="labels")

METRICS = {metric.name: metric for metric in (ACCURACY, LOG_LOSS, F1_MACRO)}


def find_metric(name: str) -> Metric:
    """The metric of that name. Raises UserError, with the nearest name, where there is none."""
    if name not in METRICS:
        raise UserError(f"no metric is called '{name}'{did_you_mean(name, METRICS)}; use {', '.join(METRICS)}")
    return METRICS[name]
