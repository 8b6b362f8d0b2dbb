"""Paired tests: the same images, and whether two predictions differ by more than chance."""

import numpy as np
import pytest
from scipy.stats import binomtest

from competition.metrics import ACCURACY, LOG_LOSS, METRICS
from pipeline.ensemble.paired import adjusted, chance

LABELS = np.arange(400) % 4


def right_on(rows: np.ndarray, sure: float = 0.7) -> np.ndarray:
    """Predictions that are right on these rows and wrong on the others, float ``[400, 4]``."""
    said = np.where(np.isin(np.arange(400), rows), LABELS, (LABELS + 1) % 4)
    return np.eye(4)[said] * (sure - (1 - sure) / 3) + (1 - sure) / 3


def test_accuracy_is_tested_exactly_on_the_images_that_only_one_is_right_on():
    one, other = right_on(np.arange(300)), right_on(np.arange(20, 310))
    expected = binomtest(20, 30).pvalue
    assert chance(one, other, LABELS, ACCURACY) == pytest.approx(expected)
    assert chance(other, one, LABELS, ACCURACY) == pytest.approx(expected)
    assert chance(one, other, LABELS, METRICS["error"]) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [ACCURACY, LOG_LOSS, METRICS["f1-macro"]], ids=lambda metric: metric.name)
def test_equal_predictions_do_not_differ_and_very_different_ones_do(metric):
    one = right_on(np.arange(300))
    assert chance(one, one, LABELS, metric) == 1
    assert chance(one, right_on(np.arange(200)), LABELS, metric) < 1e-6


def test_pairs_tell_apart_what_intervals_cannot():
    one, other = right_on(np.arange(300)), right_on(np.arange(285))  # never right where the first one is wrong
    low, high = ACCURACY.interval(one, LABELS)
    assert low < ACCURACY(other, LABELS) < high
    assert chance(one, other, LABELS, ACCURACY) < 0.001 and chance(one, other, LABELS, LOG_LOSS) < 0.001


def test_of_models_that_are_equally_good_a_bootstrap_calls_few_different():
    rng = np.random.default_rng(1)
    draws = [[right_on(np.flatnonzero(rng.random(400) < 0.8)) for _ in range(2)] for _ in range(60)]
    called = [chance(one, other, LABELS, LOG_LOSS) < 0.05 for one, other in draws]
    assert np.mean(called) < 0.15


def test_chances_are_adjusted_to_their_number_by_holms_method():
    assert adjusted([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert adjusted([0.9, 0.8]) == [1, 1] and adjusted([]) == []
