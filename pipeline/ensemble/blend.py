"""The blend: the models' probabilities, each raised to a power of its own, multiplied: a logarithmic opinion pool.

The powers are those that make the validation labels likeliest (T. Heskes, "Selecting weighting factors in logarithmic
opinion pools", NIPS 1997). A member joins where the likelihood grows by what a parameter costs in G. Schwarz,
"Estimating the dimension of a model", Annals of Statistics 6, 1978. The competition's metric says which model is the
first, and whether the blend is worth more than that model alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from competition.errors import UserError, first_few
from competition.metrics import Metric
from pipeline.data.predictions import Predictions
from pipeline.training.scores import Score, score, text_table

Powers = dict[int, float]  # of members, by their places among all models

PARTS = 5
LEAST = float(np.finfo(np.float32).eps)  # no member rules a class out for the others


@dataclass(frozen=True)
class Blend:
    """Members and their powers, chosen on validation images.

    powers: members in the order of their choice; each above 0. One alone stays as it is (1.0), unless the metric needs
        probabilities: then its power calibrates it.
    gains: how much better each member made the metric when it was chosen; the first one's is the metric's value of it
        alone. As the others are chosen for the likelihood of the labels, theirs may be below 0.
    score: of the blend, on the images that chose it.
    expected: the score on images that did not choose it: selected on four fifths of validation, predicting the other
        fifth, in turn; measured on all of these predictions together.
    best_single, single_score: the best model alone, as it is, on the same images.
    """

    powers: dict[str, float]
    gains: dict[str, float]
    score: Score
    expected: Score
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
            f"blend: {self.score} on the validation images that chose it, "
            f"{self.expected.value:.4f} on parts that the selection did not see; "
            f"best single model: {self.single_score.value:.4f} ({self.best_single})"
        )


def select_blend(
    predictions: Mapping[str, Predictions], ids: Sequence[str], labels: np.ndarray, metric: Metric
) -> Blend:
    """Begin with the best model by the metric, and let others join.

    predictions: of each model, at least for the validation ``ids``; labels: int64 ``[N]`` of these ids.
    The order of the models makes no difference, and the blend is never worse by the metric than the best of them.
    Raises UserError where a model lacks an id or has another number of classes.
    """
    if not predictions:
        raise UserError("there is no model to blend; run pipeline/train.py first")
    names = sorted(predictions)
    library = Library.of(_stack([predictions[name].aligned_to(ids) for name in names]), labels, metric)
    steps = library.select()
    (best,), powers = steps[0], steps[-1]
    return Blend(
        powers={names[member]: power for member, power in powers.items()},
        gains={names[member]: gain for member, gain in library.gains(steps).items() if member in powers},
        score=score(_pooled(library.probabilities, powers), labels, metric),
        expected=score(_predicted_unseen(library), labels, metric),
        best_single=names[best],
        single_score=score(library.probabilities[best], labels, metric),
    )


def _stack(members: Sequence[Predictions]) -> np.ndarray:
    """All probabilities as float32 ``[M, N, C]``."""
    classes = sorted({member.probabilities.shape[1] for member in members})
    if len(classes) > 1:
        raise UserError(f"models of {first_few(classes)} classes cannot be blended; train all on one data set")
    return np.stack([member.probabilities for member in members])


def _pooled(probabilities: np.ndarray, powers: Powers) -> np.ndarray:
    """float32 ``[N, C]`` of float32 ``[M, N, C]``: the product of all, each raised to its power, rows summing to 1."""
    if list(powers.values()) == [1.0]:
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
    metric: what the best is best by.
    """

    probabilities: np.ndarray
    logs: np.ndarray
    labels: np.ndarray
    truths: np.ndarray
    metric: Metric

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Self:
        logs = _logarithms(probabilities)
        return cls(probabilities, logs, labels, logs[:, np.arange(len(labels)), labels], metric)

    def take(self, rows: np.ndarray) -> Self:
        return replace(
            self,
            probabilities=self.probabilities[:, rows],
            logs=self.logs[:, rows],
            labels=self.labels[rows],
            truths=self.truths[:, rows],
        )

    def select(self) -> list[Powers]:
        """The best model alone, then the pools as one after the other joins; in the end none worse than the best."""
        best = self.best()
        steps, alone = self._joined([best]), {best: 1.0}
        return next(way for way in (steps, steps[:1], [alone]) if self.rank(way[-1]) >= self.rank(alone))

    def _joined(self, members: list[int]) -> list[Powers]:
        """The pools as one model after the other joins ``members``, while the likelihood grows by enough."""
        powers, likelihood = self.likeliest(members, np.ones(len(members)))
        steps = [self._kept(members, np.maximum(powers, LEAST))]
        while len(members) < len(self.logs):
            members.append(self.most_promising(members, powers))
            powers, grown = self.likeliest(members, np.append(powers, 0.0))
            if grown - likelihood < np.log1p(len(self.labels)) / 2:
                break
            likelihood = grown
            steps.append(self._kept(members, powers))
        return steps

    def _kept(self, members: Sequence[int], powers: np.ndarray) -> Powers:
        """The powers above 0; a single one is 1 where the metric needs labels, which no power changes."""
        kept = {member: float(power) for member, power in zip(members, powers, strict=True) if power > 0}
        return dict.fromkeys(kept, 1.0) if len(kept) == 1 and self.metric.needs == "labels" else kept

    def best(self) -> int:
        """The best model by the metric, of equals the one that makes the labels likelier."""
        return max(range(len(self.logs)), key=lambda member: (self.rank({member: 1.0}), self.truths[member].sum()))

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

    def rank(self, powers: Powers) -> float:
        """How good the pool is by the metric, higher for a better one; without an image all are equal."""
        return self.metric.rank(self.value(powers)) if len(self.labels) else 0.0

    def value(self, powers: Powers) -> float:
        """The metric of the pool."""
        return self.metric(_pooled(self.probabilities, powers), self.labels)

    def gains(self, steps: Sequence[Powers]) -> dict[int, float]:
        """How much better the metric became, at each step, by the member that joined; the first: its value."""
        better = (self.rank(after) - self.rank(before) for before, after in pairwise(steps))
        joined = (list(powers)[-1] for powers in steps)
        return dict(zip(joined, [self.value(steps[0]), *better], strict=True))


def _predicted_unseen(library: Library) -> np.ndarray:
    """float32 ``[N, C]``: each row pooled as the selection says that did not see it, but four fifths of the others."""
    parts = np.random.default_rng(0).permutation(len(library.labels)) % PARTS
    predicted = np.empty_like(library.probabilities[0])
    for part in range(PARTS):
        seen, unseen = parts != part, parts == part
        predicted[unseen] = _pooled(library.probabilities[:, unseen], library.take(seen).select()[-1])
    return predicted
