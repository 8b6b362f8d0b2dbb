"""Labels under suspicion: confident learning, on predictions of models that have not seen the labels.

C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021.
As there, a probability is measured by its usual value, the mean for the images with that label. The paper suspects a
label if another choice is at its usual value or above. Here the odds of the label decide, which find more of the wrong
labels and are as seldom mistaken; see benchmarks/TRIALS.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from competition.task import Task

UNLIKELY = 0.2  # odds below which a label is suspected
MOST = 0.1  # of the images, at most; where models contradict more labels than that, the models are to blame
FAR = 5.0  # standard deviations from which the error of a number is suspected
NORMAL = 1.4826  # standard deviation of a normal distribution whose absolute values have the median 1


@dataclass(frozen=True, eq=False)
class Suspects:
    """The images whose labels are under suspicion, worst first.

    rows: of the images, int64 ``[n]``. said: what the models say instead, as in ``Split.labels``.
    probabilities: of what they say, of the most suspected target, float64 ``[n]``; nan of numbers.
    ranks: the odds of the label against what the models say, below ``UNLIKELY``, float64 ``[n]``, ascending.
        Of a number it is one divided by the error in standard deviations.
    """

    rows: np.ndarray
    said: np.ndarray
    probabilities: np.ndarray
    ranks: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Those of all parts, worst first."""
        rows, said, probabilities, ranks = (
            np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)
        )
        order = np.argsort(ranks, kind="stable")
        return cls(rows[order], said[order], probabilities[order], ranks[order])


def find_suspects(task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Suspects:
    """The images whose labels a model contradicts, at most ``MOST`` of them.

    probabilities: of a model that was not trained on these images, float ``[N, T * K]``.
    labels: as in ``Split.labels``. With several targets an image is as suspect as its most suspected one.
    """
    said = task.decode(probabilities)
    if task.kind == "continuous":
        ranks, sure = far_off(said, labels), np.full(labels.shape, np.nan)
    else:
        choices, by_target = task.encode(labels).reshape(len(labels), -1), task.by_target(probabilities)
        found = [contradicted(by_target[:, target], choices[:, target]) for target in range(task.target_count)]
        other, ranks, sure = (np.stack(each, axis=1) for each in zip(*found, strict=True))
        said = np.where(ranks < 1, other, choices).reshape(labels.shape)
    worst, ranks = ranks.argmin(axis=1), ranks.min(axis=1)
    rows = np.argsort(ranks, kind="stable")[: min(round(MOST * len(labels)), int((ranks < 1).sum()))]
    return Suspects(rows, said[rows], sure[rows, worst[rows]], ranks[rows])


def contradicted(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest choice, int64 ``[N]``, the odds of the label against it, 1 if they are not below ``UNLIKELY``, and
    the probability of that choice, float64 ``[N]``.

    probabilities: of one target, float ``[N, K]``. labels: int64 ``[N]``.
    """
    rows, counts = np.arange(len(labels)), np.bincount(labels, minlength=probabilities.shape[1])
    means = np.bincount(labels, probabilities[rows, labels], len(counts)) / np.maximum(counts, 1)
    usual = np.maximum(means, 1 / len(counts))  # no less than a guess, which a class of a few hard images may have
    said = probabilities.argmax(axis=1)
    sure = probabilities[rows, said].astype(np.float64)
    odds = probabilities[rows, labels] / usual[labels] / (sure / usual[said])
    return said, np.where((said != labels) & (odds < UNLIKELY), odds, 1), sure


def far_off(said: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """One divided by each number's error in standard deviations, and 1 where that is no outlier, float64 ``[N, T]``.

    The deviation is that of a normal distribution with the median of the absolute errors.
    """
    errors = np.abs(said - numbers)
    deviations = np.maximum(NORMAL * np.median(errors, axis=0), np.finfo(float).tiny)
    return np.where(errors > FAR * deviations, deviations / np.maximum(errors, deviations), 1.0)
