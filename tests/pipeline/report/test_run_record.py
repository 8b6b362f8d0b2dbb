import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from competition.metrics import ACCURACY, LOG_LOSS
from pipeline.report.run_record import Grid, read_grid, read_history
from pipeline.training.runs import FoldFolder

KNN = [
    {"metric": metric, "neighbours": k, "score": score}
    for metric, scores in (("cosine", (0.1, 0.3, 0.2, 0.2)), ("euclidean", (0.2, 0.25, 0.3, 0.1)))
    for k, score in zip((1, 3, 5, 9), scores, strict=True)
]
SVM = [{"kernel": "linear", "C": 3.0, "score": 0.4}, {"kernel": "rbf", "C": 5.0, "score": 0.5}]


def test_a_history_is_read_column_by_column(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss\n1,2.5\n2,1.25\n")
    history = read_history(tmp_path / "history.csv")
    assert {name: values.tolist() for name, values in history.items()} == {"epoch": [1, 2], "loss": [2.5, 1.25]}


def test_a_model_without_a_history_or_a_grid_has_none(tmp_path):
    assert read_history(tmp_path / "history.csv") is None
    assert read_grid(FoldFolder(tmp_path)) == []


def test_the_grid_of_a_classical_model_is_what_it_saved(tmp_path):
    save_file({"mean": np.zeros(2)}, tmp_path / "model.safetensors", {"facts": json.dumps({"grid_scores": SVM})})
    assert read_grid(FoldFolder(tmp_path)) == SVM


def test_the_weights_of_a_network_tell_no_grid(tmp_path):
    save_file({"weight": np.zeros(2)}, tmp_path / "model.safetensors")
    assert read_grid(FoldFolder(tmp_path)) == []


def test_the_grid_of_a_network_is_its_grid_csv(tmp_path):
    (tmp_path / "grid.csv").write_text(
        "optimiser.lr,network.kind,validation_score,kept\n0.001,wide,0.5,0\n2,narrow,0.75,1\n"
    )
    assert read_grid(FoldFolder(tmp_path)) == [
        {"optimiser.lr": 0.001, "network.kind": "wide", "score": 0.5},
        {"optimiser.lr": 2, "network.kind": "narrow", "score": 0.75},
    ]


def test_the_best_point_is_the_first_of_equals():
    assert Grid(None, KNN, ACCURACY).best == 1


def test_where_smaller_is_better_the_smallest_is_the_best():
    assert Grid(None, KNN, LOG_LOSS).best == 0


def test_a_number_of_which_many_values_were_tried_makes_a_curve_for_each_other_setting():
    grid = Grid(None, KNN, ACCURACY)
    assert grid.axis == "neighbours"
    curves = grid.curves("neighbours")
    assert list(curves) == ["cosine", "euclidean"]
    assert curves["cosine"] == [(1, 0.1), (3, 0.3), (5, 0.2), (9, 0.2)]


@pytest.mark.parametrize(
    "rows",
    [
        SVM,
        [{"kernel": name, "score": 0.1} for name in "abcd"],
        [{"lr": lr, "dropout": 1 - lr, "score": 0.1} for lr in (0.1, 0.2, 0.3, 0.4)],
    ],
    ids=["few points", "no numbers", "no line along one number"],
)
def test_other_grids_are_tables_alone(rows):
    assert Grid(None, rows, ACCURACY).axis is None


def test_the_score_is_the_last_column():
    assert Grid(None, KNN, ACCURACY).columns == ["metric", "neighbours", "score"]
