"""Scores: the competition's metric first, accuracy always among them, the same in the table and in scores.csv."""

import csv

import numpy as np
import pytest

from competition.errors import UserError
from competition.metrics import ACCURACY, F1_MACRO, LOG_LOSS, METRICS
from pipeline.training.scores import ModelScore, Score, score, scores_table, write_scores

ALWAYS = (ACCURACY, F1_MACRO, LOG_LOSS)  # of classes
GOOD = {"accuracy": 0.9612, "f1-macro": 0.9, "log-loss": 0.125}
POOR = {"accuracy": 0.5, "f1-macro": 0.45, "log-loss": 1.5}
ROWS = [
    ModelScore("sprint", Score("accuracy", "accuracy", True, 0.95, 0.97, GOOD), 61.25, 1_234_567),
    ModelScore("dhc-svm", Score("accuracy", "accuracy", True, 0.4, 0.6, POOR), 3, 0, "epochs=3,seed=1"),
]
BY_LOG_LOSS = [ModelScore("sprint", Score("log-loss", "log loss", False, 0.1, 0.15, GOOD), 61.25, 1_234_567)]


def measured(metric=ACCURACY) -> Score:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    return score(probabilities, np.array([0, 1, 1, 2]), metric)


@pytest.mark.parametrize("metric", ALWAYS, ids=lambda metric: metric.name)
def test_a_score_holds_the_metric_with_its_interval_and_the_others(metric):
    found = measured(metric)
    assert found.metric == metric.name and found.low < found.value < found.high
    assert found.values == pytest.approx(
        {
            "accuracy": 0.75,
            "f1-macro": (2 / 3 + 2 / 3 + 1) / 3,
            "log-loss": (3 * np.log(2) + np.log(4)) / 4,
        }
    )
    assert found.values["accuracy"] == 0.75


def test_the_interval_of_accuracy_is_wilsons():
    found = score(np.eye(2)[[0] * 90 + [1] * 10], np.zeros(100, dtype=np.int64), ACCURACY)
    assert (found.low, found.high) == pytest.approx((0.82563, 0.94477), abs=1e-5)


@pytest.mark.parametrize("metric", GOOD)
def test_the_better_score_ranks_higher(metric):
    found = METRICS[metric]
    better, worse = (Score(metric, found.title, found.greater_is_better, 0, 2, values) for values in (GOOD, POOR))
    assert better.rank > worse.rank


def test_a_score_in_words_is_the_metric_and_its_value():
    assert str(measured()) == "accuracy 0.7500"
    assert str(measured(LOG_LOSS)) == "log loss 0.8664"
    assert str(measured(F1_MACRO)) == "macro F1 0.7778"


def test_no_image_is_no_score():
    with pytest.raises(UserError, match="no labelled image to measure on"):
        score(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), LOG_LOSS)


def test_the_table_lines_its_columns_up():
    assert scores_table(ROWS, ACCURACY).splitlines() == [
        "model                    accuracy  95 % interval  macro F1  log loss  seconds  parameters",
        "sprint                     0.9612  0.9500-0.9700    0.9000    0.1250     61.2   1,234,567",
        "dhc-svm~epochs=3,seed=1    0.5000  0.4000-0.6000    0.4500    1.5000      3.0           0",
    ]


def test_the_table_begins_with_the_metric():
    assert scores_table(BY_LOG_LOSS, LOG_LOSS).splitlines() == [
        "model   log loss  95 % interval  accuracy  macro F1  seconds  parameters",
        "sprint    0.1250  0.1000-0.1500    0.9612    0.9000     61.2   1,234,567",
    ]


def test_scores_csv_holds_one_row_a_run(tmp_path):
    path = tmp_path / "runs" / "scores.csv"
    write_scores(path, ROWS, ACCURACY)
    text = path.read_bytes().decode()
    assert text.startswith("model,accuracy,low,high,f1_macro,log_loss,seconds,parameters,options\nsprint,0.961200,")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["model"] for row in rows] == ["sprint", "dhc-svm"]
    assert [row["options"] for row in rows] == ["", "epochs=3,seed=1"]
    assert float(rows[1]["log_loss"]) == 1.5
    assert int(rows[0]["parameters"]) == 1_234_567
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.csv"]


def test_scores_csv_begins_with_the_metric(tmp_path):
    write_scores(tmp_path / "scores.csv", BY_LOG_LOSS, LOG_LOSS)
    assert (tmp_path / "scores.csv").read_text() == (
        "model,log_loss,low,high,accuracy,f1_macro,seconds,parameters,options\n"
        "sprint,0.125000,0.100000,0.150000,0.961200,0.900000,61.2,1234567,\n"
    )


def test_a_second_writing_replaces_the_first(tmp_path):
    write_scores(tmp_path / "scores.csv", ROWS, ACCURACY)
    write_scores(tmp_path / "scores.csv", ROWS[1:], ACCURACY)
    assert (tmp_path / "scores.csv").read_text().count("\n") == 2
