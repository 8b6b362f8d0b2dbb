"""NetworkEnsemble: several networks behind the contract of one."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.neural.seed_ensemble import SEEDS_APART, SeedEnsemble
from pipeline.models.neural.training import Training
from pipeline.models.recipe import NeuralRecipe, Tier
from tests.pipeline.models.small import CLASSES, LADDER, SAMPLE, sprint

TWO = Tier(size=1.0, width=8, seeds=2)


def ensemble(folder: Path, recipe: NeuralRecipe | None = None, **arguments) -> SeedEnsemble:
    return SeedEnsemble(recipe or sprint(), CLASSES, folder, **{"plan": NetworkPlan(epochs=3, tier=TWO)} | arguments)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> SeedEnsemble:
    return ensemble(tmp_path_factory.mktemp("fitted")).fit(*SAMPLE)


def test_the_members_differ_in_their_seed_alone(fitted, tmp_path):
    plan = NetworkPlan(epochs=3, tier=TWO)
    alone = [
        NeuralNetwork(sprint(), CLASSES, tmp_path / str(seed), plan=plan, seed=seed).fit(*SAMPLE) for seed in (0, 1000)
    ]
    answers = [each.predict_proba(SAMPLE[2]) for each in alone]
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
    np.testing.assert_allclose(fitted.predict_proba(SAMPLE[2]), np.mean(answers, axis=0), rtol=1e-6)
    assert fitted.parameters == 2 * alone[0].parameters
    assert fitted.trained == alone[0].trained + alone[1].trained


def test_views_can_be_left_out_of_all_members(fitted):
    plain = {"test_time_views": False}
    answers = [each.predict_proba(SAMPLE[2], **plain) for each in (super(SeedEnsemble, fitted), *fitted.others)]
    np.testing.assert_allclose(fitted.predict_proba(SAMPLE[2], **plain), np.mean(answers, axis=0), rtol=1e-6)


def test_a_saved_ensemble_predicts_the_same_bits_and_its_folder_is_that_of_the_first_member(fitted, tmp_path):
    fitted.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "seed-2"}
    loaded = SeedEnsemble.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(SAMPLE[2]), fitted.predict_proba(SAMPLE[2]))
    first = NeuralNetwork.load(tmp_path).predict_proba(SAMPLE[2])
    np.testing.assert_array_equal(first, super(SeedEnsemble, fitted).predict_proba(SAMPLE[2]))


def test_an_ensemble_that_stopped_in_its_second_member_goes_on_to_the_same_bits(fitted, tmp_path):
    ensemble(tmp_path, plan=NetworkPlan(replay=fitted.trained[:4], tier=TWO)).fit(*SAMPLE)
    resumed = ensemble(tmp_path).fit(*SAMPLE)
    assert resumed.trained == fitted.trained
    np.testing.assert_array_equal(resumed.predict_proba(SAMPLE[2]), fitted.predict_proba(SAMPLE[2]))


def test_members_that_are_finished_are_kept_when_the_loss_of_a_later_one_is_not_finite(tmp_path, monkeypatch, capsys):
    def step(training: Training, *arguments: object) -> torch.Tensor:
        return take_step(training, *arguments) * (torch.nan if training.seed == 2 * SEEDS_APART else 1)

    take_step = Training.step
    monkeypatch.setattr(Training, "step", step)
    three = NetworkPlan(epochs=2, tier=TWO.model_copy(update={"seeds": 3}))
    model = ensemble(tmp_path / "three", plan=three).fit(*SAMPLE)
    assert "warning: sprint 3 of 3: the loss is not finite in epoch 1; lower" in capsys.readouterr().out
    assert (model.tier, len(model.others), len(model.trained)) == (TWO, 1, 4)
    model.save(tmp_path / "saved")
    replayed = ensemble(tmp_path / "two", plan=NetworkPlan(replay=model.trained, tier=model.tier)).fit(*SAMPLE)
    for other in (SeedEnsemble.load(tmp_path / "saved"), replayed):
        np.testing.assert_array_equal(other.predict_proba(SAMPLE[2]), model.predict_proba(SAMPLE[2]))


def test_without_a_rung_there_is_one_member(tmp_path):
    recipe = sprint(network={"name": "sprint", "width": 8})
    model = ensemble(tmp_path, recipe, plan=NetworkPlan(epochs=1)).fit(*SAMPLE)
    assert (model.seeds, model.others) == (1, ())


def test_a_budget_chooses_the_members_and_is_replayed_to_the_bit(tmp_path):
    tiers = [LADDER[1], {"size": 1.0, "width": 8, "seeds": 2}]
    recipe = sprint(tiers=tiers, min_epochs=1, min_images=0, epochs=4)
    plan = NetworkPlan(deadline=time.monotonic() + 3600)
    budgeted = ensemble(tmp_path / "budgeted", recipe, plan=plan).fit(*SAMPLE)
    assert budgeted.tier == TWO
    assert [epoch.end for epoch in budgeted.trained].count(1.0) == 2
    replay = NetworkPlan(replay=budgeted.trained, tier=budgeted.tier)
    replayed = ensemble(tmp_path / "replayed", recipe, plan=replay).fit(*SAMPLE)
    assert replayed.trained == budgeted.trained
    np.testing.assert_array_equal(replayed.predict_proba(SAMPLE[2]), budgeted.predict_proba(SAMPLE[2]))
