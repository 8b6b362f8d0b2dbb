"""Losses: what a network's output for a batch is compared with, and how much each class counts."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SPREAD = 0.75  # standard deviation, in classes, of the share that neighbours of a class get
FOCUS = 2.0  # of the focal loss, as in its paper
MOST_WEIGHT = 10.0  # of a class, beside the mean of 1 before the weights are bounded


@dataclass(frozen=True)
class Loss:
    """The mean loss of a batch: cross-entropy, or the focal loss, with label smoothing and weights of the classes.

    T.-Y. Lin et al., "Focal Loss for Dense Object Detection" (arXiv:1708.02002); of several choices, as the sum over
    the choices of ``-target * (1 - p) ** FOCUS * log(p)``.

    weights: of the choices of each target, float32 ``[T, K]``, with a mean of about 1 over the training images; None
        if all count the same.
    """

    label_smoothing: float = 0.0
    is_focal: bool = False
    weights: Tensor | None = None

    def __call__(self, logits: Tensor, truth: Tensor) -> Tensor:
        """A number. logits: float32 ``[n * T, K]``, image by image.

        truth: the labels, int64 ``[n * T]``, or how likely each choice is, float32 ``[n * T, K]``.
        """
        if not self.is_focal and self.weights is None:
            return F.cross_entropy(logits, truth, label_smoothing=self.label_smoothing)
        likely = logits.log_softmax(1)
        target = self._smoothed(distribution(truth, logits.shape[1]))
        if self.is_focal:
            target = target * (1 - likely.exp()) ** FOCUS
        if self.weights is not None:
            target = target * self.weights.repeat(len(logits) // len(self.weights), 1)
        return -(target * likely).sum(1).mean()

    def _smoothed(self, target: Tensor) -> Tensor:
        return target.lerp(torch.full_like(target, 1 / target.shape[1]), self.label_smoothing)


def distribution(truth: Tensor, choices: int) -> Tensor:
    """How likely each choice is, float32 ``[M, choices]``. truth: labels, int64 ``[M]``, or such a distribution."""
    return truth if truth.is_floating_point() else F.one_hot(truth, choices).float()


def shared_out(labels: Tensor, classes: int) -> Tensor:
    """Each class shared out among its neighbours by a normal distribution, float32 ``[N, classes]``; rows sum to 1.

    For numbers that are learnt as classes: E. Imani and M. White, "Improving Regression Performance with Distributional
    Losses", ICML 2018. labels: int64 ``[N]``.
    """
    places = torch.arange(classes, device=labels.device)
    return (-(((places - labels[:, None]) / SPREAD) ** 2) / 2).softmax(1)


def balanced_weights(labels: np.ndarray, choices: int) -> np.ndarray:
    """Weights in inverse proportion to how often each choice occurs, float32 ``[T, choices]``, at most MOST_WEIGHT.

    labels: int64 ``[N]`` or ``[N, T]``. Without the bound the mean weight of the images is 1 for each target.
    """
    by_target = labels.reshape(len(labels), -1).T
    counts = np.stack([np.bincount(each, minlength=choices) for each in by_target])
    present = (counts > 0).sum(axis=1, keepdims=True)
    return (len(labels) / (present * counts.clip(min=1))).clip(max=MOST_WEIGHT).astype(np.float32)
