"""Rules: what each does to a model's output, and that what is fitted is what the drawn data call for."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from competition.form import Form
from competition.metrics import find_metric
from competition.task import Task
from pipeline.ensemble.rules import (
    CommonThreshold,
    CutPoints,
    Doubt,
    Hard,
    Median,
    PriorExponent,
    Steps,
    Tempered,
    ThresholdALabel,
    Thresholds,
    at_least_one,
    family_for,
    last_rule,
    midpoints,
)

LABELS = Task(("a", "b", "c"), "multilabel")
GRADES = Task((0, 1, 2))


def pairs(*scores: float) -> np.ndarray:
    """A model's output for one image with these probabilities of its labels."""
    return np.stack([1 - np.array(scores), np.array(scores)], axis=1).reshape(1, -1).astype(np.float32)


def test_a_threshold_becomes_a_half():
    shifted = Thresholds(0.2)(pairs(0.2, 0.1, 0.9))
    assert shifted[0, 1::2] == pytest.approx([0.5, 0.3077, 0.9730], abs=1e-4)
    assert shifted.reshape(3, 2).sum(axis=1) == pytest.approx([1, 1, 1])
    each = Thresholds(np.array([0.2, 0.5, 0.9]))(pairs(0.2, 0.1, 0.9))
    assert each[0, 1::2] == pytest.approx([0.5, 0.1, 0.5], abs=1e-6)


def test_an_image_without_a_label_gets_the_likeliest_and_others_stay():
    scores = np.concatenate([pairs(0.1, 0.4, 0.3), pairs(0.1, 0.6, 0.3)])
    changed = at_least_one(scores)
    assert (changed[:, 1::2] > 0.5).tolist() == [[False, True, False], [False, True, False]]
    np.testing.assert_array_equal(changed[1], scores[1])


def test_dividing_by_all_of_the_prior_makes_classes_equally_likely():
    prior = np.array([0.5, 0.3, 0.2])
    tempered = Tempered(prior, 1.0, 3)(prior[None].astype(np.float32))
    assert tempered[0] == pytest.approx([1 / 3] * 3)
    assert Tempered(prior, 0.0, 3)(prior[None])[0].tolist() == prior.tolist()


def test_cut_points_choose_the_class_of_the_expected_grade():
    output = np.array([[0.5, 0.5, 0], [0.4, 0.6, 0], [0, 0.4, 0.6]])  # grades 0.5, 0.6, 1.6
    assert midpoints(GRADES)(output).argmax(axis=1).tolist() == [0, 1, 2]
    assert CutPoints(GRADES, np.array([0.55, 1.7]))(output).argmax(axis=1).tolist() == [0, 1, 1]


def test_the_median_lies_where_half_of_the_probability_is_below():
    task = Task(("x",), "continuous", intervals=((0.0, 1.0, 2.0, 100.0),))
    output = np.array([[0.1, 0.4, 0.4, 0.1], [0, 0, 0, 1], [0, 1, 0, 0], [0.7, 0, 0, 0.3]], np.float32)
    medians = task.numbers(Median(task)(output))[:, 0]
    assert medians[:3] == pytest.approx([1.5, 100, 1])
    assert medians[3] < 2  # the mean is 30


def test_doubt_bounds_how_sure_an_answer_is_and_hard_answers_are_0_and_1():
    doubted = Doubt(0.1, 2)(np.array([[1, 0], [0.5, 0.5]], np.float32))
    assert doubted == pytest.approx(np.array([[0.95, 0.05], [0.5, 0.5]]))
    assert Hard(LABELS)(pairs(0.1, 0.6, 0.5))[0, 1::2].tolist() == [0, 1, 0]


def labelled(images: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """A model's output for three labels, whose log odds are too low by ``shift``, and the labels."""
    generator = np.random.default_rng(0)
    odds = generator.normal(-1, 2, (images, 3))
    labels = (generator.random((images, 3)) < expit(odds)).astype(np.int64)
    scores = expit(odds - shift)
    return np.stack([1 - scores, scores], axis=2).reshape(images, -1).astype(np.float32), labels


def test_the_common_threshold_makes_up_for_probabilities_that_are_too_low():
    metric = find_metric("f1-samples").of(LABELS)
    right, low = (CommonThreshold().fit(*labelled(2000, shift), metric) for shift in (0.0, 2.0))
    assert logit(right.values) - logit(low.values) == pytest.approx(2, abs=0.5)
    assert CommonThreshold().describe(low) == f"threshold {low.values:.2f} for all labels"


def test_a_rare_label_keeps_to_the_common_threshold():
    output, labels = labelled(2000, shift=0.0)
    labels[:, 2] = 0
    labels[:2, 2] = 1
    output[:, 4:] = [0.001, 0.999]  # its own best would be beyond all others
    first, second, rare = ThresholdALabel().fit(output, labels, find_metric("f1-macro").of(LABELS)).values
    own = ThresholdALabel().fit(output[:, :4], labels[:, :2], find_metric("f1-macro").of(LABELS)).values
    assert abs(rare - own.mean()) < 0.2
    assert 0.1 < first < 0.6 and 0.1 < second < 0.6


def test_balanced_accuracy_wants_classes_as_if_all_were_as_frequent():
    generator = np.random.default_rng(0)
    prior = np.array([0.8, 0.15, 0.05])
    labels = generator.choice(3, 4000, p=prior)
    evidence = generator.normal(0, 1, (4000, 3))
    evidence[np.arange(4000), labels] += 1
    output = softmax(evidence + np.log(prior), axis=1)
    rule = PriorExponent(GRADES).fit(output, labels, find_metric("balanced-accuracy"))
    assert rule.exponent > 0.7
    assert PriorExponent(GRADES).fit(output, labels, find_metric("accuracy")).exponent < 0.3


@pytest.mark.parametrize(
    ("name", "task", "family"),
    [
        ("accuracy", GRADES, None),
        ("log-loss", LABELS, None),
        ("auc", LABELS, None),
        ("map@5", GRADES, None),
        ("gap", GRADES, None),
        ("f1-samples", LABELS, CommonThreshold),
        ("f1-micro", LABELS, CommonThreshold),
        ("f1-micro", GRADES, None),
        ("f1-macro", LABELS, ThresholdALabel),
        ("f1-macro", GRADES, PriorExponent),
        ("f1-binary", Task((0, 1)), CommonThreshold),
        ("weighted-recall", Task((0, 1), "multioutput", ("x", "y")), PriorExponent),
        ("mae", Task(("x",), "continuous", intervals=((0.0, 1.0),)), Median),
        ("kappa", Task(tuple(range(30))), None),
    ],
)
def test_each_metric_has_its_family(name, task, family):
    found = family_for(find_metric(name).of(task), task, Form("class", (), (), ()))
    assert type(found) is (family or type(None))


@pytest.mark.parametrize(
    ("name", "kind", "rules"),
    [
        ("f1-samples", "labels", ["at_least_one"]),
        ("f1-samples", "columns", ["at_least_one", "Hard"]),
        ("f1-macro", "columns", ["Hard"]),
        ("accuracy", "columns", []),
        ("log-loss", "columns", ["Doubt"]),
        ("auc", "columns", []),
        ("log-loss", "labels", ["at_least_one", "Doubt"]),
    ],
)
def test_what_is_submitted_at_last_depends_on_metric_and_form(name, kind, rules):
    labels = np.eye(3, dtype=np.int64)
    last = last_rule(find_metric(name).of(LABELS), LABELS, Form(kind, (), (), ()), labels)
    assert isinstance(last, Steps)
    assert [getattr(rule, "__name__", type(rule).__name__) for rule in last.rules] == rules
    bare = last_rule(find_metric(name).of(LABELS), LABELS, Form(kind, (), (), ()), np.zeros((3, 3), np.int64))
    assert at_least_one not in bare.rules
