"""Metrics: values as scikit-learn has them, which of two is better, intervals, and where a competition's comes from."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from competition import sources
from competition.errors import UserError
from competition.layouts import load, load_competition
from competition.metrics import (
    ACCURACY,
    BALANCED_ACCURACY,
    F1_MACRO,
    LOG_LOSS,
    METRICS,
    Metric,
    find_metric,
    proportion_interval,
)
from competition.task import Task

OF_CLASSES = [metric for metric in METRICS.values() if metric.fits(Task(tuple(range(5))))]


def drawn(images: int = 300, classes: int = 5, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 ``[N, C]`` with a leaning to the right class, and the labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, images)
    odds = generator.random((images, classes))
    odds[np.arange(images), labels] += skill * generator.random(images)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), labels


def test_values_are_scikit_learns():
    probabilities, labels = drawn()
    predicted = probabilities.argmax(axis=1)
    assert ACCURACY(probabilities, labels) == accuracy_score(labels, predicted)
    assert LOG_LOSS(probabilities, labels) == pytest.approx(log_loss(labels, probabilities))
    assert F1_MACRO(probabilities, labels) == f1_score(labels, predicted, average="macro")
    assert BALANCED_ACCURACY(probabilities, labels) == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_values_of_a_case_done_by_hand():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    labels = np.array([0, 1, 1, 2])
    assert ACCURACY(probabilities, labels) == 0.75
    assert F1_MACRO(probabilities, labels) == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert LOG_LOSS(probabilities, labels) == pytest.approx((3 * np.log(2) + np.log(4)) / 4)
    assert BALANCED_ACCURACY(probabilities, labels) == pytest.approx((1 + 1 / 2 + 1) / 3)


@pytest.mark.parametrize("metric", [ACCURACY, LOG_LOSS, F1_MACRO, BALANCED_ACCURACY], ids=lambda metric: metric.name)
def test_classes_that_no_image_shows_and_no_prediction_names_change_nothing(metric):
    few, labels = np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 0])
    many = np.array([[0.6, 0.4, 0, 0], [0.3, 0.7, 0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metric(many, labels) == metric(few, labels)


def test_macro_f1_counts_a_class_that_is_there_or_predicted_and_never_right():
    probabilities = np.eye(4)[[0, 0, 2]]
    assert F1_MACRO(probabilities, np.array([0, 1, 0])) == pytest.approx((1 / 2 + 0 + 0) / 3)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_certainty_in_the_wrong_class_costs_as_much_as_with_scikit_learn(kind):
    probabilities, labels = np.array([[1, 0], [1, 0]], dtype=kind), np.array([1, 0])
    assert LOG_LOSS(probabilities, labels) == pytest.approx(log_loss(labels, probabilities))
    assert 5 < LOG_LOSS(probabilities, labels) < 50


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_better_value_ranks_higher_and_none_is_worse_than_the_worst(metric):
    better, worse = (0.9, 0.8) if metric.greater_is_better else (0.1, 0.2)
    assert metric.rank(better) > metric.rank(worse) > metric.rank(metric.worst)


def test_the_interval_of_accuracy_is_wilsons():
    right = np.eye(2)[[0] * 90 + [1] * 10]
    assert ACCURACY.interval(right, np.zeros(100, dtype=np.int64)) == pytest.approx((0.82563, 0.94477), abs=1e-5)


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0, 0.2775), (10, 0.7225, 1)])
def test_the_interval_of_a_proportion_stays_within_zero_and_one(right, low, high):
    assert proportion_interval(right, 10) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("metric", [LOG_LOSS, F1_MACRO], ids=["log-loss", "f1-macro"])
def test_a_bootstrap_interval_holds_the_value_is_the_same_again_and_narrows_with_more_images(metric):
    low, high = metric.interval(*drawn(200))
    assert low < metric(*drawn(200)) < high
    assert metric.interval(*drawn(200)) == (low, high)
    few, many = (np.ptp(metric.interval(*drawn(count))) for count in (100, 1600))
    assert many == pytest.approx(few / 4, rel=0.4)


def test_a_bootstrap_interval_is_about_that_of_the_normal_distribution():
    probabilities, labels = drawn(2000)
    losses = -np.log(probabilities[np.arange(2000), labels])
    reach = 1.96 * losses.std() / np.sqrt(2000)
    expected = (losses.mean() - reach, losses.mean() + reach)
    assert LOG_LOSS.interval(probabilities, labels) == pytest.approx(expected, abs=0.2 * reach)


@pytest.mark.parametrize("metric", OF_CLASSES, ids=lambda metric: metric.name)
def test_a_metric_that_another_process_was_sent_measures_the_same(metric):
    sent = pickle.loads(pickle.dumps(metric))
    assert sent == metric
    assert sent.interval(*drawn()) == metric.interval(*drawn())


def test_metrics_are_found_by_name():
    assert all(find_metric(name).name == name for name in METRICS)
    with pytest.raises(UserError, match=r"no metric is called 'acuracy' \(did you mean 'accuracy'\?\); use accuracy, "):
        find_metric("acuracy")


def metric_of(folder, name: str = "zoo", metric: Metric | None = None) -> str:
    return load_competition(folder, name=name, metric=metric).metric.name


def test_the_metric_asked_for_wins_over_the_known_one_and_that_over_accuracy(make_competition, tmp_path, monkeypatch):
    folder = make_competition(tmp_path / "zoo")
    monkeypatch.setattr(load, "KNOWN", tmp_path)
    assert metric_of(folder) == "accuracy"
    (tmp_path / "zoo.toml").write_text('metric = "log-loss"\n')
    assert metric_of(folder) == "log-loss"
    assert metric_of(folder, metric=F1_MACRO) == "f1-macro"
    assert metric_of(folder, name="farm") == "accuracy"


def test_a_competition_is_opened_with_a_metric_by_name(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo")
    opened = sources.open_competition(str(folder), None, tmp_path / "data", metric="log-loss")
    assert opened.metric == LOG_LOSS
    with pytest.raises(UserError, match=r"no metric is called 'log_loss' \(did you mean 'log-loss'\?\)"):
        sources.open_competition(str(folder), None, tmp_path / "data", metric="log_loss")
