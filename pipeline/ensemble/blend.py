"""The blend: a logarithmic opinion pool, the product of the models' probabilities, each raised to its own power.

The powers maximise the likelihood of the validation labels (T. Heskes, "Selecting weighting factors in logarithmic
opinion pools", NIPS 1997). A model is added only if the log likelihood grows by at least the cost of one parameter
(G. Schwarz, "Estimating the dimension of a model", Annals of Statistics 6, 1978). The competition's metric decides
which model comes first, and whether the blend or that model alone is used.

Few validation images say too little about powers. There all members, each calibrated, get the same power, and the
likelihood decides only how many there are. By the metric such a blend may look worse than the best model, by less than
the standard error of the difference.
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
from pipeline.ensemble.paired import standard_error
from pipeline.runtime.memory import row_blocks
from pipeline.training.scores import Score, score, text_table

Powers = dict[int, float]  # index of the model in the library -> its power

PARTS = 5
FEW = 400  # validation images; of fewer, powers are not fitted one by one, see benchmarks/TRIALS.md
KNOWN = 0.5  # of the log likelihood above a blind guess that the best model has, which others need on few images
LEAST = float(np.finfo(np.float32).eps)  # lowest probability, so that no member can veto a class


@dataclass(frozen=True)
class Blend:
    """The members of the blend and their powers, chosen on the validation images.

    powers: power of each member, above 0, in the order in which the members were chosen. A single member has power 1.0,
        unless the metric needs probabilities: then the power calibrates it.
    gains: improvement of the metric when each member was added. The first entry is the metric of the first member
        alone. Members are added for the likelihood of the labels, so a later gain may be negative.
    score: score of the blend on the images on which it was chosen.
    expected: estimated score on new images, by five-fold cross-validation: the blend is chosen on four fifths of the
        validation images and predicts the other fifth. The predictions of all five parts are scored together.
    best_single, single_score: the best single model, uncalibrated, and its score on the same images.
    targets: the number of targets of the task; the powers are the same for all of them.
    """

    powers: dict[str, float]
    gains: dict[str, float]
    score: Score
    expected: Score
    best_single: str
    single_score: Score
    targets: int = 1

    @property
    def weights(self) -> dict[str, float]:
        """The powers divided by their sum, so that they add up to 1."""
        return {name: power / sum(self.powers.values()) for name, power in self.powers.items()}

    def apply(self, predictions: Mapping[str, Predictions]) -> Predictions:
        """The blended predictions, with the ids of the first member. Raises UserError if a member has none."""
        missing = [name for name in self.powers if name not in predictions]
        if missing:
            raise UserError(f"the blend needs the predictions of {first_few(missing)}; predict with them first")
        ids = predictions[next(iter(self.powers))].ids
        stack = _stack([predictions[name].aligned_to(ids) for name in self.powers])
        return Predictions(ids, _pooled(stack, dict(enumerate(self.powers.values())), self.targets))

    def table(self) -> str:
        """Text for the terminal: weight and gain of each member, then the scores of the blend and the best model."""
        rows = [
            (name, f"{weight:.2f}", f"{self.gains[name]:{'' if name == self.best_single else '+'}.4f}")
            for name, weight in self.weights.items()
        ]
        return (
            f"{text_table(('member', 'weight', 'gain'), rows)}\n"
            f"blend: {self.score} on the validation images that chose it, "
            f"{self.expected.value:.4f} expected on new images (cross-validated); "
            f"best single model: {self.single_score.value:.4f} ({self.best_single})"
        )


def select_blend(
    predictions: Mapping[str, Predictions], ids: Sequence[str], labels: np.ndarray, metric: Metric
) -> Blend:
    """Start from the best model by the metric and add others while they help.

    predictions: of each model, for at least the validation ``ids``.
    labels: of ``ids``, as in ``Split.labels``.
    metric: of the competition; it knows the task.

    The order of the models has no effect. By the metric the blend is never worse than the best model or, of few images,
    not by more than a standard error.
    Raises UserError if there is no model, an id has no prediction, or the numbers of classes differ.
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
        score=score(library.pooled(powers), labels, metric),
        expected=score(_predicted_unseen(library), labels, metric),
        best_single=names[best],
        single_score=score(library.probabilities[best], labels, metric),
        targets=library.targets,
    )


def _stack(members: Sequence[Predictions]) -> np.ndarray:
    """The probabilities of all models, float32 ``[M, N, C]``."""
    classes = sorted({member.probabilities.shape[1] for member in members})
    if len(classes) > 1:
        raise UserError(f"models of {first_few(classes)} classes cannot be blended; train them all on the same data")
    return np.stack([member.probabilities for member in members])


def _pooled(probabilities: np.ndarray, powers: Powers, targets: int) -> np.ndarray:
    """float32 ``[M, N, C]`` to ``[N, C]``: the product of the models, each raised to its power; targets sum to 1."""
    if list(powers.values()) == [1.0]:
        return probabilities[next(iter(powers))]
    images, columns = probabilities.shape[1:]
    pooled = np.empty((images, columns), np.float32)
    for rows in row_blocks(images, columns * len(powers)):
        scores = np.tensordot(list(powers.values()), _logarithms(probabilities[list(powers), rows]), 1)
        pooled[rows] = softmax(_by_target(scores, targets), axis=-1).reshape(scores.shape)
    return pooled


def _targets(metric: Metric) -> int:
    return 1 if metric.task is None else metric.task.target_count


def _by_target(values: np.ndarray, targets: int) -> np.ndarray:
    """``[..., N, T * K]`` to ``[..., N * T, K]``: a row for each target of each image."""
    *front, images, columns = values.shape
    return values.reshape(*front, images * targets, columns // targets)


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, LEAST, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Library:
    """The predictions of all models for some labelled images.

    probabilities: float32 ``[M, N, T * K]``; labels: of the images, as in ``Split.labels``.
    logs: the natural logarithms of the probabilities, float64 ``[M, n, K]``, on which powers are fitted, with a row for
        each target of each image. If those of all images would need much memory, they are of a random sample, enough
        for a few powers.
    truths: float64 ``[M, n]``, log probability of the true choice.
    metric: decides which model or blend is better.
    """

    probabilities: np.ndarray
    logs: np.ndarray
    labels: np.ndarray
    truths: np.ndarray
    metric: Metric

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Self:
        images, columns = probabilities.shape[1:]
        most = next(row_blocks(images, columns), slice(0)).stop
        rows = np.arange(images) if most == images else np.random.default_rng(0).permutation(images)[:most]
        choices = labels[rows] if metric.task is None else metric.task.encode(labels[rows])
        logs = _by_target(_logarithms(probabilities[:, rows]), _targets(metric))
        return cls(probabilities, logs, labels, logs[:, np.arange(choices.size), choices.ravel()], metric)

    @property
    def targets(self) -> int:
        """The number of targets of the task."""
        return _targets(self.metric)

    def pooled(self, powers: Powers) -> np.ndarray:
        """float32 ``[N, T * K]``, the product of the models, each raised to its power."""
        return _pooled(self.probabilities, powers, self.targets)

    def take(self, rows: np.ndarray) -> Self:
        return self.of(self.probabilities[:, rows], self.labels[rows], self.metric)

    def select(self) -> list[Powers]:
        """The pool after each step, starting with the best model alone; the last is no worse than that model."""
        if len(self.labels) < FEW:
            return self._of_few()
        best = self.best()
        steps, alone = self._joined([best]), {best: 1.0}
        return next(way for way in (steps, steps[:1], [alone]) if self.rank(way[-1]) >= self.rank(alone))

    def _of_few(self) -> list[Powers]:
        """The pools of the best model and 0, 1, 2, ... others, the likeliest first, up to the pool with the highest
        likelihood; each with the powers that calibrate its members, times a common one. Models that know less than
        half of what the best one knows are left out.
        """
        alone = {member: self.likeliest([member], np.ones(1)) for member in range(len(self.logs))}
        best, (_, images, choices) = self.best(), self.logs.shape
        blind = -images * np.log(choices)
        enough = blind + max(np.log1p(images) / 2, KNOWN * (alone[best][1] - blind))
        known = [member for member in alone if member == best or alone[member][1] >= enough]
        order = sorted(known, key=lambda member: (member != best, -alone[member][1]))
        powers = np.array([max(LEAST, alone[member][0][0]) for member in order])
        pools = [self._scaled(order[:count], powers[:count]) for count in range(1, len(order) + 1)]
        most = int(np.argmax([likelihood for _, likelihood in pools])) + 1
        steps = [self._kept(order[: len(each)], each) for each, _ in pools[:most]]
        single = {best: 1.0}
        return steps if self._is_as_good(steps[-1], single) else [single]

    def _scaled(self, members: Sequence[int], powers: np.ndarray) -> tuple[np.ndarray, float]:
        """The powers times the number with the highest log likelihood, and that log likelihood."""
        joint = replace(
            self,
            logs=np.tensordot(powers, self.logs[members], 1)[None],
            truths=np.tensordot(powers, self.truths[members], 1)[None],
        )
        factor, likelihood = joint.likeliest([0], np.ones(1) / len(members))
        return np.maximum(factor[0] * powers, LEAST), likelihood

    def _is_as_good(self, pool: Powers, single: Powers) -> bool:
        """Whether the pool is no worse by the metric than a model alone, or by less than chance would make it."""
        lost = self.rank(single) - self.rank(pool)
        return lost <= 0 or lost < standard_error(self.pooled(pool), self.pooled(single), self.labels, self.metric)

    def _joined(self, members: list[int]) -> list[Powers]:
        """The pool after each model added to ``members``; stops once the likelihood grows too little."""
        powers, likelihood = self.likeliest(members, np.ones(len(members)))
        steps = [self._kept(members, np.maximum(powers, LEAST))]
        while len(members) < len(self.logs):
            members.append(self.most_promising(members, powers))
            powers, grown = self.likeliest(members, np.append(powers, 0.0))
            if grown - likelihood < np.log1p(self.truths.shape[1]) / 2:
                break
            likelihood = grown
            steps.append(self._kept(members, powers))
        return steps

    def _kept(self, members: Sequence[int], powers: np.ndarray) -> Powers:
        """The powers above 0. A single one is set to 1 if the metric needs labels: no power would change them."""
        kept = {member: float(power) for member, power in zip(members, powers, strict=True) if power > 0}
        return dict.fromkeys(kept, 1.0) if len(kept) == 1 and self.metric.needs == "labels" else kept

    def best(self) -> int:
        """The best model by the metric; in a tie, the one with the higher likelihood."""
        return max(range(len(self.logs)), key=lambda member: (self.rank({member: 1.0}), self.truths[member].sum()))

    def likeliest(self, members: Sequence[int], start: np.ndarray) -> tuple[np.ndarray, float]:
        """The non-negative powers with the highest log likelihood of the labels, and that log likelihood."""
        logs, truths = self.logs[members], self.truths[members].sum(axis=1)

        def cost(powers: np.ndarray) -> tuple[float, np.ndarray]:
            scores = np.tensordot(powers, logs, 1)
            top = scores.max(axis=1, keepdims=True)  # by hand, because scipy's logsumexp is much slower
            odds = np.exp(scores - top)
            total = odds.sum(axis=1, keepdims=True)
            expected = np.tensordot(logs, odds / total, 2)
            return (top + np.log(total)).sum() - powers @ truths, expected - truths

        found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(members))
        return found.x, -float(found.fun)

    def most_promising(self, members: Sequence[int], powers: np.ndarray) -> int:
        """The model not yet in the pool with the highest statistic in C. R. Rao's score test of power > 0."""
        pool = softmax(np.tensordot(powers, self.logs[members], 1), axis=1)

        def rise(member: int) -> float:
            logs = self.logs[member]
            expected = (pool * logs).sum(axis=1)
            variance = ((pool * logs**2).sum(axis=1) - expected**2).sum()
            return float((self.truths[member] - expected).sum() / np.sqrt(max(variance, LEAST)))

        return max((member for member in range(len(self.logs)) if member not in members), key=rise)

    def rank(self, powers: Powers) -> float:
        """Rank of the pool by the metric, higher is better; 0 if there are no images."""
        return self.metric.rank(self.value(powers)) if len(self.labels) else 0.0

    def value(self, powers: Powers) -> float:
        """Value of the metric for the pool."""
        return self.metric(self.pooled(powers), self.labels)

    def gains(self, steps: Sequence[Powers]) -> dict[int, float]:
        """Improvement of the metric by the member added at each step; for the first member, the metric itself."""
        better = (self.rank(after) - self.rank(before) for before, after in pairwise(steps))
        joined = (list(powers)[-1] for powers in steps)
        return dict(zip(joined, [self.value(steps[0]), *better], strict=True))


def _predicted_unseen(library: Library) -> np.ndarray:
    """float32 ``[N, C]``: predictions for each fifth by the blend chosen on the other four fifths."""
    parts = np.random.default_rng(0).permutation(len(library.labels)) % PARTS
    predicted = np.empty_like(library.probabilities[0])
    for part in range(PARTS):
        seen, unseen = parts != part, parts == part
        powers = library.take(seen).select()[-1]
        predicted[unseen] = _pooled(library.probabilities[:, unseen], powers, library.targets)
    return predicted
