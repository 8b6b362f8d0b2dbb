from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from competition.metrics import ACCURACY, LOG_LOSS
from pipeline.models.neural.history import EpochRecord, History
from pipeline.models.persistence import Saved
from pipeline.report.run_record import Grid, read_grid, read_history
from pipeline.training.runs import FoldFolder
from tests.damage import damage, ways_but

KNN = [
    {"metric": metric, "neighbours": k, "score": score}
    for metric, scores in (("cosine", (0.1, 0.3, 0.2, 0.2)), ("euclidean", (0.2, 0.25, 0.3, 0.1)))
    for k, score in zip((1, 3, 5, 9), scores, strict=True)
]
SVM = [{"kernel": "linear", "C": 3.0, "score": 0.4}, {"kernel": "rbf", "C": 5.0, "score": 0.5}]


def write_history(path: Path) -> None:
    record = EpochRecord(1, 16, 4, 0.1, 2.5, 0.5, 1.0, 0.5, 0.5, 100.0, 2.0)
    History(path, [record, replace(record, epoch=2, loss=1.25)]).write()


def write_grid(path: Path) -> None:
    path.write_text("optimiser.lr,network.kind,validation_score,kept\n0.001,wide,0.5,0\n2,narrow,0.75,1\n")


def test_a_history_is_read_column_by_column(tmp_path):
    write_history(tmp_path / "history.csv")
    history = read_history(tmp_path / "history.csv")
    assert list(history) == [column.name for column in fields(EpochRecord)]
    assert (history["epoch"].tolist(), history["loss"].tolist()) == ([1, 2], [2.5, 1.25])


@pytest.mark.parametrize("way", ways_but("flipped"))
def test_a_damaged_history_or_grid_is_left_out_with_a_warning(tmp_path, capsys, way):
    write_history(tmp_path / "history.csv")
    write_grid(tmp_path / "grid.csv")
    for name in ("history.csv", "grid.csv"):
        damage(tmp_path / name, way)
    assert read_history(tmp_path / "history.csv") is None
    assert read_grid(FoldFolder(tmp_path)) == []
    warned = [f"warning: {tmp_path / name}: damaged" for name in ("history.csv", "grid.csv")]
    said = capsys.readouterr().out
    assert all(line in said for line in warned) == (way not in ("missing", "a folder"))


@pytest.mark.parametrize("way", ways_but("missing", "a folder"))
def test_a_damaged_model_shows_no_grid(tmp_path, capsys, way):
    Saved("SupportVectorMachine", {"grid_scores": SVM}, {"mean": np.zeros(2)}).write(tmp_path / "model.safetensors")
    damage(tmp_path / "model.safetensors", way)
    assert read_grid(FoldFolder(tmp_path)) == []
    assert "model.safetensors: damaged" in capsys.readouterr().out


def test_a_model_without_a_history_or_a_grid_has_none(tmp_path):
    assert read_history(tmp_path / "history.csv") is None
    assert read_grid(FoldFolder(tmp_path)) == []


def test_the_grid_of_a_classical_model_is_what_it_saved(tmp_path):
    Saved("SupportVectorMachine", {"grid_scores": SVM}, {"mean": np.zeros(2)}).write(tmp_path / "model.safetensors")
    assert read_grid(FoldFolder(tmp_path)) == SVM


def test_the_weights_of_a_network_tell_no_grid(tmp_path):
    Saved("network", {"classes": 2}, {"weight": np.zeros(2)}).write(tmp_path / "model.safetensors")
    assert read_grid(FoldFolder(tmp_path)) == []


def test_the_grid_of_a_network_is_its_grid_csv(tmp_path):
    write_grid(tmp_path / "grid.csv")
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
