"""The trainer: folds of a model on frozen features are followed by one on all labelled images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.sources import open_competition
from pipeline.data.training_data import open_training_data
from pipeline.models.networks.lite0 import Lite0
from pipeline.models.networks.weights import weights_file
from pipeline.models.recipe import choose_recipes
from pipeline.settings import train_settings
from pipeline.training.planning import ModelPlan, Plan
from pipeline.training.runs import RunFolder
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
def trainer(tmp_path: Path, make_competition: Callable[..., Path], weights: Path) -> Trainer:
    folder = make_competition(tmp_path / "insects", train=30, val=9)
    options = ["--competition", folder, "--work", tmp_path, "--weights", weights, "--folds", 3, "--budget", "none"]
    settings = train_settings([str(each) for each in options])
    competition = open_competition(**settings.source)
    return Trainer(settings, CPU, competition, open_training_data(competition, settings), None)


def test_folds_validate_a_model_on_frozen_features_and_all_images_fit_the_one_that_predicts(trainer, tmp_path):
    (recipe,) = choose_recipes(["lite0-logreg"])
    model = ModelPlan(recipe)
    trainer.train(model, Plan("insects", None, 0, None, 3, None, (model,)))
    folder = RunFolder(next((tmp_path / "runs" / "insects").glob("lite0-logreg*")))
    stored = folder.load()
    assert stored.run.fold_folders == ("refit",) and len(stored.run.plan.fits) == 3
    assert set(stored.validated.ids) == set(trainer.training_data.split.ids)
    (fitted,) = stored.run.models(folder, CPU)
    mine = fitted.predict_proba(trainer.training_data.images.subset(np.arange(5)))
    assert mine.shape == (5, 3) and np.isfinite(mine).all()
    options = ("--competition", tmp_path / "insects", "--work", tmp_path)
    assert "lite0-logreg~budget=none,folds=3" in succeed("predict", *options, "--no-report")
