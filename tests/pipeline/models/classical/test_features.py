"""Features: fitted to the training images only, the best of many candidates, unchanged by loading."""

from pathlib import Path

import numpy as np
import pytest
import torch

from competition.errors import UserError
from pipeline.models.base import NotTrained
from pipeline.models.classical import features
from pipeline.models.classical.features import (
    FEATURES,
    Lite0Features,
    OnFeatures,
    SelectedDescriptors,
    build_features,
)
from pipeline.models.classical.registry import LogisticRegression
from pipeline.models.networks.lite0 import Lite0
from pipeline.models.networks.pretrained import lite0_features
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.persistence import load_state, save_state
from pipeline.models.recipe import RECIPES, load_recipe

CPU = torch.device("cpu")
CLASSES = 3


def draw(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stripes whose direction depends on the class, with random position and brightness."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % CLASSES
    angle = (labels * np.pi / CLASSES)[:, None, None]
    down, right = np.mgrid[:16, :16]
    along = right * np.cos(angle) + down * np.sin(angle) + rng.uniform(0, 9, (images, 1, 1))
    pixels = 100 + rng.uniform(-50, 50, (images, 1, 1)) + 40 * np.sin(along) + rng.normal(0, 10, (images, 16, 16))
    return np.repeat(np.uint8(pixels.clip(0, 255))[..., None], 3, axis=3), labels


@pytest.fixture(scope="module")
def train() -> tuple[np.ndarray, np.ndarray]:
    return draw(150, seed=1)


def on_features(count: int = 8) -> OnFeatures:
    return OnFeatures(SelectedDescriptors(count), LogisticRegression(CLASSES, [{"C": 0.1}]), CPU)


def test_there_are_as_many_features_as_asked_for_each_standardised_over_train(train):
    images, labels = train
    seen = SelectedDescriptors(10).fit(images, labels).transform(images, CPU)
    assert (seen.shape, seen.dtype) == ((150, 1, 10, 1), np.float32)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(seen.std(axis=0), 1, atol=1e-3)


def test_the_first_features_are_those_that_part_the_classes_best(train):
    images, labels = train
    rows = SelectedDescriptors(40).fit(images, labels).transform(images, CPU)[:, 0, :, 0]
    between = sum((rows[labels == label].mean(axis=0) ** 2) for label in range(CLASSES))
    assert (np.diff(between) < 1e-6).all()
    few = SelectedDescriptors(5).fit(images, labels).transform(images, CPU)[:, 0, :, 0]
    np.testing.assert_allclose(few, rows[:, :5], atol=1e-5)


def test_features_that_never_vary_stay_finite():
    images, labels = np.zeros((12, 16, 16, 3), np.uint8), np.arange(12) % CLASSES
    features = SelectedDescriptors(4).fit(images, labels)
    assert np.isfinite(features.transform(draw(5, seed=2)[0], CPU)).all()


def test_a_model_on_features_tells_apart_what_pixels_do_not(train):
    images, labels = draw(90, seed=2)
    learnt = on_features().fit(*train, images, labels).predict_proba(images)
    pixels = LogisticRegression(CLASSES, [{"C": 0.1}]).fit(*train, images, labels).predict_proba(images)
    assert (learnt.argmax(axis=1) == labels).mean() > 0.95 > 0.7 > (pixels.argmax(axis=1) == labels).mean()


def test_validation_images_teach_the_features_nothing(train):
    first, second = (on_features().fit(*train, *draw(30, seed)) for seed in (2, 3))
    np.testing.assert_array_equal(first.features.projection, second.features.projection)


def test_a_loaded_model_predicts_the_saved_one_to_the_bit(train, tmp_path: Path):
    images, labels = draw(30, seed=2)
    model = on_features().fit(*train, images, labels)
    model.save(tmp_path)
    loaded = OnFeatures.load(tmp_path, CPU)
    np.testing.assert_array_equal(loaded.predict_proba(images), model.predict_proba(images))
    assert loaded.parameters == model.parameters > model.model.parameters


def test_a_network_takes_features_for_images_of_one_channel_and_leaves_them_as_they_are(train, tmp_path: Path):
    images, labels = draw(30, seed=2)
    recipe = load_recipe(RECIPES / "fashion-feature-mlp.toml")
    network = NeuralNetwork(recipe, CLASSES, tmp_path, plan=NetworkPlan(epochs=3))
    model = OnFeatures(SelectedDescriptors(8), network, CPU).fit(*train, images, labels)
    layers = [layer for layer in network.network.modules() if isinstance(layer, torch.nn.Linear)]
    assert [layer.in_features for layer in layers] == [8, 128, 64]
    seen = model.features.transform(images, CPU)
    np.testing.assert_allclose(network.normalisation(seen, CPU).numpy().reshape(30, 8), seen.reshape(30, 8), atol=0.05)
    model.save(tmp_path)
    loaded = OnFeatures.load(tmp_path, CPU)
    np.testing.assert_array_equal(loaded.predict_proba(images), model.predict_proba(images))


def test_features_of_the_frozen_network_are_saved_with_its_weights(train, tmp_path, monkeypatch: pytest.MonkeyPatch):
    images, labels = train[0][:4], train[1][:4]
    published = Lite0(1000)
    monkeypatch.setattr(features, "load_weights", lambda *_: published.state_dict())
    fitted = Lite0Features().fit(images, labels)
    monkeypatch.delattr(features, "load_weights")
    save_state(fitted, tmp_path / "features.safetensors")
    seen = load_state(Lite0Features, tmp_path / "features.safetensors").transform(images, CPU)
    np.testing.assert_allclose(seen[:, 0, :, 0], lite0_features(published, images, CPU, "lite0"), rtol=1e-6)


@pytest.fixture
def lite0(monkeypatch: pytest.MonkeyPatch) -> Lite0:
    """A network of random weights in place of the published one."""
    torch.manual_seed(0)
    network = Lite0(1000)
    monkeypatch.setattr(features, "load_weights", lambda *_: network.state_dict())
    return network


def test_features_at_several_sizes_are_joined(train, lite0):
    images, labels = train[0][:4], train[1][:4]
    seen = Lite0Features(sizes=[32, 64], views="one").fit(images, labels).transform(images, CPU)[:, 0, :, 0]
    parts = [lite0_features(lite0, images, CPU, "lite0", (size, size)) for size in (32, 64)]
    np.testing.assert_allclose(seen, np.concatenate(parts, axis=1), rtol=1e-6)
    assert seen.shape[1] == build_features("lite0", sizes=[32, 64]).count


def test_mirrored_views_make_an_image_and_its_mirror_image_one(train, lite0):
    images, labels = train[0][:4], train[1][:4]
    seen = Lite0Features(sizes=[64], views="mirror").fit(images, labels)
    np.testing.assert_allclose(seen.transform(images, CPU), seen.transform(images[:, :, ::-1], CPU), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "sizes", "views"),
    [((20, 16), [128], "one"), ((96, 192), [160, 192], "mirror"), ((300, 300), [160, 256], "mirror")],
)
def test_small_pictures_are_seen_at_one_size_and_photographs_at_several(lite0, shape, sizes, views):
    fitted = Lite0Features().fit(np.zeros((2, *shape, 3), np.uint8), np.arange(2))
    assert (fitted.sizes, fitted.views) == (sizes, views)


@pytest.mark.parametrize("arguments", [{"sizes": []}, {"sizes": [8]}, {"sizes": ["160"]}, {"views": "all"}])
def test_sizes_and_views_that_are_impossible_are_refused_in_one_line(arguments):
    with pytest.raises(UserError, match=r"features lite0: (sizes|views) must be .*; fix the recipe"):
        build_features("lite0", **arguments)


@pytest.mark.parametrize(("name", "arguments"), [("descriptors", {"count": 4}), ("lite0", {})])
def test_the_cost_grows_with_the_images(name: str, arguments: dict):
    features = FEATURES[name](**arguments)
    assert features.cost(2000, 784) > features.cost(1000, 784) > 0


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(UserError, match="'sift'; choose one of descriptors, lite0"):
        build_features("sift")


def test_an_argument_that_is_not_there_or_missing_is_refused_in_one_line():
    for arguments in ({}, {"count": 4, "colour": True}):
        with pytest.raises(UserError, match=r"features descriptors: .*(count|colour).*fix the recipe"):
            build_features("descriptors", **arguments)


def test_features_that_are_not_finite_leave_the_model_out(train, monkeypatch):
    monkeypatch.setattr(SelectedDescriptors, "_rows", lambda self, images, device: np.full((len(images), 8), np.nan))
    with pytest.raises(NotTrained, match="not finite; give other weights"):
        on_features().fit(*train, *train)
