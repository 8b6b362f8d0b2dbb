"""Every recipe, from its TOML file to predictions: two small competitions that differ in size and classes.

The large networks (LARGE) see the smallest images that they allow, and few of them; the others see 200.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from competition.sources import open_competition
from pipeline.command_lines import train_settings
from pipeline.data.predictions import Predictions
from pipeline.data.training_data import open_training_data
from pipeline.models.networks.registry import build_network
from pipeline.models.networks.weights import weights_file
from pipeline.models.neural.checkpoint import Checkpoint
from pipeline.models.recipe import AnyRecipe, choose_recipes, recipe_names
from pipeline.training.planning import ModelPlan, Plan
from pipeline.training.runs import RunFolder, options_of, run_name
from pipeline.training.trainer import Trainer
from tests.memory import KEEP_FREED_MEMORY, give_back_memory

CPU = torch.device("cpu")
LARGE = {"alexnet": 63, "fusion": 63, "vgg": 34}
LARGE |= dict.fromkeys(("mobilenet_v2", "resnet18", "resnet50", "efficientnet_b0", "lite0"), 32)
LARGE_IMAGES = 16
COMPETITIONS = {
    "ants": {"classes": ("ant", "bee", "cat"), "size": (48, 48)},
    "birds": {"classes": (1, 2, 3, 4, 5), "size": (56, 46)},
}
SOURCE = "animals-cnn-regularised"
# fine-tuning learns slowly what is far from the head: it keeps what weights know, and noise knows nothing
NETWORKS = [each for each in choose_recipes(recipe_names()) if each.is_network and each.name != "fine-tuning"]
EPOCHS = (5, 12, 40)  # of eight steps; a longer training only if the shorter one is not enough
EPOCHS_OF = {  # of those for which five epochs are not enough
    "efficientnet-lite0": (6, 12, 40),
    **dict.fromkeys(("dhc-vgg-exponential", "dhc-vgg-plateau", "dhc-vgg-warmup"), (8, 40)),
    **dict.fromkeys(("dhc-cnn32", "dhc-cnn-16-32-64", "dhc-cnn-16-32-64-dropout", "eurosat-mobilenet"), (12, 40)),
}


@pytest.fixture(scope="module", autouse=True)
def freed_memory_is_kept() -> Iterator[None]:
    """As commands keep it: large networks then train in half the time."""
    KEEP_FREED_MEMORY()
    yield
    give_back_memory()


def is_large(recipe: AnyRecipe) -> bool:
    return recipe.is_network and recipe.network.name in LARGE


ONE_OF_EACH = {each.network.name: each.name for each in reversed(NETWORKS) if is_large(each)}  # of the large networks


def is_slow(recipe: AnyRecipe, number: int) -> bool:
    """Whether a recipe is tried on that competition with ``-m slow`` alone.

    Without it, the first has the classifiers and sprint, and the second all recipes, but one alone of a large network.
    """
    if is_large(recipe):
        return number == 0 or recipe.name not in ONE_OF_EACH.values()
    return number == 0 and recipe.is_network and recipe.name != "sprint"


def on_both(recipes: list[AnyRecipe]) -> list[Any]:
    """The names of the recipes and competitions."""
    return [
        pytest.param(recipe.name, name, marks=[pytest.mark.slow] if is_slow(recipe, number) else [])
        for recipe in recipes
        for number, name in enumerate(COMPETITIONS)
    ]


def large_ones_slow(recipes: list[AnyRecipe]) -> list[Any]:
    """The names of the recipes; those of large networks are slow, but one that the default models contain."""
    is_slow = [is_large(recipe) and recipe.name != "efficientnet-lite0" for recipe in recipes]
    return [
        pytest.param(recipe.name, marks=[pytest.mark.slow] if slow else [])
        for recipe, slow in zip(recipes, is_slow, strict=True)
    ]


@pytest.fixture(scope="module")
def weights(made_once: Callable[..., Path]) -> Path:
    """A folder of ImageNet weights that no ImageNet has shaped, each file named by its own hash."""
    return made_once("weights", draw_weights)


def draw_weights(folder: Path) -> None:
    torch.manual_seed(0)
    for name in ("alexnet", "mobilenet_v2", "resnet18", "resnet50", "efficientnet_b0", "lite0"):
        torch.save(seen_something(build_network(name, 1000, (64, 64))).state_dict(), folder / "state")
        with (folder / "state").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        (folder / "state").rename(folder / f"{weights_file(name).stem}-{digest[:8]}.pth")


@torch.no_grad()
def seen_something(network: nn.Module) -> nn.Module:
    """The network, its batch norms' averages those of noise in many tints, without which what it sees would fade."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(0.5 * torch.randn(32, 3, 1, 1) + 0.3 * torch.randn(32, 3, 64, 64))
    return network


def shrunk(name: str) -> AnyRecipe:
    """The recipe; that of a large network at the smallest size, that of a grid with two points of it."""
    (recipe,) = choose_recipes([name])
    if is_large(recipe):
        return recipe.model_copy(update={"input_size": LARGE[recipe.network.name]})
    return recipe.model_copy(update={"grid": recipe.grid[:2]}) if recipe.is_network else recipe


@pytest.fixture(scope="module")
def trainers(
    tmp_path_factory: pytest.TempPathFactory, make_competition: Callable[..., Path], weights: Path
) -> dict[str, Trainer]:
    """One trainer a competition, both with a network that the transfers to the other one start from."""
    work = tmp_path_factory.mktemp("work")
    trainers = {}
    for name, look in COMPETITIONS.items():
        trainers[name] = trainer_for(make_competition(work / name, train=200, val=20, test=5, **look), weights)
        train(trainers[name], SOURCE)
    return trainers


@pytest.fixture(scope="module")
def clear(trainers: dict[str, Trainer], make_competition: Callable[..., Path], weights: Path) -> Trainer:
    """A trainer for a competition of few images that are easy to tell apart."""
    work = next(iter(trainers.values())).settings.work
    folder = make_competition(work / "clear", classes=range(4), train=64, val=32, size=(48, 48), variety=0.2)
    return trainer_for(folder, weights)


def trainer_for(folder: Path, weights: Path) -> Trainer:
    options = ["--competition", folder, "--work", folder.parent, "--epochs", 1, "--weights", weights]
    settings = train_settings([str(option) for option in options])
    competition = open_competition(**settings.source)
    return Trainer(settings, CPU, competition, open_training_data(competition, settings), None)


def train(by: Trainer, name: str, images: int | None = None) -> RunFolder:
    """The folder of the run."""
    model = ModelPlan(shrunk(name), images=images)
    by.train(model, Plan(by.competition.name, None, 0, None, None, None, (model,)))
    return RunFolder(by.folder / run_name(name, options_of(by.settings)))


@pytest.mark.parametrize(("name", "competition"), on_both(choose_recipes(recipe_names())))
def test_every_recipe_trains_and_predicts_the_same_again_after_it_was_saved(trainers, name, competition, monkeypatch):
    by = trainers[competition]
    if is_large(shrunk(name)):
        without_checkpoints(monkeypatch)
    folder = train(by, name, LARGE_IMAGES if is_large(shrunk(name)) else None)
    (model,) = folder.finished().models(folder, CPU)
    images = by.training_data.images.subset(by.training_data.validated)
    probabilities = model.predict_proba(images)
    assert probabilities.shape == (20, len(COMPETITIONS[competition]["classes"]))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-4)
    saved = Predictions.load(folder.validation)
    np.testing.assert_allclose(probabilities, saved.probabilities, atol=1e-6)
    np.testing.assert_array_equal(saved.targets, by.competition.val.labels)
    if name != SOURCE:
        shutil.rmtree(folder.path)  # the large ones fill a disk


@pytest.mark.parametrize("name", large_ones_slow(NETWORKS))
def test_every_network_learns_a_small_separable_set(clear, name, monkeypatch):
    """Training accuracy above 0.95, in evaluation, from weights and running averages as they are saved."""
    without_checkpoints(monkeypatch)
    assert any(training_accuracy(clear, name, epochs) > 0.95 for epochs in EPOCHS_OF.get(name, EPOCHS))


def without_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large networks they are a gigabyte an epoch."""
    monkeypatch.setattr(Checkpoint, "save", lambda *_: None)


def training_accuracy(clear: Trainer, name: str, epochs: int) -> float:
    by = replace(clear, settings=replace(clear.settings, epochs=epochs))
    folder = train(by, name)
    (model,) = folder.finished().models(folder, CPU)
    rows, _ = by.training_data.splits[0]
    answers = model.predict_proba(by.training_data.images.subset(rows)).argmax(1)
    shutil.rmtree(folder.path)
    return (answers == by.training_data.labels[rows]).mean()
