"""Confident learning: wrong labels come first, rare choices are not suspected for being rare."""

import numpy as np
import pytest

from competition.task import Task
from pipeline.findings.confident_learning import MOST, find_suspects

FIVE = Task(("a", "b", "c", "d", "e"))


def answers(truth: np.ndarray, choices: int, right: float = 0.93, seed: int = 0) -> np.ndarray:
    """The probabilities of a model that is usually right, and sure if it is, float64 ``[N, K]``."""
    rng = np.random.default_rng(seed)
    is_right = rng.random(len(truth)) < right
    seen = np.where(is_right, truth, rng.integers(0, choices, len(truth)))
    scores = rng.normal(0, 0.5, (len(truth), choices))
    scores[np.arange(len(truth)), seen] += np.where(is_right, rng.uniform(4, 7, len(truth)), 2)
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def flipped(truth: np.ndarray, choices: int, share: float = 0.05, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The labels with some of them wrong, and whether each is wrong."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < share
    return np.where(wrong, (truth + rng.integers(1, choices, len(truth))) % choices, truth), wrong


def test_wrong_labels_come_first_with_what_is_right():
    truth = np.random.default_rng(2).integers(0, 5, 2000)
    labels, wrong = flipped(truth, 5)
    found = find_suspects(FIVE, answers(truth, 5), labels)
    first = found.rows[: round(0.05 * 2000)]
    assert wrong[first].mean() > 0.8 and wrong[found.rows].sum() > 0.8 * wrong.sum()
    assert (found.said == truth[found.rows])[wrong[found.rows]].mean() > 0.9
    assert (np.diff(found.ranks) >= 0).all() and (found.ranks < 1).all()
    assert (found.said != labels[found.rows]).all()


def test_no_label_is_suspected_where_the_models_agree_with_all():
    truth = np.arange(1000) % 5
    assert len(find_suspects(FIVE, answers(truth, 5, right=1.0), truth).rows) == 0


def test_a_model_that_guesses_suspects_a_tenth_at_most():
    truth = np.arange(1000) % 5
    assert len(find_suspects(FIVE, answers(truth, 5, right=0.0), truth).rows) == MOST * 1000


def test_a_rare_class_is_suspected_no_more_than_a_frequent_one():
    truth = (np.arange(4000) % 40 == 0).astype(np.int64)
    labels, wrong = flipped(truth, 2, share=0.02)
    found = find_suspects(Task(("no", "yes")), answers(truth, 2, right=1.0), labels)
    assert wrong[found.rows].all() and len(found.rows) > 0.9 * wrong.sum()


@pytest.mark.parametrize("task", [Task(("only",)), Task(("a", "b", "never"))], ids=["one class", "an empty class"])
def test_classes_without_a_choice_or_without_images_are_no_trouble(task):
    labels = np.arange(20) % min(2, len(task.classes))
    uniform = np.full((20, len(task.classes)), 1 / len(task.classes))
    assert len(find_suspects(task, uniform, labels).rows) == 0


def test_of_several_labels_only_the_suspected_one_changes():
    task = Task(("x", "y", "z"), "multilabel")
    truth = np.random.default_rng(3).integers(0, 2, (300, 3))
    sure = np.where(truth == 1, 0.95, 0.05)
    probabilities = np.stack([1 - sure, sure], axis=2).reshape(300, 6)
    labels = truth.copy()
    labels[7, 1] = 1 - labels[7, 1]
    found = find_suspects(task, probabilities, labels)
    assert found.rows.tolist() == [7]
    np.testing.assert_array_equal(found.said, truth[[7]])
    assert found.probabilities == pytest.approx([0.95])


def test_of_several_classes_each_only_the_suspected_one_changes():
    task = Task((0, 1, 2), "multioutput", targets=("size", "colour"))
    truth = np.random.default_rng(4).integers(0, 3, (300, 2))
    probabilities = (0.04 + 0.88 * np.eye(3)[truth]).reshape(300, 6)
    labels = truth.copy()
    labels[9, 0] = (labels[9, 0] + 1) % 3
    found = find_suspects(task, probabilities, labels)
    assert found.rows.tolist() == [9]
    np.testing.assert_array_equal(found.said, truth[[9]])


def test_numbers_are_suspected_if_they_are_far_from_what_is_expected():
    task = Task(("age",), "continuous", intervals=(tuple(map(float, range(50))),))
    truth = np.random.default_rng(5).integers(0, 50, 300)
    labels = (truth + np.random.default_rng(6).normal(0, 0.3, 300))[:, None]
    labels[11] += 20
    found = find_suspects(task, np.eye(50)[truth], labels)
    assert found.rows.tolist() == [11] and found.said.tolist() == [[truth[11]]] and found.ranks[0] < 1 / 20
