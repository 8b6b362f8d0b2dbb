"""Measures: values as scikit-learn has them, or as worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics as sk

from competition import measures

RNG = np.random.default_rng(0)
SETS, GUESSES = RNG.random((60, 5)) < 0.4, RNG.random((60, 5)) < 0.4
SCORES = np.round(RNG.random((60, 5)) + 0.3 * SETS, 1)  # with many ties
RANKS = np.stack([np.unique(column, return_inverse=True)[1] for column in SCORES.T], axis=1)


def test_f1_of_sets_is_scikit_learns():
    assert measures.f1_samples(SETS, GUESSES) == pytest.approx(
        sk.f1_score(SETS, GUESSES, average="samples", zero_division=0)
    )
    assert measures.f2_samples(SETS, GUESSES) == pytest.approx(
        sk.fbeta_score(SETS, GUESSES, beta=2, average="samples", zero_division=0)
    )
    assert measures.f1_macro(SETS, GUESSES) == pytest.approx(sk.f1_score(SETS, GUESSES, average="macro"))
    assert measures.f1_micro(SETS, GUESSES) == pytest.approx(sk.f1_score(SETS, GUESSES, average="micro"))


def test_curves_are_scikit_learns_with_ties_too():
    assert measures.auc(SETS, RANKS) == pytest.approx(sk.roc_auc_score(SETS, SCORES, average="macro"))
    assert measures.average_precision(SETS, RANKS) == pytest.approx(sk.average_precision_score(SETS, SCORES))


@pytest.mark.parametrize("column", range(5))
def test_areas_of_a_part_of_the_curve_agree_with_the_curve_drawn_finely(column):
    false, true, _ = sk.roc_curve(SETS[:, column], SCORES[:, column], drop_intermediate=False)
    grid = np.linspace(0, 1, 200_001)
    curve = np.interp(grid, false, true)
    one = slice(column, column + 1)
    above = np.clip(curve - 0.8, 0, None).mean()
    double = (2 * np.clip(curve, 0, 0.4).mean() + np.clip(curve - 0.4, 0, None).mean()) / 1.4
    assert measures.partial_auc(SETS[:, one], RANKS[:, one]) == pytest.approx(above, abs=1e-4)
    assert measures.weighted_auc(SETS[:, one], RANKS[:, one]) == pytest.approx(double, abs=1e-4)


@pytest.mark.parametrize("measure", [measures.auc, measures.weighted_auc, measures.partial_auc])
def test_scores_that_tell_nothing_are_worth_chance_and_so_is_a_label_that_all_images_have(measure):
    same, all_have_it = np.zeros((60, 1), np.int64), np.ones((60, 1), bool)
    assert measure(SETS[:, :1], same) == pytest.approx(measure(all_have_it, RANKS[:, :1]))


def test_kappa_is_scikit_learns():
    truth, grades = np.arange(60) % 5, (np.arange(60) * 7) % 11 % 5
    expected = sk.cohen_kappa_score(truth, grades, weights="quadratic")
    assert measures.kappa(truth.astype(float), grades.astype(float)) == pytest.approx(expected)
    assert measures.kappa(np.ones(3), np.ones(3)) == 1


def test_numbers_are_measured_as_scikit_learn_does():
    truth, numbers = RNG.random((30, 3)), RNG.random((30, 3))
    assert measures.rmse(truth, numbers) == pytest.approx(np.sqrt(sk.mean_squared_error(truth, numbers)))
    assert measures.mae(truth, numbers) == pytest.approx(sk.mean_absolute_error(truth, numbers))
    assert measures.mean_column_rmse(truth, numbers) == pytest.approx(
        np.sqrt(sk.mean_squared_error(truth, numbers, multioutput="raw_values")).mean()
    )


def test_a_ranking_is_worth_one_by_the_place_of_the_right_label():
    ranking = np.array([[2, 0], [1, 0], [1, 2]])
    assert measures.mean_average_precision(np.array([0, 1, 0]), ranking) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert measures.top_accuracy(np.array([0, 1, 0]), ranking) == pytest.approx(2 / 3)
    several = np.array([[True, False, True], [False, True, True], [False, False, True]])
    # two of two right; one of two, in the first place; the only one in the second place
    assert measures.mean_average_precision(several, ranking) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)


def test_global_average_precision_rewards_confidence_in_what_is_right():
    truth = np.array([4, 5, 6])
    sure_of_the_right = np.array([[4, 0.9], [5, 0.8], [0, 0.1]])
    sure_of_the_wrong = np.array([[4, 0.2], [5, 0.1], [0, 0.9]])
    assert measures.global_average_precision(truth, sure_of_the_right) == pytest.approx((1 + 1) / 3)
    assert measures.global_average_precision(truth, sure_of_the_wrong) == pytest.approx((1 / 2 + 2 / 3) / 3)


def test_recall_of_several_targets_is_averaged_with_the_weights():
    truth, predicted = np.array([[0, 0], [1, 1], [1, 0]]), np.array([[0, 1], [0, 1], [1, 0]])
    first, second = sk.recall_score(truth[:, 0], predicted[:, 0], average="macro"), (1 / 2 + 1) / 2
    assert measures.weighted_recall(truth, predicted, np.array([2, 1])) == pytest.approx((2 * first + second) / 3)
    assert measures.balanced_accuracy(truth, predicted) == pytest.approx((first + second) / 2)


def test_balanced_log_loss_gives_each_class_the_same_weight():
    truth, chances = np.array([0, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.5])
    losses = -np.log(chances)
    assert measures.balanced_log_loss(truth, chances) == pytest.approx((losses[:3].mean() + losses[3]) / 2)


def test_weighted_log_loss_gives_each_label_its_weight():
    truth, chances = np.zeros((2, 2), np.int64), np.array([[0.9, 0.5], [0.9, 0.5]])
    expected = -(np.log(0.9) + 2 * np.log(0.5)) / 3
    assert measures.weighted_log_loss(truth, chances, np.array([1, 2])) == pytest.approx(expected)


def test_probabilistic_f1_of_sure_answers_is_f1():
    truth, sure = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 1, 1, 1])
    chances = np.where(sure == truth, 1.0, 0.0)
    assert measures.f1_probabilistic(truth, chances) == pytest.approx(sk.f1_score(truth, sure))
