"""Models of several targets: any of several labels, several classes at once, and numbers learnt as intervals."""

from pathlib import Path

import numpy as np
import pytest
import torch

from competition.metrics import metrics_for
from competition.task import Task
from pipeline.models.base import Model, ModelContext
from pipeline.models.neural.losses import shared_out
from pipeline.models.neural.network import NetworkPlan
from pipeline.models.recipe import RECIPES, AnyRecipe, load_recipe
from tests.pipeline.models.small import NARROW, sprint

LABELS = Task(("red", "green", "blue"), kind="multilabel")
NUMBER = Task(("light",), kind="continuous", intervals=(tuple(range(0, 200, 25)),))


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in which each of three colours is there or not. Returns them and whether it is, int64 ``[N, 3]``."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (count, 3))
    noise = generator.integers(0, 60, (count, 16, 16, 3))
    return (noise + 150 * labels[:, None, None]).astype(np.uint8), labels


def draw_light(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of different brightness. Returns them and the brightness, float64 ``[N, 1]``."""
    generator = np.random.default_rng(seed)
    light = generator.uniform(0, 180, count)
    noise = generator.integers(0, 60, (count, 16, 16, 3))
    return (noise + light[:, None, None, None]).astype(np.uint8), light[:, None]


MIXED = {"mix": {"mixup": 0.2, "cutmix": 1.0, "share": 0.5}, "class_weights": "balanced", "sampling": "balanced"}


def small(name: str) -> AnyRecipe:
    ours = {"sprint": sprint(), "mixed": sprint(**MIXED), "focal": sprint(loss="focal")}
    return ours.get(name) or load_recipe(RECIPES / f"{name}.toml")


def fitted(name: str, task: Task, folder: Path, sample: tuple[np.ndarray, ...]) -> Model:
    images, labels, validation_images, validation_labels = sample
    context = ModelContext(
        classes=task.choices,
        targets=task.target_count,
        ordered=task.kind == "continuous",
        folder=folder,
        plan=NetworkPlan(epochs=10, tier=NARROW),
        metric=metrics_for(task)[0],
    )
    learnt = images, task.encode(labels), validation_images, task.encode(validation_labels)
    return small(name).build(context).fit(*learnt)


@pytest.mark.parametrize("name", ["dhc-gaussian-nb", "dhc-knn-sweep", "dhc-svm", "sprint", "mixed", "focal"])
def test_any_of_several_labels_is_learnt_and_the_saved_model_says_the_same(name, tmp_path):
    images, labels = draw(60, 2)
    model = fitted(name, LABELS, tmp_path, (*draw(160, 1), images, labels))
    found = model.predict_proba(images)
    assert found.shape == (60, 6) and found.dtype == np.float32
    np.testing.assert_allclose(LABELS.by_target(found).sum(2), 1, rtol=1e-5)
    assert ((LABELS.scores(found) > 0.5) == labels).mean() > 0.9
    model.save(tmp_path)
    np.testing.assert_array_equal(small(name).load(tmp_path).predict_proba(images), found)


@pytest.mark.parametrize("name", ["dhc-knn-sweep", "sprint", "mixed"])
def test_a_number_is_predicted_better_than_by_its_mean(name, tmp_path):
    images, light = draw_light(60, 2)
    model = fitted(name, NUMBER, tmp_path, (*draw_light(240, 1), images, light))
    error = NUMBER.numbers(model.predict_proba(images)) - light
    assert np.abs(error).mean() < 0.4 * np.abs(light - light.mean()).mean()


def test_a_label_that_no_training_image_has_is_unlikely_and_one_that_all_have_is_likely(tmp_path):
    images, labels = draw(60, 1)
    labels[:, 1], labels[:, 2] = 0, 1
    found = fitted("dhc-gaussian-nb", LABELS, tmp_path, (images, labels, images, labels)).predict_proba(images)
    np.testing.assert_allclose(LABELS.scores(found)[:, 1:], [[1 / 62, 61 / 62]] * 60, rtol=1e-5)


def test_a_class_is_shared_out_among_its_neighbours_and_stays_the_likeliest():
    shares = shared_out(torch.tensor([0, 3]), classes=6)
    assert shares.argmax(1).tolist() == [0, 3]
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    assert shares[1, 2] == shares[1, 4] > shares[1, 1]
