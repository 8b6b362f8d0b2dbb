"""Runs: how they are named, which are found, and which trained network a transfer starts from."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from competition.errors import UserError
from competition.metrics import ACCURACY, LOG_LOSS
from pipeline.data.predictions import Predictions
from pipeline.models.recipe import RECIPES, choose_recipes, load_recipe
from pipeline.settings import train_settings
from pipeline.training.planning import ModelPlan
from pipeline.training.runs import (
    Options,
    Run,
    RunFolder,
    begin_run,
    finished_runs,
    fold_folder,
    holds_runs,
    options_of,
    run_name,
    same_validation,
    transfer_source,
)
from pipeline.training.scores import Score

SCORE = Score("accuracy", 0.4, 0.6, {"accuracy": 0.5})
TRANSFER = load_recipe(RECIPES / "animals-transfer-head.toml")


def finish(
    runs: Path,
    competition: str,
    age: int,
    model: str = TRANSFER.transfer_from,
    folds: int = 1,
    options: Options | None = None,
    validation: str = "",
) -> Path:
    """A finished run, ``age`` seconds old."""
    (recipe,) = choose_recipes([model])
    run = Run(
        options=options or {}, fingerprint="", validation=validation, classes=("a", "b"), image_shape=(8, 8),
        fold_folders=tuple(fold_folder(number, folds) for number in range(folds)), score=SCORE,
        seconds=1.0, parameters=1, plan=ModelPlan(recipe),
    )  # fmt: skip
    folder = RunFolder(runs / competition / run.name)
    run.write(folder)
    os.utime(folder.record, (10**9 - age,) * 2)
    return folder.path


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "sprint"),
        (("--budget", "300s", "--seed", "0"), "sprint"),
        (("--device", "cpu", "--compile", "--fresh", "--skip-unreadable"), "sprint"),
        (("--seed", "1", "--epochs", "30"), "sprint~epochs=30,seed=1"),
        (("--budget", "10m"), "sprint~budget=600s"),
        (("--budget", "none"), "sprint~budget=none"),
        (
            ("--size", "32", "--folds", "3", "--limit", "9", "--budget", "1.5s"),
            "sprint~budget=1.5s,limit=9,folds=3,size=32",
        ),
    ],
)
def test_a_run_is_named_by_its_recipe_and_by_the_options_that_shaped_it(arguments, name):
    assert run_name("sprint", options_of(train_settings(list(arguments)))) == name


def test_a_run_that_a_plan_repeats_is_named_by_what_the_plan_says(tmp_path):
    settings = replace(train_settings(["--seed", "2"]), plan=tmp_path, budget=None)
    assert options_of(settings, "0123456789abcdef") == {"plan": "01234567", "seed": "2"}


def test_a_run_comes_back_as_it_was_written(tmp_path):
    folder = RunFolder(finish(tmp_path, "dogs", age=0, model="sprint", options={"seed": "1"}))
    run = folder.finished()
    assert (run.name, run.options, run.score) == ("sprint~seed=1", {"seed": "1"}, SCORE)
    assert run.recipe == load_recipe(RECIPES / "sprint.toml")


def test_a_row_of_scores_csv_is_by_the_metric_asked_for(tmp_path):
    folder = RunFolder(finish(tmp_path, "dogs", age=0, model="sprint", options={"seed": "1"}))
    run = folder.finished()
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    Predictions(("a.png", "b.png"), probabilities, np.array([1, 1])).save(folder.validation)
    row = run.row(folder, ACCURACY)
    assert (row.model, row.options, row.score) == ("sprint", "seed=1", SCORE)
    assert run.row(folder, LOG_LOSS).score.value == pytest.approx(np.log([2, 4 / 3]).mean())


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"model": "sprint"}'])
def test_what_no_run_wrote_is_not_finished(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    assert RunFolder(tmp_path).finished() is None


def test_the_same_training_finds_its_folder_again(tmp_path):
    first, options = begin_run(tmp_path, "sprint", {"seed": "1"}, "key", fresh=False)
    (first.path / "something").touch()
    again, _ = begin_run(tmp_path, "sprint", {"seed": "1"}, "key", fresh=False)
    assert (again, options) == (first, {"seed": "1"}) and (first.path / "something").exists()
    begin_run(tmp_path, "sprint", {"seed": "1"}, "key", fresh=True)
    assert [path.name for path in first.path.iterdir()] == ["fingerprint"]


def test_no_run_replaces_another_of_the_same_name(tmp_path):
    first, _ = begin_run(tmp_path, "sprint", {}, "first", fresh=False)
    (first.path / "something").touch()
    for fresh in (False, True):
        second, options = begin_run(tmp_path, "sprint", {}, "second", fresh)
        assert (second.path.name, options) == ("sprint~run=2", {"run": "2"})
    third, _ = begin_run(tmp_path, "sprint", {}, "third", fresh=False)
    assert third.path.name == "sprint~run=3"
    assert (first.path / "something").exists()


def test_runs_are_found_by_recipe_by_name_by_pattern_and_by_file(tmp_path):
    for options in ({}, {"seed": "1"}):
        finish(tmp_path, "dogs", age=0, model="sprint", options=options)
    finish(tmp_path, "dogs", age=0, model="dhc-svm")
    folder = tmp_path / "dogs"
    assert list(finished_runs(folder)) == ["dhc-svm", "sprint", "sprint~seed=1"]
    assert list(finished_runs(folder, ["sprint"])) == ["sprint", "sprint~seed=1"]
    assert list(finished_runs(folder, ["my/sprint.toml"])) == ["sprint", "sprint~seed=1"]
    assert list(finished_runs(folder, ["sprint~seed=1"])) == ["sprint~seed=1"]
    assert list(finished_runs(folder, ["dhc-*", "sprint~*"])) == ["dhc-svm", "sprint~seed=1"]
    with pytest.raises(UserError, match=r"no trained model is called 'sprimt' in .*dogs; there are sprint"):
        finished_runs(folder, ["sprint", "sprimt"])


def test_a_folder_without_a_finished_run_says_what_to_run(tmp_path):
    assert not holds_runs(tmp_path)
    with pytest.raises(UserError, match=r"holds no trained model; run pipeline/train\.py first"):
        finished_runs(tmp_path)
    finish(tmp_path, "dogs", age=0)
    assert holds_runs(tmp_path / "dogs")


def test_the_newest_run_decides_which_others_can_be_compared(tmp_path):
    for age, validation in ((20, "old"), (10, "new"), (0, "new")):
        finish(tmp_path, "dogs", age, "sprint", options={"limit": str(age)}, validation=validation)
    same, others = same_validation(tmp_path / "dogs", finished_runs(tmp_path / "dogs"))
    assert (list(same), others) == (["sprint~limit=0", "sprint~limit=10"], ["sprint~limit=20"])


def test_a_transfer_starts_from_the_newest_network_of_another_competition(tmp_path):
    finish(tmp_path, "dogs", age=20)
    newest = finish(tmp_path, "cats", age=10)
    finish(tmp_path, "birds", age=0)
    finish(tmp_path, "cows", age=0, model="animals-cnn")
    assert transfer_source(TRANSFER, tmp_path, "birds").path == newest


def test_a_transfer_looks_at_all_runs_of_the_recipe(tmp_path):
    finish(tmp_path, "cats", age=10)
    newest = finish(tmp_path, "cats", age=5, options={"epochs": "3"})
    assert transfer_source(TRANSFER, tmp_path, "birds").path == newest


def test_of_several_folds_it_is_the_first(tmp_path):
    folder = finish(tmp_path, "cats", age=0, folds=3)
    assert transfer_source(TRANSFER, tmp_path, "birds").path == folder / "fold-1"


def test_an_unfinished_run_is_no_source(tmp_path):
    finish(tmp_path, "birds", age=0)
    (tmp_path / "cats" / TRANSFER.transfer_from).mkdir(parents=True)
    with pytest.raises(
        UserError, match=r"animals-transfer-head starts from .*animals-cnn-regularised.*train one first"
    ):
        transfer_source(TRANSFER, tmp_path, "birds")
