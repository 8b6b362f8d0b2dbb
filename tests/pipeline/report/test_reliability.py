import numpy as np
import pytest

from competition.task import Task
from pipeline.report.reliability import BINS, Reliability, given_answers


def test_answers_that_are_as_often_right_as_they_are_sure_have_no_error():
    sure = np.repeat([0.5, 0.9], [4, 10])
    right = np.array([1, 1, 0, 0, *[1] * 9, 0], bool)
    found = Reliability.of(sure, right)
    assert found.probabilities == pytest.approx([0.5, 0.9]) and found.rates == pytest.approx([0.5, 0.9])
    assert found.counts.tolist() == [4, 10]
    assert found.error == pytest.approx(0)


def test_the_error_is_weighted_by_the_answers():
    found = Reliability.of(np.repeat([0.6, 1.0], [1, 3]), np.array([1, 1, 1, 0], bool))
    assert found.error == pytest.approx((1 * 0.4 + 3 * (1 / 3)) / 4)
    assert found.excess == pytest.approx((1 * -0.4 + 3 * (1 / 3)) / 4)


@pytest.mark.parametrize("right", [np.ones(5, bool), np.zeros(5, bool)])
def test_answers_that_are_all_right_or_all_wrong_can_be_measured(right):
    found = Reliability.of(np.array([0.2, 0.4, 0.6, 0.8, 1.0]), right)
    assert found.error == pytest.approx(abs(right - np.array([0.2, 0.4, 0.6, 0.8, 1.0])).mean())


def test_the_bins_hold_all_answers():
    generator = np.random.default_rng(0)
    found = Reliability.of(generator.random(1000), generator.random(1000) < 0.5)
    assert found.counts.sum() == 1000 and len(found.counts) == BINS


def test_the_answer_of_one_class_an_image_is_the_likeliest_one():
    sure, right = given_answers(Task(("a", "b", "c")), np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]]), np.array([0, 2]))
    assert sure.tolist() == [0.7, 0.5] and right.tolist() == [True, False]


def test_several_labels_are_answers_of_their_own():
    task = Task(("moss", "rust"), "multilabel")
    sure, right = given_answers(task, np.array([[0.9, 0.1, 0.25, 0.75]]), np.array([[0, 1]]))
    assert sure.tolist() == [0.1, 0.75] and right.tolist() == [False, True]


def test_several_targets_are_answers_of_their_own():
    task = Task(("a", "b"), "multioutput", targets=("left", "right"))
    sure, right = given_answers(task, np.array([[0.9, 0.1, 0.25, 0.75]]), np.array([[0, 0]]))
    assert sure.tolist() == [0.9, 0.75] and right.tolist() == [True, False]
