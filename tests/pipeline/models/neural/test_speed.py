"""Speed: what is measured of steps and predictions, and what a deadline leaves time for."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.registry import build_network
from pipeline.models.neural import speed
from pipeline.models.neural.batches import Batch
from pipeline.models.neural.speed import Deadline, PredictionTimer, StepTimer, affordable_tier
from pipeline.models.neural.time_budget import Planner
from pipeline.models.neural.training import Training
from pipeline.models.recipe import NeuralRecipe, Tier
from tests.pipeline.models.small import CLASSES, SAMPLE, sprint

TO_UNIT = Normalisation((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
SIZE = (16, 16)
RATE = {"optimiser": {"name": "sgd", "lr": 0.1}, "schedule": {"name": "constant"}}


def narrow(width: int = 8) -> nn.Module:
    return build_network("sprint", CLASSES, SIZE, width=width)


def predictor(network: nn.Module) -> Predictor:
    return Predictor(network, TO_UNIT, SIZE, torch.device("cpu"))


def begin(network: nn.Module, recipe: NeuralRecipe, folder: Path) -> Training:
    return Training(predictor(network), recipe, lambda images, _: images, 0, folder)


def learning(module: nn.Module) -> int:
    return sum(weights.requires_grad for weights in module.parameters())


def test_each_size_of_images_is_measured_and_the_network_stays_as_it_is(tmp_path, monkeypatch):
    shapes = []

    def step(trial: Training, batch: Batch, *_) -> Tensor:
        shapes.append(batch.images.shape)
        return torch.zeros(2)

    network = narrow()
    before = copy.deepcopy(network.state_dict())
    timer = StepTimer(partial(begin, recipe=sprint(), folder=tmp_path))
    assert min(timer.seconds(network, [8, 16]).values()) > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    monkeypatch.setattr(Training, "step", step)
    assert list(timer.seconds(network, [8, 16])) == [8, 16]
    assert set(shapes) == {(16, 8, 8, 3), (16, 16, 16, 3)}


def test_each_stage_is_measured_with_what_learns_in_it(tmp_path, monkeypatch):
    counts, network = [], narrow()
    everything = learning(network)

    def step(trial: Training, *_) -> Tensor:
        counts.append(learning(trial.network))
        return torch.zeros(2)

    monkeypatch.setattr(Training, "step", step)
    recipe = sprint(epochs=16, train="head", stages=[{"after": 4} | RATE], **RATE)
    training = begin(network, recipe, tmp_path)
    timer = StepTimer(partial(begin, recipe=recipe, folder=tmp_path))
    seconds = timer.seconds_by_stage(training, [16], overhead=5.0)
    assert counts[0] == 1 < counts[-1] == everything
    assert [list(of_sizes) for of_sizes in seconds] == [[16], [16]]
    assert all(5 < each[16] < 6 for each in seconds)


def test_the_mean_over_growing_images_goes_by_their_area(monkeypatch):
    monkeypatch.setattr(StepTimer, "seconds", lambda _, network, sizes: {size: size**2 for size in sizes})
    planner = Planner(sprint(growing=(0.5, 1.0)), 10, 64)
    assert StepTimer(begin).mean_seconds(narrow(), planner) == pytest.approx((32**2 + 64**2) / 2)


@pytest.mark.parametrize(("seconds", "width"), [(1, 8), (20, 16), (40, 32), (50, 24)])
def test_the_most_expensive_tier_that_fits_is_chosen(monkeypatch, seconds, width):
    """A hundred steps of a network take as many seconds as it is wide; the last tier wants two of them."""
    tiers = [{"size": 1.0, "width": each} for each in (8, 16, 32)] + [{"size": 1.0, "width": 24, "seeds": 2}]
    recipe = sprint(tiers=tiers, min_epochs=1, min_images=0)
    monkeypatch.setattr(speed, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(StepTimer, "mean_seconds", lambda _, network, planner: network.head.in_features / 4 / 100)
    tier = affordable_tier(Planner(recipe, 100, 64), StepTimer(begin), narrow, 100.0 + seconds)
    assert tier.width == width


def test_images_too_small_for_any_tier_get_the_largest(monkeypatch):
    recipe = sprint(tiers=[{"size": 0.25, "width": 8}, {"size": 0.5, "width": 8}])
    assert affordable_tier(Planner(recipe, 100, 32), StepTimer(begin), narrow, 0.0) == Tier(size=0.5, width=8)


def test_ranks_share_the_time_kept_for_predicting(monkeypatch):
    images, timer = np.zeros((600, *SIZE, 3), np.uint8), PredictionTimer(predictor(narrow()), SAMPLE[2], ranks=1)
    monkeypatch.setattr(speed, "time", Ticking())
    alone, shared = (replace(timer, images=images, ranks=ranks).seconds() for ranks in (1, 3))
    assert alone - 1 == pytest.approx(3 * (shared - 1))  # one tick prepares the network


class Ticking:
    """A clock that goes on by a second each time it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


def test_trainings_that_are_left_get_as_long_each_and_leave_the_time_for_predicting(monkeypatch):
    monkeypatch.setattr(PredictionTimer, "seconds", lambda _: 5.0)
    timer = PredictionTimer(predictor(narrow()), SAMPLE[2], 1)
    deadline = Deadline(begun=100.0, deadline=200.0, trainings_left=3, predictions=2, prediction=timer)
    assert deadline.end() == (130, pytest.approx(10 / 3))
    assert replace(deadline, trainings_left=1).end() == (190, 10)


def test_a_caller_that_predicts_nothing_costs_no_measurement(monkeypatch):
    monkeypatch.setattr(PredictionTimer, "seconds", None)
    timer = PredictionTimer(predictor(narrow()), SAMPLE[2], 1)
    assert Deadline(0.0, 60.0, trainings_left=1, predictions=0, prediction=timer).end() == (60, 0)
