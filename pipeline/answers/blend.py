"""The blend: greedy ensemble selection with replacement.

Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models", ICML 2004.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from competition.errors import UserError, first_few
from pipeline.answers.predictions import Predictions
from pipeline.answers.scores import Score, score, text_table

ROUNDS = 25
PARTS = 5
CLEARLY = 1.645  # standard errors: chance alone gives that much in one of twenty cases


@dataclass(frozen=True)
class Blend:
    """A weighted mean of models, chosen on validation images.

    weights: members in the order of their choice; each above 0, sum 1.
    gains: what each member added to the validation accuracy when first chosen; the first, all of its own.
    score: of the blend, on the images that chose it.
    expected: accuracy on images that did not choose it: selected on four fifths of validation and measured on
        the other fifth, in turn. Where that is not clearly better than choosing one model alone, that one is the
        blend.
    best_single, single_score: the best member alone, on the same images.
    """

    weights: dict[str, float]
    gains: dict[str, float]
    score: Score
    expected: float
    best_single: str
    single_score: Score

    def apply(self, predictions: Mapping[str, Predictions]) -> Predictions:
        """The members' weighted mean; raises UserError where a member's predictions are missing."""
        missing = [name for name in self.weights if name not in predictions]
        if missing:
            raise UserError(f"the blend needs the predictions of {first_few(missing)}; predict with them first")
        return Predictions.mean([predictions[name] for name in self.weights], list(self.weights.values()))

    def table(self) -> str:
        """Member, weight and gain for the terminal, then the blend beside the best single model."""
        rows = [
            (name, f"{weight:.2f}", f"{'' if name == self.best_single else '+'}{self.gains[name]:.4f}")
            for name, weight in self.weights.items()
        ]
        return (
            f"{text_table(('member', 'weight', 'gain'), rows)}\n"
            f"blend: {self.score.accuracy:.4f} of the validation images that chose it, "
            f"{self.expected:.4f} measured on parts that the selection did not see; "
            f"best single model: {self.single_score.accuracy:.4f} ({self.best_single})"
        )


def select_blend(predictions: Mapping[str, Predictions], ids: Sequence[str], labels: np.ndarray) -> Blend:
    """Choose the blend of highest validation accuracy, ties going to the lower log loss.

    predictions: of each model, at least for the validation ``ids``; labels: int64 ``[N]`` of these ids.
    The order of the models makes no difference, and the blend is never worse than the best of them.
    Raises UserError where a model lacks an id or has another number of classes.
    """
    if not predictions:
        raise UserError("there is no model to blend; run pipeline/train.py first")
    names = sorted(predictions)
    members = [predictions[name].aligned_to(ids) for name in names]
    stack = _stack(members)
    picks, accuracies = _select(stack, labels, np.ones(len(labels), dtype=bool))
    unseen, unseen_single = (_right_unseen(stack, labels, rounds) for rounds in (ROUNDS, 1))
    single = score(stack[picks[0]], labels)
    blended = score(_mean(members, picks).probabilities, labels)
    # rounding the mean to float32 can tie what was apart in the sum
    if not _clearly_better(unseen, unseen_single) or blended.accuracy < single.accuracy:
        picks, accuracies, blended, unseen = picks[:1], accuracies[:1], single, unseen_single
    steps = [accuracies[0], *(after - before for before, after in pairwise(accuracies))]
    chosen = list(dict.fromkeys(picks))
    return Blend(
        weights={names[pick]: picks.count(pick) / len(picks) for pick in chosen},
        gains={names[pick]: steps[picks.index(pick)] for pick in chosen},
        score=blended,
        expected=float(unseen.mean()),
        best_single=names[picks[0]],
        single_score=single,
    )


def _stack(members: Sequence[Predictions]) -> np.ndarray:
    """All probabilities as float32 ``[M, N, C]``."""
    classes = sorted({member.probabilities.shape[1] for member in members})
    if len(classes) > 1:
        raise UserError(f"models of {first_few(classes)} classes cannot be blended; train all on one data set")
    return np.stack([member.probabilities for member in members])


def _mean(members: Sequence[Predictions], picks: Sequence[int]) -> Predictions:
    chosen = list(dict.fromkeys(picks))
    return Predictions.mean([members[pick] for pick in chosen], [picks.count(pick) for pick in chosen])


def _select(
    stack: np.ndarray, labels: np.ndarray, seen: np.ndarray, rounds: int = ROUNDS
) -> tuple[list[int], list[float]]:
    """The members chosen round by round for the images ``seen`` (bool ``[N]``), and the accuracies.

    The first round chooses the best single member, the last one improved on all before it. Rounds that change
    nothing are gone through: choosing the best member again lets others in with smaller weights.
    """
    truths = stack[:, np.arange(len(labels)), labels].astype(np.float64)
    total, truth = np.zeros_like(stack[0]), np.zeros(len(labels))
    trial = np.empty_like(total)  # one for all: claiming memory anew costs more than the sum
    picks: list[int] = []
    qualities: list[tuple[int, float]] = []
    for size in range(1, rounds + 1):
        candidates = [
            _quality(np.add(total, member, out=trial), (truth + member_truth) / size, labels, seen)
            for member, member_truth in zip(stack, truths, strict=True)
        ]
        best = max(range(len(stack)), key=candidates.__getitem__)
        if qualities and candidates[best] < qualities[-1]:
            break
        picks.append(best)
        qualities.append(candidates[best])
        total += stack[best]
        truth += truths[best]
    needed = qualities.index(max(qualities)) + 1
    return picks[:needed], [right / max(np.count_nonzero(seen), 1) for right, _ in qualities[:needed]]


def _quality(total: np.ndarray, truth: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> tuple[int, float]:
    """Seen images that ``total`` ``[N, C]`` has right, then the log likelihood of their ``truth`` ``[N]``.

    The likelihood is rounded, so that the order of a sum does not decide between equals.
    """
    likelihood = np.log(np.maximum(truth, np.finfo(np.float32).eps)) @ seen
    return int(np.count_nonzero(_right(total, labels, seen))), round(float(likelihood), 6)


def _right(total: np.ndarray, labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    return (total.argmax(axis=1) == labels) & counted


def _right_unseen(stack: np.ndarray, labels: np.ndarray, rounds: int) -> np.ndarray:
    """bool ``[N]``: which images are right where selection saw four fifths of them and this one was not among these."""
    parts = np.random.default_rng(0).permutation(len(labels)) % PARTS
    right = np.zeros(len(labels), dtype=bool)
    for part in range(PARTS):
        picks, _ = _select(stack, labels, parts != part, rounds)
        right |= _right(sum(stack[pick] for pick in picks), labels, parts == part)
    return right


def _clearly_better(right: np.ndarray, other: np.ndarray) -> bool:
    """Whether ``right`` counts more images than ``other`` at the one-sided level of 5 % (McNemar's test)."""
    gained, lost = np.count_nonzero(right & ~other), np.count_nonzero(other & ~right)
    return gained - lost > CLEARLY * (gained + lost) ** 0.5
