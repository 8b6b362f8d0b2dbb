"""Discriminants on a kernel map: scikit-learn's predictions, from sums whose size does not depend on the rows."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics.pairwise import rbf_kernel

from pipeline.models.classical import discriminant
from pipeline.models.classical.discriminant import ClassSums, KernelMap

CLASSES, WIDTH, GAMMA = 4, 12, 0.05


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of overlapping classes, and their labels."""
    centres = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, count, p=[0.1, 0.2, 0.3, 0.4])
    return centres[labels] + rng.normal(0, 1.5, (count, WIDTH)), labels


def summed(rows: np.ndarray, labels: np.ndarray, piece: int = 300) -> ClassSums:
    sums = ClassSums.zeros(CLASSES, rows.shape[1])
    for start in range(0, len(rows), piece):
        sums.add(rows[start : start + piece], labels[start : start + piece])
    return sums


def test_discriminants_have_the_probabilities_of_scikit_learns_linear_discriminant_analysis():
    rows, labels = draw(300, seed=1)
    others, _ = draw(100, seed=2)
    weights, intercepts = summed(rows, labels).discriminants(penalty=1e-9)
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(rows, labels).predict_proba(others)
    np.testing.assert_allclose(softmax(others @ weights + intercepts, axis=1), expected, atol=1e-9)


def test_a_larger_penalty_draws_the_weights_to_zero():
    sums = summed(*draw(300, seed=1))
    sizes = [np.linalg.norm(sums.discriminants(penalty)[0]) for penalty in (1e-3, 1e3, 1e6)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_sums_over_pieces_are_the_sums_over_all_rows():
    rows, labels = draw(300, seed=1)
    for pieces, whole in zip(
        vars(summed(rows, labels)).values(), vars(summed(rows, labels, 300)).values(), strict=True
    ):
        np.testing.assert_allclose(pieces, whole, rtol=1e-12)


def test_a_map_with_every_row_as_a_landmark_has_the_kernel_as_its_inner_products():
    rows, _ = draw(80, seed=1)
    mapped = KernelMap.fit("rbf", rows, GAMMA, seed=0)(rows)
    np.testing.assert_allclose(mapped @ mapped.T, rbf_kernel(rows, gamma=GAMMA), atol=1e-6)


def test_there_are_no_more_landmarks_than_their_most(monkeypatch):
    monkeypatch.setattr(discriminant, "LANDMARKS", 50)
    rows, _ = draw(55, seed=1)
    assert KernelMap.fit("rbf", rows, GAMMA, seed=0).width == 50


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_machine_scores_rows_as_its_discriminants_score_what_the_map_makes_of_them(kernel: str):
    rows, labels = draw(80, seed=1)
    others, _ = draw(30, seed=2)
    kernel_map = KernelMap.fit(kernel, rows, GAMMA, seed=0)
    weights, intercepts = summed(kernel_map(rows), labels).discriminants(penalty=0.1)
    machine = kernel_map.machine(weights, intercepts)
    np.testing.assert_allclose(
        machine.scores(others, GAMMA), kernel_map(others) @ weights + intercepts, rtol=1e-6, atol=1e-6
    )
