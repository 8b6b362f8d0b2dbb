"""One machine for each pair of classes: its votes, and the memory that they take."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from pipeline.models.classical.one_vs_one import Machine


def machine(classes: int, vectors: int = 2) -> Machine:
    """A machine with random coefficients. vectors: support vectors of each class."""
    rng = np.random.default_rng(classes)
    pairs = classes * (classes - 1) // 2
    coefficients = rng.normal(size=(classes - 1, classes * vectors))
    return Machine(coefficients, np.full(classes, vectors), rng.normal(size=pairs))


def kernel(images: int, classes: int, vectors: int = 2) -> np.ndarray:
    return np.random.default_rng(images).random((images, classes * vectors))


def votes(of: Machine, row: np.ndarray) -> np.ndarray:
    """The votes for each class, pair by pair, in the layout of libsvm's documentation."""
    places = np.split(np.arange(len(row)), np.cumsum(of.counts)[:-1])
    won = np.zeros(len(of.counts), int)
    for (first, second), intercept in zip(combinations(range(len(places)), 2), of.intercepts, strict=True):
        ours, theirs = places[first], places[second]
        decision = of.coefficients[second - 1, ours] @ row[ours] + of.coefficients[first, theirs] @ row[theirs]
        won[first if decision + intercept > 0 else second] += 1
    return won


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_class_that_wins_most_pairs_has_the_largest_score(classes):
    rows = kernel(images=50, classes=classes)
    scores = machine(classes).scores(rows)
    won = np.stack([votes(machine(classes), row) for row in rows])
    np.testing.assert_array_equal(scores.argmax(axis=1), won.argmax(axis=1))
    np.testing.assert_array_equal(np.sort(np.round(scores), axis=1), np.sort(won, axis=1))


def test_images_make_no_difference_to_each_other(monkeypatch):
    rows = kernel(images=20, classes=5)
    distributed_main = machine(5).scores(rows)
    monkeypatch.setattr("pipeline.models.classical.one_vs_one.DECISIONS_AT_ONCE", 3 * 5**2)
    np.testing.assert_allclose(machine(5).scores(rows), distributed_main, rtol=1e-12)


def test_no_images_have_no_scores():
    assert machine(5).scores(kernel(images=0, classes=5)).shape == (0, 5)


def test_a_thousand_classes_take_little_memory():
    many, rows = machine(1000, vectors=1), kernel(images=12, classes=1000, vectors=1)
    tracemalloc.start()
    scores = many.scores(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scores.shape == (12, 1000)
    assert peak < 300e6
