"""Paired comparison of two predictions for the same images: is their difference more than chance?"""

import numpy as np

from competition.metrics import Metric

RESAMPLES = 100  # for a standard error


def standard_error(one: np.ndarray, other: np.ndarray, labels: np.ndarray, metric: Metric) -> float:
    """The standard error of the difference in the metric between two predictions, over resampled images.

    one, other: float ``[N, T * K]``. labels: as in ``Split.labels``. The result is deterministic.
    """
    rng, count = np.random.default_rng(0), len(labels)
    drawn = (rng.integers(0, count, count) for _ in range(RESAMPLES))
    draws = ((rows, labels[rows]) for rows in drawn)
    pairs = ((metric(one[rows], truth), metric(other[rows], truth)) for rows, truth in draws)
    return float(np.std([first - second for first, second in pairs]))


def chance(one: np.ndarray, other: np.ndarray, labels: np.ndarray, metric: Metric) -> float:
    """How likely chance alone makes two equally good models differ in the metric at least as much as these, in 0-1.

    By the exact test of Q. McNemar (Psychometrika 12, 1947) where images are right or wrong, otherwise by the paired
    bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). Arguments as for ``standard_error``.
    """
    from scipy.stats import binomtest, norm  # here, because it is slow to import

    if metric.is_proportion and labels.ndim == 1:
        right, right_too = (each.argmax(axis=1) == labels for each in (one, other))
        only, only_other = int((right & ~right_too).sum()), int((right_too & ~right).sum())
        return float(binomtest(only, only + only_other).pvalue) if only + only_other else 1.0
    difference = abs(metric(one, labels) - metric(other, labels))
    deviation = standard_error(one, other, labels, metric)
    return float(2 * norm.sf(difference / deviation)) if deviation > 0 else float(difference == 0)


def adjusted(chances: list[float]) -> list[float]:
    """The chances of several comparisons, adjusted to their number (S. Holm, Scandinavian Journal of Statistics, 1979).

    So that all of the differences that are then called real are so with the usual certainty.
    """
    order = np.argsort(chances, kind="stable")
    scaled = np.array(chances)[order] * np.arange(len(chances), 0, -1)
    found = np.empty(len(chances))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return found.tolist()
