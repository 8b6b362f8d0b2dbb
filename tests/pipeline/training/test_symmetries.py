"""Flips and turns: a short training tells which of them leave a class what it is."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.sources import open_competition
from competition.spec import Competition
from competition.task import Task
from pipeline.command_lines import train_settings
from pipeline.data.training_data import open_training_data
from pipeline.models.base import NotTrained
from pipeline.models.recipe import choose_recipes
from pipeline.runtime.sealed import read_json, write_json
from pipeline.settings import Settings
from pipeline.training.symmetries import SymmetryCheck, check_symmetries, settle_symmetries
from tests.drawing import spots

CPU = torch.device("cpu")
SIDE = 20


def tints(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images in one of two colours."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(seed).integers(0, 120, (count, SIDE, SIDE, 3))
    return (noise + np.array([[120, 0, 0], [0, 0, 120]])[labels, None, None]).astype(np.uint8), labels


@pytest.mark.parametrize(
    ("draw", "symmetries"),
    [
        (lambda count, seed: spots(count, SIDE, [(1, 0), (1, 3)], seed), "none"),
        (lambda count, seed: spots(count, SIDE, [(0, 1), (3, 1)], seed), "mirror"),
        (tints, "all"),
    ],
    ids=["left or right", "above or below", "red or blue"],
)
def test_the_check_finds_what_leaves_a_class_what_it_is(draw, symmetries, monkeypatch):
    monkeypatch.setattr("pipeline.training.symmetries.STEPS", 100)  # enough for shapes as plain as these
    check = check_symmetries(draw(400, 1), draw(100, 2), task=Task((0, 1)), seed=0, device=CPU)
    assert check.upright > 0.9
    assert check.symmetries == symmetries


@pytest.mark.parametrize(
    ("upright", "turned", "symmetries"),
    [
        (0.987, (0.398, 0.393, 0.128), "none"),
        (0.884, (0.661, 0.359, 0.158), "mirror"),
        (0.915, (0.914, 0.901, 0.903), "all"),
        (0.150, (0.150, 0.150, 0.150), "mirror"),
    ],
    ids=["digits", "clothes", "land from above", "nothing learnt"],
)
def test_what_is_recognised_above_chance_decides(upright, turned, symmetries):
    kinds = dict(zip(("mirrored", "upside down", "transposed"), turned, strict=True))
    assert SymmetryCheck(upright, kinds, chance=0.1, fingerprint="").symmetries == symmetries


def test_a_trial_that_is_cut_short_is_not_trusted_and_one_without_time_is_not_begun():
    kinds = dict.fromkeys(("mirrored", "upside down", "transposed"), 0.9)
    cut_short = SymmetryCheck(0.9, kinds, chance=0.1, fingerprint="", trained=0.1)
    assert cut_short.symmetries == "none" and "there was time for 10% of its training" in str(cut_short)
    with pytest.raises(NotTrained):
        check_symmetries(tints(64, 1), tints(32, 2), 2, seed=0, device=CPU, end=time.monotonic() - 1)


def test_with_enough_time_the_trial_is_the_one_without_a_limit():
    samples = spots(200, SIDE, [(0, 1), (3, 1)], 1), spots(60, SIDE, [(0, 1), (3, 1)], 2)
    free = check_symmetries(*samples, task=Task((0, 1)), seed=0, device=CPU)
    limited = check_symmetries(*samples, task=Task((0, 1)), seed=0, device=CPU, end=time.monotonic() + 3600)
    assert limited.trained == 1 and limited.symmetries == free.symmetries
    assert limited.upright == pytest.approx(free.upright, abs=0.05)


@pytest.fixture
def settled(tmp_path: Path, make_competition: Callable[..., Path]) -> Callable[..., Competition]:
    """A function that settles the symmetries of one competition for recipes, with options of train.py."""
    folder = make_competition(tmp_path / "insects", train=60)

    def settle(recipes: list[str], *options: str, end: float | None = None) -> Competition:
        settings: Settings = train_settings(["--competition", str(folder), "--work", str(tmp_path), *options])
        competition = open_competition(**settings.source)
        training_data = open_training_data(competition, settings)
        return settle_symmetries(competition, choose_recipes(recipes), training_data, settings, CPU, end)

    return settle


def test_the_outcome_is_kept_for_the_next_command_on_the_same_images(settled, tmp_path, capsys):
    path = tmp_path / "runs" / "insects" / "symmetries.json"
    settled(["sprint"])
    write_json(path, read_json(path) | {"upright": 0.75, "turned": dict.fromkeys(("mirrored", "transposed"), 0.3)})
    assert settled(["sprint"]).symmetries == "none"
    assert "0.750" in capsys.readouterr().out
    settled(["sprint"], "--seed", "1")
    assert "0.750" not in capsys.readouterr().out


def test_a_damaged_outcome_is_found_again(settled, tmp_path):
    path = tmp_path / "runs" / "insects" / "symmetries.json"
    found = settled(["sprint"]).symmetries
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"turned"', b'"Turned"'))
    assert settled(["sprint"]).symmetries == found and path.read_bytes() == sound


def test_a_trial_without_time_says_so_and_nothing_is_kept(settled, tmp_path, capsys):
    assert settled(["sprint"], end=time.monotonic() - 1).symmetries == "none"
    assert "flips and rotations: none (" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "insects" / "symmetries.json").exists()


def test_no_check_is_made_for_recipes_that_do_not_ask(settled, tmp_path):
    assert settled(["dhc-gaussian-nb", "dhc-cnn32"]).symmetries is None
    assert not (tmp_path / "runs").exists()
