"""The metrics by name: how predictions are measured, and which of two values is better.

To add a metric, define it here and list it in ``METRICS``. Nothing else changes: model selection, blending and reports
use the competition's ``Metric``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from competition.errors import UserError
from competition.task import Task
from competition.wording import did_you_mean

Function = Callable[[np.ndarray, np.ndarray], float]  # labels [N], predicted labels [N] or probabilities [N, C]
Interval = tuple[float, float]

LEVEL = 0.95  # confidence level of the intervals
RESAMPLES = 200  # bootstrap samples


@dataclass(frozen=True)
class Metric:
    """One way to measure predictions against labels.

    name: as in ``--metric`` and ``known/*.toml``; title: as in tables and pages.
    function: takes the labels, int64 ``[N]``, and what the metric ``needs``: the predicted labels, int64 ``[N]``, or
        the probabilities, float ``[N, C]``.
    is_proportion: whether the value is a proportion of the images, all with equal weight.
    """

    name: str
    title: str
    function: Function
    greater_is_better: bool
    needs: Literal["labels", "probabilities"]
    is_proportion: bool = False
    task: Task | None = None

    def of(self, task: Task) -> "Metric":
        return replace(self, task=task)

    def __call__(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        """The value of the metric.

        probabilities: float ``[N, C]``, rows summing to 1, N at least 1. In a tie the first class is predicted.
        labels: int64 ``[N]`` in ``range(C)``.
        """
        return float(self.function(labels, self._predictions(probabilities)))

    def rank(self, value: float) -> float:
        """The value, negated if smaller is better, so that a better value always ranks higher."""
        return value if self.greater_is_better else -value

    @property
    def worst(self) -> float:
        """A value worse than any other: plus or minus infinity."""
        return -np.inf if self.greater_is_better else np.inf

    @property
    def column(self) -> str:
        """The name as a column header, e.g. ``log_loss``."""
        return self.name.replace("-", "_")

    def interval(self, probabilities: np.ndarray, labels: np.ndarray) -> Interval:
        """The 95 % interval of the value: Wilson's interval for a proportion, otherwise a bootstrap interval.

        Arguments as for a call of the metric. The result is deterministic.
        """
        if self.is_proportion:
            return proportion_interval(round(self(probabilities, labels) * len(labels)), len(labels))
        return self._bootstrap(self._predictions(probabilities), labels)

    def _predictions(self, probabilities: np.ndarray) -> np.ndarray:
        """The predictions in the form that ``function`` takes."""
        return probabilities.argmax(axis=1) if self.needs == "labels" else probabilities

    def _bootstrap(self, predictions: np.ndarray, labels: np.ndarray) -> Interval:
        """Percentile interval over resampled images (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""
        generator = np.random.default_rng(0)
        draws = (generator.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES))
        values = [self.function(labels[rows], predictions[rows]) for rows in draws]
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def proportion_interval(right: int, total: int) -> Interval:
    """The 95 % interval of a proportion, within 0-1 (E. B. Wilson, "Probable Inference", JASA 22, 1927)."""
    from scipy.stats import binomtest  # imported here because it is slow to import

    found = binomtest(right, total).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float((predicted == labels).mean())


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Log loss in nats.

    As in scikit-learn, probabilities are clipped by the rounding error of their type, so the loss is always finite.
    Not scikit-learn's function, which takes ten times as long: networks compute this after every epoch.
    """
    truth = probabilities[np.arange(len(labels)), labels]
    rounding = np.finfo(truth.dtype).eps
    return float(-np.log(truth.clip(rounding, 1 - rounding), dtype=np.float64).mean())


def _f1_macro(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean F1 of all classes that occur among the labels or the predictions."""
    from sklearn.metrics import f1_score  # imported here because it is slow to import

    return float(f1_score(labels, predicted, average="macro", zero_division=0.0))


def _balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the classes that have images of the share predicted correctly."""
    from sklearn.metrics import recall_score  # here, since it takes a while to import

    return float(recall_score(labels, predicted, labels=np.unique(labels), average="macro"))


ACCURACY = Metric("accuracy", "accuracy", _accuracy, greater_is_better=True, needs="labels", is_proportion=True)
LOG_LOSS = Metric("log-loss", "log loss", _log_loss, greater_is_better=False, needs="probabilities")
F1_MACRO = Metric("f1-macro", "macro F1", _f1_macro, greater_is_better=True, needs="labels")

BALANCED_ACCURACY = Metric(
    "balanced-accuracy", "balanced accuracy", _balanced_accuracy, greater_is_better=True, needs="labels"
)

METRICS = {metric.name: metric for metric in (ACCURACY, LOG_LOSS, F1_MACRO, BALANCED_ACCURACY)}


def find_metric(name: str) -> Metric:
    """The metric of that name. Raises UserError, which suggests the nearest name, if there is none."""
    if name not in METRICS:
        raise UserError(f"no metric is called '{name}'{did_you_mean(name, METRICS)}; use {', '.join(METRICS)}")
    return METRICS[name]
