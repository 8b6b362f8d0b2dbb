"""Losses: against PyTorch's own where there is one, against the formulas of the papers elsewhere."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.models.neural.losses import FOCUS, MOST_WEIGHT, Loss, balanced_weights, distribution

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.2], [-0.5, 0.3, 3.0], [1.0, 1.0, 1.0]])
LABELS = torch.tensor([0, 2, 2, 1])
EVEN = torch.ones(1, 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs_with_weights_of_one_and_from_distributions_too(smoothing):
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    assert Loss(smoothing)(LOGITS, LABELS) == expected
    for loss, truth in [(Loss(smoothing), distribution(LABELS, 3)), (Loss(smoothing, weights=EVEN), LABELS)]:
        torch.testing.assert_close(loss(LOGITS, truth), expected)


def test_the_focal_loss_counts_what_is_predicted_well_less():
    probable = LOGITS.softmax(1)[torch.arange(4), LABELS]
    expected = (-((1 - probable) ** FOCUS) * probable.log()).mean()
    torch.testing.assert_close(Loss(is_focal=True)(LOGITS, LABELS), expected)
    well, badly = (
        Loss(is_focal=True)(LOGITS[[row]], LABELS[[row]]) / Loss()(LOGITS[[row]], LABELS[[row]]) for row in (2, 1)
    )
    assert well < 0.01 < 0.5 < badly


def test_the_weight_of_each_targets_choice_multiplies_its_part_of_the_loss():
    """Two images of two targets: rows are image by image."""
    weights = torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 5.0]])
    rows = F.cross_entropy(LOGITS, LABELS, reduction="none")
    expected = (rows * torch.tensor([1.0, 5.0, 1.0, 1.0])).mean()
    torch.testing.assert_close(Loss(weights=weights)(LOGITS, LABELS), expected)


def test_balanced_weights_make_all_classes_count_the_same_within_bounds():
    labels = np.repeat([0, 1, 3], [60, 30, 10])
    weights = balanced_weights(labels, 4)[0]
    sums = np.bincount(labels, minlength=4) * weights
    np.testing.assert_allclose(sums[[0, 1, 3]], 100 / 3, rtol=1e-6)
    assert weights.dtype == np.float32 and weights[labels].mean() == pytest.approx(1)
    assert balanced_weights(np.repeat([0, 1], [999, 1]), 2)[0].tolist() == pytest.approx([0.5005005, MOST_WEIGHT])


def test_balanced_weights_are_of_each_target_by_itself():
    labels = np.array([[0, 1], [0, 1], [0, 0], [1, 1]])
    np.testing.assert_allclose(balanced_weights(labels, 2), [[4 / 6, 2], [2, 4 / 6]], rtol=1e-6)
