"""The trainer: folds of a model on frozen features are followed by one on all labelled images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.sources import open_competition
from pipeline.command_lines import train_settings
from pipeline.data.training_data import open_training_data
from pipeline.models.networks.lite0 import Lite0
from pipeline.models.networks.weights import weights_file
from pipeline.models.recipe import choose_recipes
from pipeline.training.planning import ModelPlan, Plan
from pipeline.training.runs import RunFolder, StoredRun
from pipeline.training.trainer import Trainer
from tests.commands import succeed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(made_once: Callable[..., Path]) -> Path:
    """A folder with weights of lite0 that no ImageNet has shaped."""

    def draw(folder: Path) -> None:
        torch.manual_seed(0)
        path = folder / f"{weights_file('lite0').stem}.pth"
        torch.save(Lite0(1000).state_dict(), path)

    return made_once("weights-of-lite0", draw)


@pytest.fixture
def trained(tmp_path: Path, make_competition: Callable[..., Path], weights: Path) -> Callable[..., StoredRun]:
    """A function that trains lite0-logreg on a few images, with options of train.py, and returns the run."""

    def train(*options: str) -> StoredRun:
        folder = make_competition(tmp_path / "insects", train=30, val=9)
        given = ["--competition", folder, "--work", tmp_path, "--weights", weights, "--budget", "none", *options]
        settings = train_settings([str(each) for each in given])
        competition = open_competition(**settings.source)
        trainer = Trainer(settings, CPU, competition, open_training_data(competition, settings), None)
        model = ModelPlan(*choose_recipes(["lite0-logreg"]))
        trainer.train(model, Plan("insects", None, 0, None, settings.folds, settings.size, (model,)))
        return RunFolder(next((tmp_path / "runs" / "insects").glob("lite0-logreg*"))).load()

    return train


def test_folds_validate_a_model_on_frozen_features_and_all_images_fit_the_one_that_predicts(trained, tmp_path):
    stored = trained("--folds", "3")
    assert stored.run.fold_folders == ("refit",) and len(stored.run.plan.fits) == 3
    assert len(set(stored.validated.ids)) == 39
    (fitted,) = stored.run.models(stored.folder, CPU)
    answers = fitted.predict_proba(np.zeros((5, 16, 16, 3), np.uint8))
    assert answers.shape == (5, 3) and np.isfinite(answers).all()
    options = ("--competition", tmp_path / "insects", "--work", tmp_path)
    assert "lite0-logreg~budget=none,folds=3" in succeed("predict", *options, "--no-report")


@pytest.mark.parametrize(("size", "folder"), [("144", "refit"), ("16", ".")], ids=["photographs", "small pictures"])
def test_photographs_that_validated_are_learnt_from_in_the_end(trained, size, folder):
    stored = trained("--size", size)
    assert stored.run.fold_folders == (folder,) and len(stored.validated.ids) == 9
