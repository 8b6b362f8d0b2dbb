"""Runs: which trained network a transfer starts from."""

import os
from pathlib import Path

import pytest

from competition.errors import UserError
from pipeline.models.recipe import RECIPES, load_recipe
from pipeline.training.planning import ModelPlan
from pipeline.training.runs import Run, transfer_source
from pipeline.training.scores import Score

SCORE = Score("accuracy", 0.4, 0.6, {"accuracy": 0.5})
TRANSFER = load_recipe(RECIPES / "animals-transfer-head.toml")


def finish(runs: Path, competition: str, age: int, model: str = TRANSFER.transfer_from, folds: int = 1) -> Path:
    """A finished run, ``age`` seconds old."""
    fold_folders = tuple(f"fold-{number}" for number in range(1, folds + 1)) if folds > 1 else (".",)
    run = Run(
        model=model, classifier=None, features=None, fingerprint="", validation="", classes=("a", "b"),
        image_shape=(8, 8), fold_folders=fold_folders, score=SCORE, seconds=1.0, parameters=1,
        plan=ModelPlan(model),
    )  # fmt: skip
    folder = runs / competition / model
    run.write(folder)
    os.utime(folder / "run.json", (10**9 - age,) * 2)
    return folder


def test_a_transfer_starts_from_the_newest_network_of_another_competition(tmp_path):
    finish(tmp_path, "dogs", age=20)
    newest = finish(tmp_path, "cats", age=10)
    finish(tmp_path, "birds", age=0)
    finish(tmp_path, "cows", age=0, model="animals-cnn")
    assert transfer_source(TRANSFER, tmp_path, "birds").resolve() == newest


def test_of_several_folds_it_is_the_first(tmp_path):
    folder = finish(tmp_path, "cats", age=0, folds=3)
    assert transfer_source(TRANSFER, tmp_path, "birds") == folder / "fold-1"


def test_an_unfinished_run_is_no_source(tmp_path):
    finish(tmp_path, "birds", age=0)
    (tmp_path / "cats" / TRANSFER.transfer_from).mkdir(parents=True)
    with pytest.raises(
        UserError, match=r"animals-transfer-head starts from .*animals-cnn-regularised.*train one first"
    ):
        transfer_source(TRANSFER, tmp_path, "birds")
