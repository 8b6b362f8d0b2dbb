"""The protocols of the recipes: stages, transfer, grids, grey images."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.errors import UserError
from pipeline.models.neural.grid import NetworkGrid
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.recipe import NeuralRecipe

CLASSES = 4
TINTS = np.array([[120, 0, 0], [0, 120, 0], [0, 0, 120], [60, 60, 60]])
TWO_PHASES = {
    "epochs": 4,
    "train": "head",
    "optimiser": {"name": "adam", "lr": 1e-2},
    "stages": [{"after": 2, "optimiser": {"name": "sgd", "lr": 1e-3}, "schedule": {"name": "constant"}}],
}
GRID = [{"optimiser": {"lr": lr}, "network": {"filters": [filters]}} for lr, filters in ((1e-2, 4), (1e-9, 6))]


def draw(count: int, seed: int, size: int = 16, grey: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A tint for each class, or of grey a brightness and a direction of stripes, in noise."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(seed).integers(0, 96, (count, size, size, 1 if grey else 3))
    if not grey:
        return (TINTS[labels, None, None] + noise).astype(np.uint8), labels
    stripes = 60 * (np.arange(size) // 2 % 2)
    looks = np.stack(
        [np.zeros((size, size)), np.full((size, size), 110), *np.broadcast_arrays(stripes, stripes[:, None])]
    )
    return (looks[labels, ..., None] + noise).repeat(3, axis=3).astype(np.uint8), labels


SAMPLE = *draw(64, seed=1), *draw(24, seed=2)


def recipe(**changes) -> NeuralRecipe:
    """A small plain network."""
    table = {
        "name": "mine", "summary": "", "kind": "neural", "epochs": 4, "batch_size": 16,
        "network": {"name": "cnn", "filters": [6], "norm": "before", "pool": 2, "global_pool": True, "dense": [8]},
        "optimiser": {"name": "adam", "lr": 1e-2}, "schedule": {"name": "constant"},
    }  # fmt: skip
    return NeuralRecipe(**(table | changes))


def network(folder: Path, of: NeuralRecipe, kind: type[NeuralNetwork] = NeuralNetwork, **arguments) -> NeuralNetwork:
    return kind(of, CLASSES, folder, **arguments)


def state(model: NeuralNetwork) -> dict[str, torch.Tensor]:
    return model.network.state_dict()


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_frozen_phase_leaves_the_trunk_as_it_is_and_the_next_one_does_not(tmp_path):
    fresh = network(tmp_path / "fresh", recipe(), plan=NetworkPlan(replay=()))
    fresh.input_size, fresh.normalisation = (16, 16), _unit()
    start = fresh._build_network().state_dict()
    first = network(tmp_path / "first", recipe(**TWO_PHASES | {"stages": []})).fit(*SAMPLE)
    both = network(tmp_path / "both", recipe(**TWO_PHASES)).fit(*SAMPLE)
    trunk = [name for name in start if name.startswith("features.")]
    assert all(torch.equal(state(first)[name], start[name]) for name in trunk)
    assert not torch.equal(state(first)["head.0.weight"], start["head.0.weight"])
    assert any(not torch.equal(state(both)[name], start[name]) for name in trunk)
    assert [float(row["learning_rate"]) for row in history(tmp_path / "both")] == [1e-2, 1e-2, 1e-3, 1e-3]


def _unit():
    from pipeline.models.fast.normalisation import Normalisation

    return Normalisation((0.0,) * 3, (255.0,) * 3)


def test_phases_are_kept_in_proportion_whatever_the_number_of_epochs(tmp_path):
    model = network(tmp_path, recipe(**TWO_PHASES), plan=NetworkPlan(epochs=1)).fit(*SAMPLE)
    assert [(epoch.start, epoch.end) for epoch in model.trained] == [(0, 0.5), (0.5, 1)]
    assert [float(row["learning_rate"]) for row in history(tmp_path)] == [1e-2, 1e-3]


@pytest.mark.parametrize("stopped", [1, 2, 3])
def test_a_training_that_stopped_in_any_phase_goes_on_to_the_same_bits(tmp_path, stopped):
    of = recipe(**TWO_PHASES)
    whole = network(tmp_path / "whole", of).fit(*SAMPLE)
    network(tmp_path / "parts", of, plan=NetworkPlan(replay=whole.trained[:stopped])).fit(*SAMPLE)
    resumed = network(tmp_path / "parts", of).fit(*SAMPLE)
    assert resumed.trained == whole.trained
    np.testing.assert_array_equal(resumed.predict_proba(SAMPLE[2]), whole.predict_proba(SAMPLE[2]))


def test_a_budget_is_shared_by_the_phases_and_can_be_replayed_to_the_bit(tmp_path):
    of = recipe(**TWO_PHASES)
    plan = NetworkPlan(deadline=time.monotonic() + 3600)
    budgeted = network(tmp_path / "budgeted", of, plan=plan).fit(*SAMPLE)
    assert [epoch.end for epoch in budgeted.trained] == pytest.approx([0.25, 0.5, 0.75, 1])
    replayed = network(tmp_path / "replayed", of, plan=NetworkPlan(replay=budgeted.trained)).fit(*SAMPLE)
    np.testing.assert_array_equal(replayed.predict_proba(SAMPLE[2]), budgeted.predict_proba(SAMPLE[2]))


def test_no_time_still_gives_every_phase_a_step(tmp_path):
    plan = NetworkPlan(deadline=time.monotonic() - 1)
    model = network(tmp_path, recipe(**TWO_PHASES), plan=plan).fit(*SAMPLE)
    assert [(epoch.batches, epoch.start, epoch.end) for epoch in model.trained] == [(1, 0, 0.5), (1, 0.5, 1)]


CONVOLUTION = {"features.0.weight", "features.0.bias"}
AVERAGES = {f"features.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A network trained on other images, of fewer classes."""
    images, labels = draw(64, seed=3)
    model = NeuralNetwork(recipe(normalise="unit"), 3, tmp_path / "source")
    model.fit(images, labels % 3, images, labels % 3).save(tmp_path / "source")
    return tmp_path / "source"


@pytest.mark.parametrize(("train", "moved"), [("head", set()), ("head-and-last-convolution", CONVOLUTION)])
def test_a_transfer_moves_what_it_may_and_adapts_batch_norms_to_the_new_images(tmp_path, source, train, moved):
    model = network(tmp_path / "new", recipe(transfer_from="mine", train=train), source=source).fit(*SAMPLE)
    before = NeuralNetwork.load(source)
    assert model.normalisation == before.normalisation
    changed = {k for k, v in state(model).items() if k.startswith("features") and not torch.equal(v, state(before)[k])}
    assert changed - AVERAGES == moved and changed >= AVERAGES
    if train == "head":
        seen = before.network.features[0](model.normalisation(SAMPLE[0], torch.device("cpu")))
        torch.testing.assert_close(state(model)["features.1.running_mean"], seen.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
    assert state(model)["head.2.weight"].shape == (CLASSES, 8)


def test_a_transfer_takes_over_the_dense_layers_except_the_output(tmp_path, source):
    of = recipe(transfer_from="mine", train="head", optimiser={"name": "sgd", "lr": 1e-12})
    model = network(tmp_path / "new", of, source=source).fit(*SAMPLE)
    torch.testing.assert_close(state(model)["head.0.weight"], state(NeuralNetwork.load(source))["head.0.weight"])


def test_a_transfer_from_another_network_is_refused(tmp_path, source):
    other = {"name": "cnn", "filters": [7], "norm": "before", "global_pool": True, "dense": [8]}
    with pytest.raises(UserError, match=r"do not fit the network: features\.0\.weight"):
        network(tmp_path / "new", recipe(transfer_from="mine", network=other), source=source).fit(*SAMPLE)


@pytest.fixture
def searched(tmp_path: Path) -> NetworkGrid:
    return network(tmp_path / "grid", recipe(grid=GRID), NetworkGrid).fit(*SAMPLE)


def test_a_grid_keeps_the_best_point_and_a_table_of_all(tmp_path, searched):
    with (tmp_path / "grid" / "grid.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["optimiser.lr"], row["network.filters"]) for row in rows] == [("0.01", "[4]"), ("1e-09", "[6]")]
    assert [row["kept"] for row in rows] == ["1", "0"]
    assert float(rows[0]["validation_score"]) == pytest.approx(searched.best_score, abs=1e-6)
    assert float(rows[0]["validation_score"]) > float(rows[1]["validation_score"])
    assert searched.recipe.optimiser.lr == 1e-2 and searched.network.features[0].out_channels == 4


def test_a_grids_best_is_saved_like_any_network(tmp_path, searched):
    searched.save(tmp_path / "saved")
    loaded = NeuralNetwork.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict_proba(SAMPLE[2]), searched.predict_proba(SAMPLE[2]))


def test_a_point_of_a_grid_is_what_the_recipe_would_be_with_its_values(tmp_path, searched):
    alone = network(tmp_path / "alone", recipe(grid=GRID).grid_points[0]).fit(*SAMPLE)
    np.testing.assert_array_equal(alone.predict_proba(SAMPLE[2]), searched.predict_proba(SAMPLE[2]))


def test_an_interrupted_grid_goes_on_and_a_budgeted_one_is_replayed(tmp_path, searched):
    of, answers = recipe(grid=GRID), searched.predict_proba(SAMPLE[2])
    network(tmp_path / "parts" / "grid-1", of.grid_points[0], plan=NetworkPlan(replay=searched.trained[:2])).fit(
        *SAMPLE
    )
    resumed = network(tmp_path / "parts", of, NetworkGrid).fit(*SAMPLE)
    np.testing.assert_array_equal(resumed.predict_proba(SAMPLE[2]), answers)
    assert resumed.trained == searched.trained
    plan = NetworkPlan(deadline=time.monotonic() + 3600)
    budgeted = network(tmp_path / "budgeted", of, NetworkGrid, plan=plan).fit(*SAMPLE)
    replay = NetworkPlan(replay=budgeted.trained)
    replayed = network(tmp_path / "replayed", of, NetworkGrid, plan=replay).fit(*SAMPLE)
    np.testing.assert_array_equal(replayed.predict_proba(SAMPLE[2]), budgeted.predict_proba(SAMPLE[2]))


def test_a_grid_over_a_key_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"mine: grid: optimiser\.rate"):
        network(tmp_path, recipe(grid=[{"optimiser": {"rate": 1}}]), NetworkGrid).fit(*SAMPLE)


def test_a_recipe_may_take_grey_images_as_one_channel_and_takes_coloured_ones_as_three(tmp_path):
    of = recipe(grey=True, normalise="unit", epochs=1)
    images, labels = draw(64, seed=1, grey=True)
    grey = network(tmp_path / "grey", of).fit(images, labels, images, labels)
    coloured = network(tmp_path / "coloured", of).fit(*SAMPLE)
    assert [model.network.features[0].in_channels for model in (grey, coloured)] == [1, 3]
    assert grey.normalisation(images, torch.device("cpu")).shape == (64, 1, 16, 16)
    np.testing.assert_allclose(grey.normalisation(images, torch.device("cpu"))[:, 0], images[..., 0] / 255, atol=1e-6)
    grey.save(tmp_path / "saved")
    np.testing.assert_array_equal(
        NeuralNetwork.load(tmp_path / "saved").predict_proba(images), grey.predict_proba(images)
    )
