import csv
import warnings

import numpy as np
import pytest

from competition.errors import UserError
from pipeline.training.scores import ModelScore, Score, score, scores_table, write_scores

ROWS = [
    ModelScore("sprint", Score(0.9612, 0.95, 0.97, 0.9, 0.125), 61.25, 1_234_567),
    ModelScore("dhc-svm", Score(0.5, 0.4, 0.6, 0.45, 1.5), 3, 0, "epochs=3,seed=1"),
]


def test_accuracy_f1_and_log_loss_of_a_case_done_by_hand():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    measured = score(probabilities, np.array([0, 1, 1, 2]))
    assert measured.accuracy == 0.75
    assert measured.f1_macro == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert measured.log_loss == pytest.approx((3 * np.log(2) + np.log(4)) / 4)


def test_the_interval_is_wilsons():
    labels = np.zeros(100, dtype=np.int64)
    probabilities = np.eye(2)[[0] * 90 + [1] * 10]
    measured = score(probabilities, labels)
    assert (measured.low, measured.high) == pytest.approx((0.82563, 0.94477), abs=1e-5)


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0, 0.2775), (10, 0.7225, 1)])
def test_the_interval_stays_within_zero_and_one(right, low, high):
    labels = np.repeat([0, 1], [right, 10 - right])
    measured = score(np.eye(2)[np.zeros(10, dtype=int)], labels)
    assert (measured.low, measured.high) == pytest.approx((low, high), abs=1e-4)


def test_classes_that_no_image_shows_and_no_prediction_names_change_nothing():
    few = score(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many = score(np.array([[0.6, 0.4, 0, 0], [0.3, 0.7, 0, 0]]), np.array([0, 0]))
    assert many == few


def test_certainty_in_the_wrong_class_costs_much_but_not_infinitely():
    measured = score(np.array([[1, 0]], dtype=np.float32), np.array([1]))
    assert 10 < measured.log_loss < 100


def test_no_image_is_no_score():
    with pytest.raises(UserError, match="no labelled image to measure on"):
        score(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))


def test_the_table_lines_its_columns_up():
    assert scores_table(ROWS).splitlines() == [
        "model                    accuracy  95 % interval  F1 macro  log loss  seconds  parameters",
        "sprint                     0.9612  0.9500-0.9700    0.9000    0.1250     61.2   1,234,567",
        "dhc-svm~epochs=3,seed=1    0.5000  0.4000-0.6000    0.4500    1.5000      3.0           0",
    ]


def test_scores_csv_holds_one_row_a_run(tmp_path):
    path = tmp_path / "runs" / "scores.csv"
    write_scores(path, ROWS)
    text = path.read_bytes().decode()
    assert text.startswith("model,accuracy,low,high,f1_macro,log_loss,seconds,parameters,options\nsprint,0.961200,")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["model"] for row in rows] == ["sprint", "dhc-svm"]
    assert [row["options"] for row in rows] == ["", "epochs=3,seed=1"]
    assert float(rows[1]["log_loss"]) == 1.5
    assert int(rows[0]["parameters"]) == 1_234_567
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.csv"]


def test_a_second_writing_replaces_the_first(tmp_path):
    write_scores(tmp_path / "scores.csv", ROWS)
    write_scores(tmp_path / "scores.csv", ROWS[1:])
    assert (tmp_path / "scores.csv").read_text().count("\n") == 2
