"""The blend: the models' probabilities, each raised to a power of its own, multiplied: a logarithmic opinion pool.

The powers are those that make the validation labels likeliest (T. Heskes, "Selecting weighting factors in logarithmic
opinion pools", NIPS 1997). A member joins where the likelihood grows by what a parameter costs in G. Schwarz,
"Estimating the dimension of a model", Annals of Statistics 6, 1978.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from competition.errors import UserError, first_few
from pipeline.data.predictions import Predictions
from pipeline.training.scores import Score, score, text_table

Powers = dict[int, float]  # of members, by their places among all models

PARTS = 5
LEAST = float(np.finfo(np.float32).eps)  # no member rules a class out for the others


@dataclass(frozen=True)
class Blend:
    """Members and their powers, chosen on validation images.

    powers: members in the order of their choice; each above 0. One alone stays as it is.
    gains: what each member added to the validation accuracy when it was chosen; the first, all of its own. As the
        others are chosen for the likelihood of the labels, theirs may be below 0.
    score: of the blend, on the images that chose it.
    expected: accuracy on images that did not choose it: selected on four fifths of validation and measured on
        the other fifth, in turn.
    best_single, single_score: the best member alone, on the same images.
    """

    powers: dict[str, float]
    gains: dict[str, float]
    score: Score
    expected: float
    best_single: str
    single_score: Score

    @property
    def weights(self) -> dict[str, float]:
        """The powers as shares; sum 1."""
        return {name: power / sum(self.powers.values()) for name, power in self.powers.items()}

    def apply(self, predictions: Mapping[str, Predictions]) -> Predictions:
        """The pool of the members, with the first one's ids; raises UserError where predictions are missing."""
        missing = [name for name in self.powers if name not in predictions]
        if missing:
            raise UserError(f"the blend needs the predictions of {first_few(missing)}; predict with them first")
        ids = predictions[next(iter(self.powers))].ids
        stack = _stack([predictions[name].aligned_to(ids) for name in self.powers])
        return Predictions(ids, _pooled(stack, dict(enumerate(self.powers.values()))))

    def table(self) -> str:
        """Member, weight and gain for the terminal, then the blend beside the best single model."""
        rows = [
            (name, f"{weight:.2f}", f"{self.gains[name]:{'' if name == self.best_single else '+'}.4f}")
            for name, weight in self.weights.items()
        ]
        return (
            f"{text_table(('member', 'weight', 'gain'), rows)}\n"
            f"blend: {self.score.accuracy:.4f} of the validation images that chose it, "
            f"{self.expected:.4f} measured on parts that the selection did not see; "
            f"best single model: {self.single_score.accuracy:.4f} ({self.best_single})"
        )


def select_blend(predictions: Mapping[str, Predictions], ids: Sequence[str], labels: np.ndarray) -> Blend:
    """Begin with the most accurate model, and let others join.

    predictions: of each model, at least for the validation ``ids``; labels: int64 ``[N]`` of these ids.
    The order of the models makes no difference, and the blend is never less accurate than the best of them.
    Raises UserError where a model lacks an id or has another number of classes.
    """
    if not predictions:
        raise UserError("there is no model to blend; run pipeline/train.py first")
    names = sorted(predictions)
    library = Library.of(_stack([predictions[name].aligned_to(ids) for name in names]), labels)
    steps = library.select()
    (best,), powers = steps[0], steps[-1]
    return Blend(
        powers={names[member]: power for member, power in powers.items()},
        gains={names[member]: gain for member, gain in library.gains(steps).items() if member in powers},
        score=score(_pooled(library.probabilities, powers), labels),
        expected=_accuracy_unseen(library),
        best_single=names[best],
        single_score=score(library.probabilities[best], labels),
    )


def _stack(members: Sequence[Predictions]) -> np.ndarray:
    """All probabilities as float32 ``[M, N, C]``."""
    classes = sorted({member.probabilities.shape[1] for member in members})
    if len(classes) > 1:
        raise UserError(f"models of {first_few(classes)} classes cannot be blended; train all on one data set")
    return np.stack([member.probabilities for member in members])


def _pooled(probabilities: np.ndarray, powers: Powers) -> np.ndarray:
    """float32 ``[N, C]`` of float32 ``[M, N, C]``: the product of all, each raised to its power, rows summing to 1."""
    if len(powers) == 1:
        return probabilities[next(iter(powers))]
    scores = np.tensordot(list(powers.values()), _logarithms(probabilities[list(powers)]), 1)
    return softmax(scores, axis=1).astype(np.float32)


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, LEAST, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Library:
    """What all models say of some labelled images.

    probabilities: float32 ``[M, N, C]``; logs: their logarithms, float64.
    labels: int64 ``[N]``; truths: float64 ``[M, N]``, the logarithms of these labels' probabilities.
    """

    probabilities: np.ndarray
    logs: np.ndarray
    labels: np.ndarray
    truths: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> Self:
        logs = _logarithms(probabilities)
        return cls(probabilities, logs, labels, logs[:, np.arange(len(labels)), labels])

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(self.probabilities[:, rows], self.logs[:, rows], self.labels[rows], self.truths[:, rows])

    def select(self) -> list[Powers]:
        """The best model alone, then the pools as one after the other joins; in the end not a less accurate one."""
        members = [self.most_accurate()]
        powers, likelihood = self.likeliest(members, np.ones(1))
        steps: list[Powers] = [{members[0]: 1.0}]
        while len(members) < len(self.logs):
            members.append(self.most_promising(members, powers))
            powers, grown = self.likeliest(members, np.append(powers, 0.0))
            if grown - likelihood < np.log1p(len(self.labels)) / 2:
                break
            likelihood = grown
            steps.append({member: float(power) for member, power in zip(members, powers, strict=True) if power > 0})
        return steps if self.right(steps[-1]) >= self.right(steps[0]) else steps[:1]

    def most_accurate(self) -> int:
        """Of equals the one that makes the labels likelier."""
        return max(range(len(self.logs)), key=lambda member: (self.right({member: 1.0}), self.truths[member].sum()))

    def likeliest(self, members: Sequence[int], start: np.ndarray) -> tuple[np.ndarray, float]:
        """The powers, from 0 on, at which the pool makes the labels likeliest, and the log likelihood there."""
        logs, truths = self.logs[members], self.truths[members].sum(axis=1)

        def cost(powers: np.ndarray) -> tuple[float, np.ndarray]:
            scores = np.tensordot(powers, logs, 1)
            top = scores.max(axis=1, keepdims=True)  # by hand: scipy's logsumexp would take most of the time
            odds = np.exp(scores - top)
            total = odds.sum(axis=1, keepdims=True)
            expected = np.tensordot(logs, odds / total, 2)
            return (top + np.log(total)).sum() - powers @ truths, expected - truths

        found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(members))
        return found.x, -float(found.fun)

    def most_promising(self, members: Sequence[int], powers: np.ndarray) -> int:
        """The model outside whose power most surely wants to be above 0, by C. R. Rao's score test of each."""
        pool = softmax(np.tensordot(powers, self.logs[members], 1), axis=1)

        def rise(member: int) -> float:
            logs = self.logs[member]
            expected = (pool * logs).sum(axis=1)
            variance = ((pool * logs**2).sum(axis=1) - expected**2).sum()
            return float((self.truths[member] - expected).sum() / np.sqrt(max(variance, LEAST)))

        return max((member for member in range(len(self.logs)) if member not in members), key=rise)

    def right(self, powers: Powers) -> int:
        """How many of the images the pool has right."""
        return np.count_nonzero(_pooled(self.probabilities, powers).argmax(axis=1) == self.labels)

    def gains(self, steps: Sequence[Powers]) -> dict[int, float]:
        """What the accuracy gained, at each step, by the member that joined."""
        right = [0, *map(self.right, steps)]
        more = (after - before for before, after in pairwise(right))
        joined = (list(powers)[-1] for powers in steps)
        return {member: gained / len(self.labels) for member, gained in zip(joined, more, strict=True)}


def _accuracy_unseen(library: Library) -> float:
    """The share of right images where the selection saw four fifths of them and each was not among these."""
    parts = np.random.default_rng(0).permutation(len(library.labels)) % PARTS
    unseen = (library.take(parts == part).right(library.take(parts != part).select()[-1]) for part in range(PARTS))
    return sum(unseen) / len(library.labels)
