"""Calibration: whether answers that a model gives with some probability are right as often as that."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.calibration import calibration_curve

from competition.task import Task

BINS = 15  # as in C. Guo et al., "On Calibration of Modern Neural Networks" (arXiv:1706.04599)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often answers are right, by the probability that they were given with.

    probabilities, rates: the mean probability, and the share that is right, of each bin with answers, float64 ``[B]``.
    counts: of its answers, int64 ``[B]``.
    """

    probabilities: np.ndarray
    rates: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, right: np.ndarray) -> Self:
        """probabilities: float ``[N]`` in 0-1; right: bool ``[N]``. The bins are equally wide."""
        probabilities = np.clip(probabilities, 0, 1)  # rounding may have carried some beyond
        rates, means = calibration_curve(right.astype(int), probabilities, n_bins=BINS, pos_label=1)
        edges = np.linspace(0, 1, BINS + 1)  # as calibration_curve has them
        counts = np.bincount(np.searchsorted(edges[1:-1], probabilities), minlength=BINS)
        return cls(means, rates, counts[counts > 0])

    @property
    def error(self) -> float:
        """The expected calibration error: the mean difference of probability and rate, weighted by the answers."""
        return float(np.average(np.abs(self.probabilities - self.rates), weights=self.counts))

    @property
    def excess(self) -> float:
        """How much higher probabilities are than rates, in the mean: above 0 if the model is too sure."""
        return float(np.average(self.probabilities - self.rates, weights=self.counts))


def given_answers(task: Task, probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each answer, float ``[n]``, and whether it is right, bool ``[n]``.

    probabilities: a model's output. labels: as in ``Split.labels``. An answer is the likeliest choice of a target; of
    several labels an image it is that the image has the label. Not for numbers.
    """
    if task.kind == "multilabel":
        return task.scores(probabilities).ravel(), task.truths(labels).ravel()
    shares = task.by_target(probabilities)
    return shares.max(axis=2).ravel(), (shares.argmax(axis=2) == labels.reshape(len(labels), -1)).ravel()
