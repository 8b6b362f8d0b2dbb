"""NeuralNetwork: the contract of all models, kept by networks."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from competition.errors import UserError
from pipeline.data.augment import resized
from pipeline.data.cache import ImageCache
from pipeline.data.fitting import resize
from pipeline.data.image_size import ImageSizes
from pipeline.models.networks.registry import build_network
from pipeline.models.neural import network as neural
from pipeline.models.neural.batches import LabelledImages
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork, held_out
from pipeline.models.neural.speed import PredictionTimer, StepTimer
from pipeline.models.neural.stages import norm_weights, stage_spans
from pipeline.models.neural.time_budget import Segment
from pipeline.models.neural.training import Training
from pipeline.models.persistence import Saved
from pipeline.models.recipe import RECIPES, Named, NeuralRecipe, Tier, load_recipe
from pipeline.runtime.sealed import DamagedFile
from tests.damage import WAYS, damage
from tests.pipeline.models.small import CLASSES, LADDER, NARROW, SAMPLE, draw, sprint


def network(folder: Path, recipe: NeuralRecipe | None = None, **arguments) -> NeuralNetwork:
    arguments = {"plan": NetworkPlan(epochs=3, tier=NARROW)} | arguments
    return NeuralNetwork(recipe or sprint(), CLASSES, folder, **arguments)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> NeuralNetwork:
    folder = tmp_path_factory.mktemp("fitted")
    return network(folder, symmetries="all", plan=NetworkPlan(epochs=8, tier=NARROW)).fit(*SAMPLE)


def test_sprint_learns_what_can_be_learnt(fitted):
    images, labels, validation_images, validation_labels = SAMPLE
    assert (fitted.predict_proba(images).argmax(1) == labels).mean() > 0.95
    assert (fitted.predict_proba(validation_images).argmax(1) == validation_labels).mean() > 0.9


def test_cnn32_learns_what_can_be_learnt_from_the_half_that_is_not_held_out(tmp_path):
    recipe = load_recipe(RECIPES / "dhc-cnn32.toml")
    model = network(tmp_path, recipe, plan=NetworkPlan(epochs=16)).fit(*SAMPLE)
    assert (model.predict_proba(SAMPLE[2]).argmax(1) == SAMPLE[3]).mean() > 0.95
    assert model.input_size == (32, 32)
    assert [epoch.batches for epoch in model.trained] == [4] * 16  # of 8 images each


def test_the_speed_of_a_training_is_that_of_its_longest_stage_with_all_that_learns_in_it(tmp_path, monkeypatch):
    """The first stage of the recipe trains the head alone, the longest one all but the batch norms."""
    learning = []

    def step(trial: Training, *_) -> Tensor:
        learning.append(sum(weights.requires_grad for weights in trial.network.parameters()))
        return torch.zeros(2)

    monkeypatch.setattr(Training, "step", step)
    model = network(tmp_path, load_recipe(RECIPES / "efficientnet-lite0-short.toml"))
    assert model.images_a_second(SAMPLE[0], len(SAMPLE[0])) > 0
    lite0 = build_network("lite0", CLASSES, (128, 128))
    assert set(learning) == {len(list(lite0.parameters())) - len(norm_weights(lite0))}


def test_a_network_learns_what_soft_targets_say_and_not_the_labels(tmp_path):
    """The soft targets say that each class is the next one, with a probability of 0.8, or 0.2 of what it is."""
    images, labels, validation_images, validation_labels = SAMPLE
    soft = 0.8 * np.eye(CLASSES, dtype=np.float32)[(labels + 1) % CLASSES] + 0.2 * np.eye(CLASSES)[labels]
    plan = NetworkPlan(epochs=8, tier=NARROW)
    model = network(tmp_path, sprint(label_smoothing=0.0), plan=plan, soft=soft.astype(np.float32))
    model.fit(images, labels, validation_images, (validation_labels + 1) % CLASSES)
    found = model.predict_proba(images)
    assert (found.argmax(1) == (labels + 1) % CLASSES).mean() > 0.9
    assert 0.1 < found[np.arange(len(labels)), labels].mean() < 0.35


def test_predictions_are_distributions(fitted):
    probabilities = fitted.predict_proba(SAMPLE[2])
    assert probabilities.dtype == np.float32 and probabilities.shape == (24, CLASSES)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_views_can_be_left_out(fitted):
    images = SAMPLE[2]
    mirrored, plain = images[:, :, ::-1], {"test_time_views": False}
    np.testing.assert_allclose(fitted.predict_proba(images), fitted.predict_proba(mirrored), atol=1e-5)
    assert np.abs(fitted.predict_proba(images, **plain) - fitted.predict_proba(mirrored, **plain)).max() > 1e-3


def test_a_recipe_of_one_view_never_averages(tmp_path):
    model = network(tmp_path, sprint(views="one"), plan=NetworkPlan(epochs=1, tier=NARROW)).fit(*SAMPLE)
    with_views, without = (model.predict_proba(SAMPLE[2], test_time_views=views) for views in (True, False))
    np.testing.assert_array_equal(with_views, without)


def test_a_saved_network_predicts_the_same_bits_and_needs_nothing_but_its_folder(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["model.safetensors"]
    loaded = NeuralNetwork.load(tmp_path / "saved")
    for views in (True, False):
        np.testing.assert_array_equal(
            loaded.predict_proba(SAMPLE[2], test_time_views=views),
            fitted.predict_proba(SAMPLE[2], test_time_views=views),
        )
    assert (loaded.parameters, loaded.tier, loaded.symmetries) == (fitted.parameters, NARROW, "all")
    assert loaded.recipe == fitted.recipe


def test_a_saved_network_describes_itself(fitted, tmp_path):
    fitted.save(tmp_path)
    description = Saved.read(tmp_path / "model.safetensors").facts
    assert description["recipe"]["name"] == "sprint"
    assert (description["classes"], description["input_size"]) == (CLASSES, [16, 16])
    assert description["tier"] == {"size": 1.0, "width": 8, "seeds": 1, "min_epochs": 1.0}
    assert set(description["normalisation"]) == {"mean", "std"}
    weights = load_file(tmp_path / "model.safetensors")
    trained = sum(value.size for name, value in weights.items() if name.endswith(("weight", "bias")))
    assert trained == fitted.parameters


def test_weights_of_another_network_are_refused_in_one_line(fitted, tmp_path):
    fitted.save(tmp_path)
    path = tmp_path / "model.safetensors"
    saved = Saved.read(path)
    replace(saved, arrays=saved.arrays | {"whiten.bias": np.zeros(24, np.float32)}).write(path)
    with pytest.raises(DamagedFile, match=r"model\.safetensors: .* another version .*"):
        NeuralNetwork.load(tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_network_is_refused_in_one_line(fitted, tmp_path, way):
    fitted.save(tmp_path)
    damage(tmp_path / "model.safetensors", way)
    with pytest.raises(DamagedFile, match=r"model\.safetensors: .*; run pipeline/train.py again") as refusal:
        NeuralNetwork.load(tmp_path)
    assert "\n" not in str(refusal.value)


def test_an_interrupted_training_of_another_run_is_begun_anew(tmp_path, capsys):
    whole = network(tmp_path / "whole").fit(*SAMPLE)
    part = NetworkPlan(replay=whole.trained[:1], tier=NARROW)
    network(tmp_path / "parts", seed=7, plan=part, fingerprint="other").fit(*SAMPLE)
    anew = network(tmp_path / "parts", fingerprint="this").fit(*SAMPLE)
    assert "checkpoint.pt: damaged or of another training" in capsys.readouterr().out
    np.testing.assert_array_equal(anew.predict_proba(SAMPLE[2]), whole.predict_proba(SAMPLE[2]))


@pytest.mark.parametrize("way", [None, *WAYS])
def test_the_size_that_a_budget_chose_is_kept_unless_its_file_is_damaged(tmp_path, capsys, way):
    recipe = sprint(tiers=LADDER, epochs=1, min_epochs=1, min_images=0)
    plan = NetworkPlan(deadline=time.monotonic() + 3600)
    chosen = network(tmp_path, recipe, plan=plan).fit(*SAMPLE).tier
    damage(tmp_path / "tier", way)
    assert network(tmp_path, recipe, plan=plan).fit(*SAMPLE).tier == chosen
    assert ("tier: damaged" in capsys.readouterr().out) == (way not in (None, "missing"))


def test_images_of_another_size_than_trained_on_are_resized(fitted):
    larger = SAMPLE[2].repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(fitted.predict_proba(larger), fitted.predict_proba(SAMPLE[2]), atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 40), (64, 8)], ids=["wide", "long and narrow"])
def test_images_that_are_not_square_keep_their_proportions(tmp_path, shape):
    images, labels = draw(32, seed=1, shape=shape)
    plan = NetworkPlan(epochs=3, tier=NARROW)
    model = network(tmp_path, symmetries="all", plan=plan).fit(images, labels, images, labels)
    assert model.input_size == shape
    assert model.predict_proba(images).shape == (32, CLASSES)


@pytest.mark.parametrize(
    ("changes", "trained", "predicted"),
    [
        ({}, (24, 32), (30, 40)),
        ({"min_size": 36}, (27, 36), (30, 40)),
        ({"min_size": 64}, (48, 64), (48, 64)),
        ({"input_size": 20}, (20, 20), (20, 20)),
        ({"network": Named(name="cnn", filters=[4], dense=[8])}, (36, 48), (36, 48)),
    ],
    ids=["chosen", "enlarged for training", "enlarged", "the recipe's own", "of one size"],
)
def test_a_network_trains_and_predicts_at_the_sizes_that_were_chosen(tmp_path, changes, trained, predicted):
    images, labels, seen, truth = (
        each if each.ndim == 1 else np.stack([resize(image, 36, 48) for image in each]) for each in SAMPLE
    )
    recipe = sprint(growing=(1.0,), **changes)
    model = network(tmp_path, recipe, plan=NetworkPlan(epochs=1), sizes=ImageSizes((36, 48), 32, 40))
    model.fit(images, labels, seen, truth)
    assert (model.trained_size, model.input_size) == (trained, predicted)
    assert [segment.size for segment in model.trained] == [max(trained)]
    model.save(tmp_path)
    assert NeuralNetwork.load(tmp_path).input_size == predicted


def test_large_images_are_sampled_at_the_size_of_the_training():
    images = np.random.default_rng(0).integers(0, 256, (70, 200, 200, 3), np.uint8)
    sample = neural._sample(images, (100, 100))
    np.testing.assert_array_equal(sample, resized(images, 100, 100))


def test_mean_and_deviation_of_large_images_are_numpys():
    images = np.random.default_rng(0).integers(0, 200, (5, 150, 130, 3), np.uint8)
    mean, std = neural._mean_and_std(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)))
    np.testing.assert_allclose(std, images.std((0, 1, 2)))


def test_a_cache_is_as_good_as_an_array(tmp_path):
    images, labels, validation_images, validation_labels = SAMPLE
    cached = [ImageCache(part, np.array([], np.int64)) for part in (images, validation_images)]
    for recipe in (sprint(), sprint(holdout=0.5)):
        from_array = network(tmp_path / f"array {recipe.holdout}", recipe).fit(*SAMPLE)
        from_cache = network(tmp_path / f"cache {recipe.holdout}", recipe)
        from_cache.fit(cached[0], labels, cached[1], validation_labels)
        np.testing.assert_array_equal(from_cache.predict_proba(cached[1]), from_array.predict_proba(validation_images))


def test_the_same_seed_gives_the_same_bits_and_another_others(tmp_path):
    first, again, other = (
        network(tmp_path / name, seed=seed).fit(*SAMPLE).predict_proba(SAMPLE[2])
        for name, seed in [("a", 3), ("b", 3), ("c", 4)]
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_training_that_stopped_goes_on_to_the_same_bits_and_says_so(tmp_path, capsys):
    whole = network(tmp_path / "whole").fit(*SAMPLE)
    part = NetworkPlan(replay=whole.trained[:1], tier=NARROW)
    network(tmp_path / "parts", plan=part).fit(*SAMPLE)
    assert "resumed" not in capsys.readouterr().out
    resumed = network(tmp_path / "parts").fit(*SAMPLE)
    assert "sprint: resumed after epoch 1\n" in capsys.readouterr().out
    assert resumed.trained == whole.trained
    np.testing.assert_array_equal(resumed.predict_proba(SAMPLE[2]), whole.predict_proba(SAMPLE[2]))


@pytest.mark.parametrize(("plan", "count"), [(NetworkPlan(epochs=1), 24), (NetworkPlan(deadline=0.0), 12)])
def test_within_a_budget_some_of_the_validation_images_of_each_class_judge_an_epoch(tmp_path, monkeypatch, plan, count):
    seen: list[np.ndarray] = []
    monkeypatch.setattr(neural, "JUDGING", 12)
    monkeypatch.setattr(Training, "run", lambda self, train, validation, *rest: seen.append(validation.labels))
    network(tmp_path, plan=plan).fit(*SAMPLE)
    assert np.bincount(seen[0]).tolist() == [count // CLASSES] * CLASSES


def test_a_budgeted_training_is_replayed_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(neural, "JUDGING", 12)
    recipe = sprint(tiers=LADDER, epochs=2)
    images, labels = draw(32, seed=1, shape=(64, 64))
    deadline = NetworkPlan(deadline=time.monotonic() + 3600)
    budgeted = network(tmp_path / "budgeted", recipe, plan=deadline).fit(images, labels, images, labels)
    replay = NetworkPlan(replay=budgeted.trained, tier=budgeted.tier)
    replayed = network(tmp_path / "replayed", recipe, plan=replay).fit(images, labels, images, labels)
    assert replayed.trained == budgeted.trained
    np.testing.assert_array_equal(replayed.predict_proba(images), budgeted.predict_proba(images))


def test_much_time_chooses_the_most_expensive_tier_and_at_most_the_recipes_epochs(tmp_path):
    model = network(tmp_path, sprint(tiers=LADDER, epochs=2), plan=NetworkPlan(deadline=time.monotonic() + 3600))
    model.fit(*SAMPLE)
    assert (model.tier, model.input_size) == (Tier(**LADDER[-1]), (16, 16))
    assert len(model.trained) == 2 and model.trained[-1].end == 1.0


def test_no_time_chooses_the_cheapest_tier_and_still_gives_a_valid_model(tmp_path):
    images, labels = draw(32, seed=1, shape=(64, 64))
    model = network(tmp_path, sprint(tiers=LADDER), plan=NetworkPlan(deadline=time.monotonic() - 1))
    model.fit(images, labels, images, labels)
    assert (model.tier, model.input_size) == (Tier(**LADDER[0]), (32, 32))
    assert [(epoch.batches, epoch.start, epoch.end) for epoch in model.trained] == [(1, 0.0, 1.0)]
    np.testing.assert_allclose(model.predict_proba(images).sum(1), 1, rtol=1e-5)
    model.save(tmp_path)
    np.testing.assert_array_equal(NeuralNetwork.load(tmp_path).predict_proba(images), model.predict_proba(images))


def test_small_images_are_not_made_smaller_by_a_budget(tmp_path):
    model = network(tmp_path, sprint(tiers=LADDER), plan=NetworkPlan(deadline=time.monotonic() - 1)).fit(*SAMPLE)
    assert (model.tier, model.input_size) == (Tier(**LADDER[1]), (16, 16))


def test_images_too_few_for_the_recipe_choose_a_cheaper_tier(tmp_path):
    plan = NetworkPlan(deadline=time.monotonic() + 60)
    model = network(tmp_path, sprint(tiers=LADDER, min_images=10**9, epochs=1), plan=plan).fit(*SAMPLE)
    assert model.tier == Tier(**LADDER[1])


@pytest.mark.parametrize("more", [{"min_epochs": 1e9}, {"seeds": 10**9}], ids=["min_epochs", "seeds"])
def test_a_tier_that_takes_more_epochs_or_seeds_than_there_is_time_for_is_left_out(tmp_path, more):
    plan = NetworkPlan(deadline=time.monotonic() + 60)
    model = network(tmp_path, sprint(tiers=[LADDER[1], LADDER[1] | more], epochs=1), plan=plan).fit(*SAMPLE)
    assert model.tier == Tier(**LADDER[1])


def test_an_interrupted_run_keeps_the_tier_it_chose(tmp_path):
    recipe = sprint(tiers=LADDER, epochs=2)
    network(tmp_path, recipe, plan=NetworkPlan(deadline=time.monotonic() + 3600)).fit(*SAMPLE)
    hurried = network(tmp_path, recipe, plan=NetworkPlan(deadline=time.monotonic() - 1)).fit(*SAMPLE)
    assert hurried.tier == Tier(**LADDER[-1])


def test_without_a_deadline_the_width_is_the_recipes(tmp_path):
    recipe = sprint(network={"name": "sprint", "width": 10}, tiers=LADDER)
    model = network(tmp_path, recipe, plan=NetworkPlan(epochs=1)).fit(*SAMPLE)
    assert model.tier is None and model.network.head.in_features == 40


def test_without_a_plan_the_recipe_says_how_many_epochs(tmp_path):
    recipe = sprint(network={"name": "sprint", "width": 8}, epochs=2)
    assert len(network(tmp_path, recipe, plan=None).fit(*SAMPLE).trained) == 2


def test_growing_images_end_at_their_full_size(tmp_path):
    images, labels = draw(32, seed=1, shape=(48, 48))
    model = network(tmp_path, sprint(growing=(0.5, 0.75, 1.0))).fit(images, labels, images, labels)
    assert [epoch.size for epoch in model.trained] == [24, 36, 48]


def test_few_images_still_make_several_batches(tmp_path):
    model = network(tmp_path, sprint(batch_size=256)).fit(*SAMPLE)
    assert {epoch.batches for epoch in model.trained} == {8}


def test_half_of_train_is_held_out_by_class():
    images, labels = draw(60, seed=1)
    rest, held = held_out(LabelledImages(images, labels), 0.5)
    assert len(rest) == len(held) == 30
    assert np.ptp(np.bincount(rest.labels)) <= 1 and np.ptp(np.bincount(held.labels)) <= 1
    pixels = [part.images.reshape(len(part), -1) for part in (rest, held)]
    assert len(np.unique(np.concatenate(pixels), axis=0)) == 60


def test_holding_out_copes_with_a_class_of_one_image():
    images, labels = draw(21, seed=1)
    labels[-1] = CLASSES
    rest, held = held_out(LabelledImages(images, labels), 0.5)
    assert len(rest) + len(held) == 21


def test_the_whitening_comes_from_the_training_images_and_stays(tmp_path):
    weights = []
    for name, epochs in (("short", 1), ("long", 3)):
        network(tmp_path / name, plan=NetworkPlan(epochs=epochs, tier=NARROW)).fit(*SAMPLE).save(tmp_path / name)
        weights.append(load_file(tmp_path / name / "model.safetensors")["whiten.weight"])
    np.testing.assert_array_equal(*weights)
    darker = SAMPLE[0] // 3, *SAMPLE[1:]
    other = network(tmp_path / "darker", sprint(normalise="unit")).fit(*darker)
    assert np.abs(other.network.whiten.weight.detach().numpy() - weights[0]).max() > 1e-3


def test_standard_normalisation_is_that_of_the_training_images(fitted):
    images = SAMPLE[0]
    assert fitted.normalisation.mean == pytest.approx(images.mean((0, 1, 2)))
    assert fitted.normalisation.std == pytest.approx(images.std((0, 1, 2)))


def test_images_of_one_colour_do_not_end_in_nothing(tmp_path):
    images, labels = np.full((32, 16, 16, 3), 200, np.uint8), np.arange(32) % CLASSES
    model = network(tmp_path, plan=NetworkPlan(epochs=2, tier=NARROW)).fit(images, labels, images, labels)
    assert np.isfinite(model.predict_proba(images)).all()


def test_replay_repeats_segments_to_the_letter(tmp_path):
    segments = (Segment(12, 3, 0.0, 0.7), Segment(16, 2, 0.7, 1.0))
    model = network(tmp_path, plan=NetworkPlan(replay=segments, tier=NARROW)).fit(*SAMPLE)
    assert model.trained == segments


@pytest.mark.parametrize(("predictions", "kept"), [(0, 0), (1, 50), (2, 100)])
def test_the_time_for_the_predictions_that_the_caller_makes_is_kept(fitted, monkeypatch, predictions, kept):
    monkeypatch.setattr(PredictionTimer, "seconds", lambda _: 50 / 8)  # of each of the eight views
    monkeypatch.setattr(fitted, "plan", NetworkPlan(deadline=1000.0, predictions_after=predictions))
    deadline = fitted._deadline(1000.0, LabelledImages(*SAMPLE[2:]))
    assert replace(deadline, begun=0.0).end() == (1000 - kept, kept)


def test_ranks_share_the_time_kept_for_predicting_where_the_main_one_asks_for_segments_alone(fitted, monkeypatch):
    ranks = []

    def measured(timer: PredictionTimer) -> float:
        ranks.append(timer.ranks)
        return 0.0

    monkeypatch.setattr(PredictionTimer, "seconds", measured)
    monkeypatch.setattr(StepTimer, "seconds_by_stage", lambda *_: [{16: 1.0}])
    monkeypatch.setattr(fitted, "plan", NetworkPlan(deadline=time.monotonic() + 60, predictions_after=1))
    monkeypatch.setattr(neural.distributed, "world_size", lambda: 2)
    training = SimpleNamespace(segments=[], stage_spans=stage_spans(fitted.recipe))
    segments = fitted._segments(training, fitted._planner(64), LabelledImages(*SAMPLE[2:]))
    monkeypatch.setattr(neural.distributed, "world_size", lambda: 1)
    next(segments)
    assert ranks == [2, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": {"name": "sprnit", "width": 8}}, "sprnit"),
        ({"network": {"name": "sprint", "width": 8, "depth": 3}}, "depth"),
        ({"augment": [{"name": "Shift", "fractoin": 0.1}]}, "fractoin"),
        ({"augment": [{"name": "Symmetries", "p": 0.5}]}, "Symmetries"),
        ({"augment": [{"name": "Rotation"}]}, "Rotation"),
    ],
    ids=["network", "argument of a network", "argument of Shift", "argument of Symmetries", "augmentation"],
)
def test_what_a_recipe_names_and_is_not_there_is_refused_in_one_line(tmp_path, changes, words):
    with pytest.raises(UserError, match=words) as refusal:
        network(tmp_path, sprint(**changes), plan=NetworkPlan(epochs=1)).fit(*SAMPLE)
    assert "\n" not in str(refusal.value)
