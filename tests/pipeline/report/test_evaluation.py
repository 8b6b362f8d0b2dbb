import numpy as np
import pytest
from sklearn.metrics import auc as area_under
from sklearn.metrics import precision_score, roc_auc_score, roc_curve

from pipeline.report.evaluation import Confusion, Evaluation


def answered(labels: list[int], predicted_labels: list[int], classes: int = 3, sure: float = 0.8) -> Evaluation:
    """An evaluation of answers given with probability ``sure``, the rest spread over the other classes."""
    probabilities = np.full((len(labels), classes), (1 - sure) / (classes - 1))
    probabilities[np.arange(len(labels)), predicted_labels] = sure
    return Evaluation(probabilities, np.array(labels))


@pytest.fixture
def drawn() -> Evaluation:
    """300 images of five classes, coarse probabilities with many ties."""
    generator = np.random.default_rng(0)
    probabilities = generator.integers(1, 6, (300, 5)).astype(np.float64)
    return Evaluation(probabilities / probabilities.sum(axis=1, keepdims=True), generator.integers(5, size=300))


def test_confusions_are_counted_with_a_row_a_true_class():
    evaluation = answered([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 0, 2])
    assert evaluation.confusion(np.arange(3)).tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]
    assert evaluation.right == 3
    assert evaluation.mistakes.tolist() == [2, 0, 1]


def test_of_some_classes_the_confusion_matrix_counts_the_other_answers_in_one_column():
    evaluation = answered([0, 1, 2, 3, 4, 2], [1, 0, 4, 2, 4, 2], classes=5)
    assert evaluation.confusion(np.array([2, 4])).tolist() == [[1, 1, 0], [0, 1, 0]]
    assert evaluation.confusion(np.array([0, 3])).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_the_worst_classes_come_first_and_those_without_images_last():
    evaluation = answered([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 2, 2], classes=4)
    assert evaluation.worst_classes(9).tolist() == [0, 1, 2, 3]
    assert evaluation.worst_classes(1).tolist() == [0]
    assert answered([0, 0, 1], [2, 0, 1]).worst_classes(3).tolist() == [0, 1, 2]


def test_precision_recall_and_f1_of_a_case_done_by_hand():
    evaluation = answered([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 0, 2])
    assert evaluation.support.tolist() == [3, 1, 2]
    assert evaluation.precision == pytest.approx([1 / 2, 1 / 3, 1])
    assert evaluation.recall == pytest.approx([1 / 3, 1, 1 / 2])
    assert evaluation.f1 == pytest.approx([2 / 5, 1 / 2, 2 / 3])


def test_a_class_with_nothing_to_measure_on_has_no_figure():
    evaluation = answered([0, 0, 1], [0, 1, 1], classes=4)
    assert np.isnan(evaluation.recall[2:]).all()
    assert np.isnan(evaluation.f1[2:]).all()
    assert np.isnan(evaluation.precision[2:]).all()
    assert np.isnan(evaluation.auc[2:]).all()


def test_macro_precision_is_scikit_learns_over_the_classes_there_or_predicted(drawn):
    expected = precision_score(drawn.labels, drawn.predicted_labels, average="macro", zero_division=0)
    assert drawn.precision_macro == pytest.approx(expected)
    assert answered([0, 0, 1], [0, 0, 0], classes=4).precision_macro == pytest.approx((2 / 3 + 0) / 2)


def test_a_class_never_predicted_has_recall_and_f1_of_0_and_no_precision():
    evaluation = answered([0, 0, 1], [0, 0, 0])
    assert (evaluation.recall[1], evaluation.f1[1]) == (0, 0)
    assert np.isnan(evaluation.precision[1])


def test_auc_is_the_share_of_pairs_that_are_in_order_a_tie_counting_half(drawn):
    for label in range(5):
        there, others = (
            drawn.probabilities[drawn.labels == label, label],
            drawn.probabilities[drawn.labels != label, label],
        )
        wins = (there[:, None] > others) + 0.5 * (there[:, None] == others)
        assert drawn.auc[label] == pytest.approx(wins.mean())


def test_a_class_that_all_images_show_has_no_auc():
    assert np.isnan(answered([1, 1, 1], [0, 1, 1]).auc).all()


def test_a_roc_curve_has_the_corners_of_scikit_learns(drawn):
    there, probabilities = drawn.labels == 2, drawn.probabilities[:, 2]
    curves = (drawn.roc(2), roc_curve(there, probabilities, drop_intermediate=False)[:2])
    points, every = (set(zip(*(rates.round(9) for rates in curve), strict=True)) for curve in curves)
    assert {(0, 0), (1, 1)} <= points < every
    assert area_under(*drawn.roc(2)) == pytest.approx(roc_auc_score(there, probabilities))


def test_the_mean_curve_covers_the_mean_area(drawn):
    false_rates, true_rates = drawn.macro_roc()
    assert ((true_rates[1:] + true_rates[:-1]) / 2 @ np.diff(false_rates)) == pytest.approx(drawn.auc.mean(), abs=0.01)


def test_the_worst_confusions_come_first_and_right_answers_are_none():
    evaluation = answered([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 0, 2])
    assert evaluation.worst_confusions(5) == [Confusion(0, 1, 2, pytest.approx(2 / 3)), Confusion(2, 0, 1, 0.5)]
    assert len(evaluation.worst_confusions(1)) == 1


def test_classes_that_are_confused_stand_side_by_side_before_those_with_the_lowest_f1():
    evaluation = answered([0, 1, 2, 2, 3, 3, 3], [4, 1, 0, 2, 1, 1, 3], classes=5)
    assert evaluation.most_confused(3).tolist() == [3, 1, 0]
    assert evaluation.most_confused(9).tolist() == [3, 1, 0, 4, 2]


def test_the_surest_mistakes_come_first():
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]])
    evaluation = Evaluation(probabilities, np.array([1, 0, 0, 0]))
    assert evaluation.surest_mistakes(2).tolist() == [1, 2]
    assert evaluation.some_right(9).tolist() == [3]
