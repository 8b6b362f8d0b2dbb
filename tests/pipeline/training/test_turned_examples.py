"""Flips and rotations of small sets: they are trained with where images that were not learnt from gain by it."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.sources import open_competition
from competition.spec import Competition
from competition.splits import stratified_folds
from competition.task import Task
from pipeline.command_lines import train_settings
from pipeline.data.training_data import open_training_data
from pipeline.models.classical import features
from pipeline.models.networks.lite0 import Lite0
from pipeline.runtime.sealed import read_json, write_json
from pipeline.training.turned_examples import (
    ExamplesCheck,
    check_examples,
    learning_by_networks,
    learning_from_features,
    settle_by_examples,
)
from tests.drawing import spots

CPU = torch.device("cpu")
SIDE = 20
HALVES = [(np.arange(64), np.arange(64, 128))]


@pytest.mark.parametrize(
    ("none", "mirror", "whole", "symmetries"),
    [
        (0.50, 0.60, 0.70, "none"),
        (0.50, 0.505, 0.55, "mirror"),
        (0.50, 0.45, 0.445, "mirror"),
        (0.50, 0.45, 0.40, "all"),
        (0.50, 0.60, 0.40, "none"),
    ],
    ids=["digits", "no difference", "things", "land from above", "turned digits"],
)
def test_mirroring_is_kept_unless_it_harms_and_rotations_only_if_they_help(none, mirror, whole, symmetries):
    check = ExamplesCheck({"none": none, "mirror": mirror, "all": whole}, {"mirror": 0.01, "all": 0.01}, "")
    assert check.symmetries == symmetries and f"flips and rotations: {symmetries}" in str(check)


def test_networks_that_learn_left_from_right_are_not_shown_mirrored_images(monkeypatch):
    monkeypatch.setattr("pipeline.training.symmetries.STEPS", 60)
    images, labels = spots(128, SIDE, [(1, 0), (1, 3)])
    learn = learning_by_networks(images, labels, Task((0, 1)), CPU, seed=0, end=None)
    check = check_examples(learn, labels, HALVES)
    assert check.losses["none"] < 0.3 < check.losses["mirror"] and check.symmetries == "none"


def test_frozen_features_answer_for_several_targets(monkeypatch):
    torch.manual_seed(0)
    network = Lite0(1000)
    monkeypatch.setattr(features, "load_weights", lambda *_: network.state_dict())
    images, place = spots(24, SIDE, [(1, 0), (1, 3)])
    labels, task = np.stack([place, 1 - place], axis=1), Task(("left", "right"), "multilabel")
    thirds = stratified_folds(place, 3, seed=0)
    check = check_examples(learning_from_features(images, labels, task, CPU, None), labels, thirds)
    assert set(check.losses) == {"none", "mirror", "all"} and all(loss > 0 for loss in check.losses.values())


@pytest.fixture
def settled(tmp_path: Path, make_competition: Callable[..., Path]) -> Callable[..., Competition]:
    """A function that settles the symmetries of one small competition, with options of train.py."""
    folder = make_competition(tmp_path / "insects", train=30)

    def settle(*options: str, end: float | None = None) -> Competition:
        settings = train_settings(["--competition", str(folder), "--work", str(tmp_path), *options])
        competition = open_competition(**settings.source)
        return settle_by_examples(competition, open_training_data(competition, settings), settings, CPU, end)

    return settle


def test_the_outcome_is_kept_for_the_next_command_on_the_same_images(settled, tmp_path, capsys):
    path = tmp_path / "runs" / "insects" / "symmetries.json"
    settled()
    write_json(path, read_json(path) | {"losses": {"none": 0.1, "mirror": 0.9, "all": 0.9}})
    assert settled().symmetries == "none"
    assert "trained with mirrored images 0.900" in capsys.readouterr().out
    settled("--seed", "1")
    assert "0.900" not in capsys.readouterr().out


def test_a_trial_without_time_says_so_and_nothing_is_kept(settled, tmp_path, capsys):
    assert settled(end=time.monotonic() - 1).symmetries == "none"
    assert "flips and rotations: none (" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "insects" / "symmetries.json").exists()
