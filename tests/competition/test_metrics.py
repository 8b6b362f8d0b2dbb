"""Metrics: values as scikit-learn has them, which of two is better, intervals, and where a competition's comes from."""

import pickle
import re
import warnings
from pathlib import Path

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
    likeliest,
    metrics_for,
    proportion_interval,
)
from competition.rehearsal_forms import FORMS
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
    with pytest.raises(UserError, match=r"'F1' \(did you mean f1-macro or f1-micro or "):
        find_metric("F1")
    with pytest.raises(UserError, match=r"'own\.py'; name the function in it, too: own\.py:FUNCTION"):
        find_metric("own.py")
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


LABELLED, PAIRED = Task(("any", "b", "c"), "multilabel"), Task((0, 1, 2), "multioutput", ("root", "vowel"))
GRADED, NUMBERED = Task((0, 1, 2, 4)), Task(("x", "y"), "continuous", intervals=((0.0, 10.0), (-1.0, 1.0)))
TASKS = {"graded": GRADED, "binary": Task((0, 1)), "labelled": LABELLED, "paired": PAIRED, "numbered": NUMBERED}


def output(task: Task, labels: np.ndarray, images: int = 80) -> np.ndarray:
    """A model's output that leans to the labels, float32 ``[N, T * K]``."""
    odds = np.random.default_rng(1).random((images, task.target_count, task.choices))
    odds += np.eye(task.choices)[task.encode(labels).reshape(images, -1)] / 2
    return (odds / odds.sum(axis=2, keepdims=True)).reshape(images, -1).astype(np.float32)


def labels_of(task: Task, images: int = 80) -> np.ndarray:
    """Labels as a ``Split`` has them."""
    shape = (images,) if task.kind == "multiclass" else (images, task.target_count)
    drawn = np.random.default_rng(2).integers(0, task.choices, shape)
    return task.true_numbers(drawn) if task.kind == "continuous" else drawn


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_each_metric_that_fits_a_task_prefers_right_answers_and_has_an_interval_around_them(task):
    labels = labels_of(task)
    leaning, astray = output(task, labels), output(task, np.roll(labels, 1, axis=0))
    for name in METRICS:
        if METRICS[name].fits(task):
            metric = METRICS[name].of(task)
            value = metric(leaning, labels)
            assert metric.rank(value) > metric.rank(metric(astray, labels)) or metric.most > task.choices, name
            low, high = metric.interval(leaning, labels)
            assert low <= value <= high and metric.interval(leaning, labels) == (low, high), name
            assert pickle.loads(pickle.dumps(metric)) == metric


def test_a_metric_that_does_not_fit_is_refused_with_those_that_do():
    with pytest.raises(UserError, match=r"^--metric kappa cannot measure 3 labels.*; use .*f1-samples") as raised:
        find_metric("kappa").of(LABELLED)
    assert "rmse" not in str(raised.value)
    with pytest.raises(UserError, match=r"^--metric auc cannot measure 2 numbers; use rmse, mcrmse, mae$"):
        find_metric("auc").of(NUMBERED)
    with pytest.raises(UserError, match=r"--metric f1-binary cannot measure 4 classes \(it takes two\); use"):
        find_metric("f1-binary").of(GRADED)
    with pytest.raises(UserError, match=r"--metric kappa cannot measure 2 classes \(it takes whole numbers\); use"):
        find_metric("kappa").of(Task(("mild", "severe")))


def test_a_metric_of_a_task_is_the_metric_of_that_name():
    assert find_metric("auc").of(LABELLED) == find_metric("auc")
    assert LOG_LOSS.of(LABELLED).task == LABELLED and LOG_LOSS.task is None


def test_accuracy_and_log_loss_of_several_targets_are_means_over_all_pairs():
    labels = labels_of(PAIRED)
    probabilities = output(PAIRED, labels)
    chosen = probabilities.reshape(80, 2, 3)
    assert ACCURACY.of(PAIRED)(probabilities, labels) == pytest.approx((chosen.argmax(axis=2) == labels).mean())
    losses = [log_loss(labels[:, at], chosen[:, at], labels=[0, 1, 2]) for at in range(2)]
    assert LOG_LOSS.of(PAIRED)(probabilities, labels) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_label_any_counts_double_wherever_it_stands():
    labels = np.zeros((10, 3), np.int64)
    sure = np.tile([1.0, 0.0], (10, 3))
    wrong_about_any, wrong_about_b = sure.copy(), sure.copy()
    wrong_about_any[:, :2], wrong_about_b[:, 2:4] = 0.5, 0.5
    metric = find_metric("weighted-log-loss").of(LABELLED)
    assert metric(wrong_about_any, labels) == pytest.approx(2 * metric(wrong_about_b, labels))


def test_kappa_rounds_the_expected_grade_to_the_nearest_class():
    probabilities = np.array([[0, 0, 0.4, 0.6], [0.5, 0, 0.5, 0], [1, 0, 0, 0]])  # 3.2, 1.0 and 0
    metric = find_metric("kappa").of(GRADED)
    assert metric(probabilities, np.array([3, 1, 0])) == 1


def test_numbers_are_measured_by_their_expected_value():
    halves = np.full((4, 4), 0.5)  # 5 and 0
    labels = np.array([[5.0, 0.0], [5.0, 0.0], [5.0, 0.0], [9.0, 0.0]])
    assert find_metric("mae").of(NUMBERED)(halves, labels) == pytest.approx(0.5)
    assert find_metric("rmse").of(NUMBERED)(halves, labels) == pytest.approx(np.sqrt(2))


def test_rankings_may_have_any_length():
    labels = np.array([1, 0])
    probabilities = np.array([[0.6, 0.3, 0.1, 0], [0, 0.2, 0.3, 0.5]])
    assert find_metric("map@2")(probabilities, labels) == pytest.approx(1 / 4)
    assert find_metric("top-2")(probabilities, labels) == pytest.approx(1 / 2)
    assert find_metric("top-1")(probabilities, labels) == 0
    with pytest.raises(UserError, match="no metric is called 'map@0'"):
        find_metric("map@0")


def test_the_likeliest_of_many_are_sorted_as_all_would_be():
    probabilities = np.round(np.random.default_rng(0).random((50, 40)), 2)
    few = likeliest(probabilities, 3)
    assert np.take_along_axis(probabilities, few, axis=1).tolist() == np.sort(probabilities)[:, :-4:-1].tolist()


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (GRADED, ["accuracy", "f1-macro", "log-loss"]),
        (LABELLED, ["log-loss", "auc", "f1-samples"]),
        (PAIRED, ["accuracy", "log-loss"]),
        (NUMBERED, ["rmse", "mae"]),
    ],
)
def test_some_metrics_are_always_measured(task, names):
    assert [metric.name for metric in metrics_for(task)] == names
    assert all(metric.task == task for metric in metrics_for(task))


def test_the_page_of_metrics_lists_every_metric_and_every_form_of_the_rehearsal():
    page = (Path(__file__).parents[2] / "docs" / "METRICS.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    names = set(re.findall(r"`([^`]+)`", " ".join(first_cells))) - {"--metric", "--form", "map@K", "top-K"}
    assert names == {*METRICS, *FORMS}


def test_models_are_compared_by_the_f1_that_they_reach_with_the_best_threshold_for_all_labels():
    task = Task(("haze", "road", "water"), kind="multilabel")
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    scores = np.where(labels == 1, 0.3, 0.1)  # cautious, but in the right order
    output = np.stack([1 - scores, scores], axis=2).reshape(4, 6)
    metric = find_metric("f1-samples").of(task)
    assert metric(output, labels) == 1
    assert metric.at_half(output, labels) == 0
