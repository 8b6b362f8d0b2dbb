"""Wrong answers of the blend and test images that it is not sure of, for every kind of task, each in words."""

import re
from dataclasses import dataclass

import numpy as np

from competition.task import Task
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.evaluation import Evaluation
from pipeline.report.figures import short

HALF = 0.5  # of the mistakes
LETTERS = 11  # of an id, which may have wide ones


@dataclass(frozen=True)
class Answer:
    """One answer to show with its picture.

    row: of the image in its split; target: index of the target. said, truth: what was answered, and what is right, in
    words; truth is empty if it is not known. note: the probability of the answer, or the name of the number.
    choices: both as choices of the target; None of numbers.
    """

    row: int
    target: int
    said: str
    truth: str = ""
    note: str = ""
    choices: tuple[int, int] | None = None


@dataclass(frozen=True)
class WorstClass:
    """A class of which images are mistaken, or for which others are.

    images: of the class; missed: of these, answered otherwise; taken: images of other classes answered as this one.
    instead: the class that most of the missed ones were taken for, and how many; "" if none was missed.
    """

    name: str
    images: int
    missed: int
    taken: int
    instead: str
    instead_count: int


def worst_classes(evaluation: Evaluation, names: list[str]) -> list[WorstClass]:
    """The classes with mistakes, those with the most missed images first."""
    wrong = np.flatnonzero(evaluation.predicted_labels != evaluation.labels)
    truth, said = evaluation.labels[wrong], evaluation.predicted_labels[wrong]
    missed, taken = (np.bincount(each, minlength=len(names)) for each in (truth, said))
    order = np.lexsort((-taken, -missed))
    return [
        WorstClass(
            names[label], int(evaluation.support[label]), int(missed[label]), int(taken[label]), *_instead(of_it, names)
        )
        for label in order.tolist()
        if missed[label] + taken[label]
        for of_it in [said[truth == label]]
    ]


def _instead(said: np.ndarray, names: list[str]) -> tuple[str, int]:
    if not len(said):
        return "", 0
    counts = np.bincount(said)
    return names[int(counts.argmax())], int(counts.max())


def half_of_mistakes(worst: list[WorstClass]) -> tuple[list[str], float]:
    """The fewest classes whose images make half of the mistakes, and their share. worst: ``worst_classes``."""
    missed = np.array([each.missed for each in worst])
    if not missed.sum():
        return [], 0.0
    shares = missed.cumsum() / missed.sum()
    count = int(np.searchsorted(shares, HALF)) + 1
    return [each.name for each in worst[:count]], float(shares[count - 1])


def surest_mistakes(context: ReportContext, most: int) -> list[Answer]:
    """The answers that are most wrong, at most ``most``, at most one of an image: those with the highest probability,
    of numbers those that are furthest off, measured by how much the number varies.
    """
    task, output = context.competition.task, context.evaluations[BLEND].probabilities
    truth = context.validation.known_labels
    if task.kind == "continuous":
        return _furthest_off(context, output, task.true_numbers(truth), most)
    shares, said = task.by_target(output), submitted_choices(context, output)
    truth = truth.reshape(len(truth), -1)
    sure = np.where(said == truth, -1.0, np.take_along_axis(shares, said[:, :, None], axis=2)[:, :, 0])
    found = []
    for row in np.argsort(-sure.max(axis=1), kind="stable")[:most].tolist():
        target = int(sure[row].argmax())
        if sure[row, target] < 0:
            break
        choice, right = int(said[row, target]), int(truth[row, target])
        said_name, true_name = (choice_name(context, target, each) for each in (choice, right))
        found.append(Answer(row, target, said_name, true_name, f"{sure[row, target]:.0%}", (choice, right)))
    return found


def submitted_choices(context: ReportContext, output: np.ndarray) -> np.ndarray:
    """The choice of each target, int64 ``[N, T]``. Of one class an image it is the likeliest one, as in all tables."""
    decided = output if context.has_classes else context.decision.decided(output)
    return context.competition.task.by_target(decided).argmax(axis=2)


def _furthest_off(context: ReportContext, output: np.ndarray, truth: np.ndarray, most: int) -> list[Answer]:
    predicted = context.competition.task.numbers(context.decision.decided(output))
    scaled = np.abs(predicted - truth) / np.maximum(truth.std(axis=0), np.finfo(np.float64).tiny)
    rows, names = np.argsort(-scaled.max(axis=1), kind="stable")[:most].tolist(), number_names(context)
    targets = [int(scaled[row].argmax()) for row in rows]
    return [
        Answer(row, target, f"{predicted[row, target]:.4g}", f"{truth[row, target]:.4g}", names[target])
        for row, target in zip(rows, targets, strict=True)
        if scaled[row, target] > 0
    ]


def least_sure(context: ReportContext, most: int) -> list[Answer]:
    """The test images with the most wrong answers to be expected, of numbers those with the widest spread."""
    task, output = context.competition.task, context.submitted.probabilities
    if task.kind == "continuous":
        return _widest(context, output, most)
    shares = task.by_target(output)
    sure = shares.max(axis=2)
    rows = np.argsort(-(1 - sure).sum(axis=1), kind="stable")[:most].tolist()
    return [Answer(row, int(sure[row].argmin()), _likeliest_two(context, shares[row], sure[row])) for row in rows]


def _likeliest_two(context: ReportContext, shares: np.ndarray, sure: np.ndarray) -> str:
    """The two likeliest choices of the least sure target; of several labels those that are nearest to even odds."""
    if context.competition.task.kind == "multilabel":
        nearest = np.argsort(sure, kind="stable")[:2].tolist()
        return "\n".join(f"{context.drawn_names[label]} {shares[label, 1]:.0%}" for label in nearest)
    target = int(sure.argmin())
    order = np.argsort(-shares[target], kind="stable")[:2].tolist()
    return "\n".join(f"{choice_name(context, target, choice)} {shares[target, choice]:.0%}" for choice in order)


def _widest(context: ReportContext, output: np.ndarray, most: int) -> list[Answer]:
    task = context.competition.task
    numbers, spreads = task.numbers(output), spread(task, output)
    relative = spreads / np.maximum(spreads.mean(axis=0), np.finfo(np.float64).tiny)
    rows, names = np.argsort(-relative.sum(axis=1), kind="stable")[:most].tolist(), number_names(context)
    targets = [int(relative[row].argmax()) for row in rows]
    return [
        Answer(row, target, f"{numbers[row, target]:.4g} ± {spreads[row, target]:.2g}", note=names[target])
        for row, target in zip(rows, targets, strict=True)
    ]


def spread(task: Task, output: np.ndarray) -> np.ndarray:
    """The standard deviation of each predicted number, float64 ``[N, T]``."""
    means, squares = np.array(task.intervals), np.array(task.intervals) ** 2
    shares = task.by_target(output)
    variance = np.einsum("ntk,tk->nt", shares, squares) - np.einsum("ntk,tk->nt", shares, means) ** 2
    return np.sqrt(np.maximum(variance, 0))


def number_names(context: ReportContext) -> list[str]:
    """The names of the numbers; empty if there is a single one, which need not be named."""
    return context.drawn_names if len(context.drawn_names) > 1 else [""]


def choice_name(context: ReportContext, target: int, choice: int) -> str:
    """A choice of a target in words."""
    task = context.competition.task
    if task.kind == "multilabel":
        return f"{'' if choice else 'not '}{context.drawn_names[target]}"
    name = context.drawn_names[choice]
    return name if task.kind == "multiclass" else f"{task.targets[target]} {name}"


def shown_id(image_id: str) -> str:
    """The id as it fits under a small picture: without the suffix of an image file, and shortened."""
    return short(re.sub(r"\.[A-Za-z]{3,4}$", "", image_id), LETTERS)
