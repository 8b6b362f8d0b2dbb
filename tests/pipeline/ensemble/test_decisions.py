"""Decisions: what is fitted on validation images, what is submitted of each test case, how often each class is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, softmax

from competition.errors import UserError
from competition.form import Form
from competition.metrics import ACCURACY, F1_MACRO, LOG_LOSS, METRICS, find_metric
from competition.spec import Competition, Split
from competition.task import Task
from pipeline.data.predictions import Predictions
from pipeline.ensemble.decisions import class_counts, fit_decision, plain_decision
from tests.contest import IDS, asking, contest


def decide(competition: Competition, predictions: Predictions) -> list[tuple[str, ...]]:
    return plain_decision().cells(competition, predictions)


def answers(predicted_labels: list[int], classes: int = 3, ids: tuple[str, ...] = IDS) -> Predictions:
    return Predictions(ids, np.eye(classes)[predicted_labels] * 0.8 + 0.2 / classes)


def test_the_likeliest_class_of_each_test_image_is_given():
    assert decide(contest(), answers([1, 0, 1, 2])) == [("3",), ("0",), ("3",), ("10",)]
    assert decide(contest(classes=("a", "b", "c")), answers([1, 0, 1, 2])) == [("b",), ("a",), ("b",), ("c",)]


def test_labels_are_in_the_order_of_the_sample_whatever_the_order_of_predictions():
    competition = contest(order=("d.png", "c.png", "b.png", "00017.png"))
    predictions = answers([0, 1, 2, 0], ids=("b.png", "c.png", "d.png", "00017.png"))
    assert decide(competition, predictions) == [("10",), ("3",), ("0",), ("0",)]


def test_an_image_without_a_prediction_is_named():
    with pytest.raises(UserError, match=r"no prediction for 1 of 4 ids: d\.png"):
        decide(contest(), answers([0, 0, 0], ids=IDS[:3]))


def test_predictions_of_other_classes_are_refused():
    with pytest.raises(UserError, match="the predictions have 5 classes, but contest has 3"):
        decide(contest(), answers([0, 0, 0, 4], classes=5))


def test_class_counts_stand_beside_the_shares_of_train():
    assert class_counts(contest(), answers([1, 0, 1, 1])).splitlines() == [
        "Class  predicted   share  in train",
        "3              3  75.00%    28.57%",
        "0              1  25.00%    57.14%",
        "10             0   0.00%    14.29%",
    ]


def test_a_class_with_control_characters_keeps_to_its_line():
    table = class_counts(contest(classes=("ant", "bee\n\x1b[31m", "cat")), answers([1, 0, 1, 1]))
    assert "\nbee\\n\\x1b[31m          3" in table and "\x1b" not in table


def test_of_many_classes_the_counts_show_the_top_and_the_bottom():
    competition = contest(classes=tuple(range(100, 196)))
    lines = class_counts(competition, answers([95, 95, 95, 7], classes=96)).splitlines()
    assert len(lines) == 22
    assert [line.split()[0] for line in lines[1:3]] == ["195", "107"]
    assert lines[11] == "(76 more)"
    assert lines[-1].split()[:2] == ["194", "0"]


def test_the_images_of_a_case_are_averaged_and_a_case_may_be_asked_about_in_several_rows():
    competition = asking("probability", Task((0, 1)), "target")
    test = replace(competition.test, cases=("left", "right", "left", "right"))
    form = replace(competition.form, ids=("r1", "l1", "r2"), cases=("right", "left", "right"))
    competition = replace(competition, test=test, form=form)
    output = np.array([[0.5, 0.5], [0.25, 0.75], [1, 0], [0.75, 0.25]])
    assert decide(competition, Predictions(IDS, output)) == [("0.5",), ("0.25",), ("0.5",)]


def test_a_case_without_images_is_named():
    competition = asking("probability", Task((0, 1)), "target")
    form = replace(competition.form, cases=("left", "b.png", "c.png", "d.png"))
    with pytest.raises(UserError, match="no prediction for 1 cases: left"):
        decide(replace(competition, form=form), answers([0, 0, 0, 0], classes=2))


def test_in_long_form_each_row_gets_its_own_target():
    task = Task(("any", "bleed"), "multilabel")
    rows = tuple(f"{name}_{label}" for name in ("b.png", "00017.png") for label in ("any", "bleed"))
    competition = asking("probability", task, "p")
    form = replace(competition.form, ids=rows, cases=("b.png", "b.png", "00017.png", "00017.png"))
    competition = replace(competition, form=replace(form, row_targets=np.array([0, 1, 0, 1])))
    output = np.array([[0.75, 0.25, 0.5, 0.5], [0, 1, 1, 0], [0, 1, 0, 1], [0, 1, 0, 1]])
    assert decide(competition, Predictions(IDS, output)) == [("1",), ("0",), ("0.25",), ("0.5",)]


def test_class_counts_of_several_labels_are_shares_of_the_images():
    competition = asking("labels", Task(("moss", "rust"), "multilabel"), "labels")
    train = Split("train", tuple("wxyz"), (), np.array([[1, 0], [1, 1], [0, 1], [0, 1]]))
    output = np.array([[0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0]])
    lines = class_counts(replace(competition, train=train), Predictions(IDS, output)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["moss", "3", "75.00%", "50.00%"],
        ["rust", "1", "25.00%", "75.00%"],
    ]


def test_of_numbers_the_mean_and_the_range_are_shown():
    competition = asking("number", Task(("x",), "continuous", intervals=((0.0, 10.0),)), "x")
    train = Split("train", tuple("yz"), (), np.array([[1.0], [4.0]]))
    output = np.array([[1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]])
    _, row = class_counts(replace(competition, train=train), Predictions(IDS, output)).splitlines()
    assert row.split() == ["x", "5", "0", "10", "2.5", "1", "4"]


def graded(images: int) -> tuple[np.ndarray, np.ndarray]:
    """A model's output for five grades, the first the most frequent, as a network that shrinks to the mean gives it."""
    generator = np.random.default_rng(0)
    prior = np.array([5, 1, 2.7, 0.6, 0.8]) / 10.1
    labels = generator.choice(5, images, p=prior)
    seen = labels + 0.8 * generator.normal(size=images)
    output = softmax(-((seen[:, None] - np.arange(5)) ** 2) / 2 + np.log(prior), axis=1)
    return output.astype(np.float32), labels


def test_fitted_cut_points_beat_the_likeliest_grade_and_the_midpoints_on_images_that_did_not_fit_them():
    output, labels = graded(3000)
    metric = find_metric("kappa").of(Task((0, 1, 2, 3, 4)))
    fitting, new = slice(None, 1000), slice(1000, None)
    decision = fit_decision(output[fitting], labels[fitting], metric, Form("class", (), (), ()))
    found = metric(decision.decided(output[new]), labels[new])
    likeliest = np.eye(5)[output[new].argmax(axis=1)]
    assert found > metric(output[new], labels[new]) + 0.005
    assert found > metric(likeliest, labels[new]) + 0.02
    assert decision.expected_score > decision.plain_score
    assert decision.expected_score == pytest.approx(found, abs=0.03)
    assert decision.description.startswith("cut points ")
    assert f"quadratic weighted kappa {decision.expected_score:.4f} on images not used to fit" in decision.description
    assert decision.description.endswith(f"{decision.plain_score:.4f} with midpoints")


def test_thresholds_are_fitted_where_probabilities_are_too_low():
    task, generator = Task(("a", "b", "c"), "multilabel"), np.random.default_rng(0)
    odds = generator.normal(0, 2, (1200, 3))
    labels = (generator.random((1200, 3)) < expit(odds)).astype(np.int64)
    scores = expit(odds - 2)
    output = np.stack([1 - scores, scores], axis=2).reshape(1200, -1)
    decision = fit_decision(output, labels, find_metric("f1-samples").of(task), Form("labels", (), (), ()))
    assert decision.expected_score > decision.plain_score + 0.1
    assert "for all labels, fitted on 1,200 validation images: mean F1" in decision.description


def test_a_rule_that_does_not_help_on_other_images_is_not_used():
    generator = np.random.default_rng(1)
    labels = np.arange(60) % 3
    output = generator.dirichlet([1, 1, 1], 60).astype(np.float32)
    output[np.arange(60), labels] += 0.6
    decision = fit_decision(output / output.sum(axis=1, keepdims=True), labels, F1_MACRO, Form("class", (), (), ()))
    assert decision.expected_score >= decision.plain_score
    if decision.description.startswith("not used: "):
        assert decision.expected_score == decision.plain_score


@pytest.mark.parametrize("name", ["accuracy", "auc", "map@5", "gap", "error", "f1-micro"])
def test_nothing_is_fitted_for_metrics_of_the_likeliest_class_or_of_probabilities(name):
    output, labels = graded(100)
    metric = find_metric(name).of(Task((0, 1, 2, 3, 4)))
    decision = fit_decision(output, labels, metric, Form("class", (), (), ()))
    assert decision.decided(output) is output
    assert (decision.description, decision.expected_score) == ("", metric(output, labels))


def test_for_accuracy_the_cells_are_those_of_the_plain_decision():
    output, labels = graded(100)
    competition = asking("class", Task((0, 1, 2, 3, 4)), "grade")
    predictions = Predictions(IDS, output[:4])
    fitted = fit_decision(output, labels, ACCURACY, competition.form)
    assert fitted.cells(competition, predictions) == plain_decision().cells(competition, predictions)


def test_for_log_loss_no_answer_is_surer_than_the_validation_images_can_show():
    labels = np.arange(99) % 2
    sure = np.eye(2, dtype=np.float32)[labels]
    decision = fit_decision(sure, labels, LOG_LOSS, Form("probability", (), (), ()))
    assert decision.decided(sure).min() == pytest.approx(0.005)
    sure[0] = sure[0, ::-1]
    assert decision.plain_score < 0.01
    assert LOG_LOSS(decision.decided(sure), labels) < LOG_LOSS(sure, labels) / 2


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.fits(Task((0, 1, 2, 3, 4)))])
def test_no_decision_is_worse_on_validation_than_the_plain_one(name):
    output, labels = graded(300)
    metric = find_metric(name).of(Task((0, 1, 2, 3, 4)))
    decision = fit_decision(output, labels, metric, Form("class", (), (), ()))
    assert metric.rank(decision.expected_score) >= metric.rank(decision.plain_score)
    found = metric.rank(metric(decision.decided(output), labels))
    assert found >= metric.rank(metric(output, labels)) - 0.01


def test_where_several_images_belong_to_a_case_the_decision_is_fitted_on_their_means():
    output, labels = graded(400)
    metric = find_metric("kappa").of(Task((0, 1, 2, 3, 4)))
    form = Form("class", (), (), ())
    cases = [str(number) for number in range(400)]
    twice = fit_decision(np.repeat(output, 2, axis=0), np.repeat(labels, 2), metric, form, np.repeat(cases, 2).tolist())
    once = fit_decision(output, labels, metric, form)
    assert twice.description == once.description
    assert twice.expected_score == once.expected_score
