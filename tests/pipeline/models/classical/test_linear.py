"""Logistic regressions of folds: they agree on one setting, and one on all images takes their place."""

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.preprocessing import StandardScaler

from competition.metrics import LOG_LOSS
from pipeline.models.classical.per_target import PerTarget
from pipeline.models.classical.registry import LogisticRegression

GRID = [{"C": 1e-6}, {"C": 0.01}, {"C": 1e3}]
FOLDS = 3


def draw(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of which a few tell the class, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 3
    return (rng.normal(0, 2, (images, 1, 20, 1)) + 2 * np.eye(20)[labels][:, None, :, None]).astype(np.float32), labels


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    return draw(120, seed=1)


def fitted_to_folds(images: np.ndarray, labels: np.ndarray, build=lambda: LogisticRegression(3, GRID)) -> list:
    parts = np.arange(len(labels)) // 3 % FOLDS
    return [
        build().fit(images[parts != part], labels[parts != part], images[parts == part], labels[parts == part])
        for part in range(FOLDS)
    ]


def held_out_loss(folds: list, images: np.ndarray, labels: np.ndarray) -> float:
    """The log loss over the images of all folds, each predicted by the model that was not fitted to it."""
    parts = np.arange(len(labels)) // 3 % FOLDS
    answers = [fold.predict_proba(images[parts == part]) for part, fold in enumerate(folds)]
    return LOG_LOSS(np.concatenate(answers), np.concatenate([labels[parts == part] for part in range(FOLDS)]))


def test_folds_keep_the_point_that_is_best_over_all_of_them_at_one_temperature(sample):
    folds = fitted_to_folds(*sample)
    LogisticRegression.agree(folds)
    assert len({fold.temperature for fold in folds}) == 1
    losses = {}
    for point in GRID:
        alone = fitted_to_folds(*sample, lambda point=point: LogisticRegression(3, [point]))
        LogisticRegression.agree(alone)
        losses[point["C"]] = held_out_loss(alone, *sample)
    assert {fold.chosen["C"] for fold in folds} == {min(losses, key=losses.get)}
    assert held_out_loss(folds, *sample) == pytest.approx(min(losses.values()))


def test_one_regression_on_all_images_takes_the_place_of_the_folds(sample):
    images, labels = sample
    folds = fitted_to_folds(images, labels)
    LogisticRegression.agree(folds)
    model = LogisticRegression.refitted(folds, images, labels)
    rows = StandardScaler().fit_transform(images.reshape(len(images), -1))
    expected = (
        linear_model.LogisticRegression(C=folds[0].chosen["C"], max_iter=300).fit(rows, labels).predict_proba(rows)
    )
    assert (model.predict_proba(images).argmax(1) == expected.argmax(1)).all()
    assert (model.chosen, model.temperature) == (folds[0].chosen, folds[0].temperature)


def test_several_targets_agree_one_by_one_and_one_that_never_varies_is_known(sample):
    images, labels = sample
    targets = np.stack([labels == 0, np.zeros(len(labels)), labels == 2], axis=1).astype(np.int64)
    folds = fitted_to_folds(images, targets, lambda: PerTarget(lambda: LogisticRegression(2, GRID), 3))
    PerTarget.agree(folds)
    model = PerTarget.refitted(folds, images, targets)
    assert set(model.classifiers) == {0, 2} and model.only == {1: 0}
    for target in (0, 2):
        assert len({fold.classifiers[target].temperature for fold in folds}) == 1
    answers = model.predict_proba(images).reshape(-1, 3, 2).argmax(2)
    assert (answers == targets).mean() > 0.8


def test_a_refitted_model_is_saved_like_any_other(sample, tmp_path):
    folds = fitted_to_folds(*sample)
    LogisticRegression.agree(folds)
    model = LogisticRegression.refitted(folds, *sample)
    model.save(tmp_path)
    loaded = LogisticRegression.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(sample[0]), model.predict_proba(sample[0]))
