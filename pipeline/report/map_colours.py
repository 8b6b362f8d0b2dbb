"""How the points of the map are coloured: by class, by mistake and by split."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from competition.task import Task
from pipeline.report.agreement import answers_of
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figures import BLUE, GREEN, LINES, ORANGE, RED
from pipeline.report.mistakes import submitted_choices
from pipeline.report.plane import Sample

OTHER = "#a8afb8"  # a point that is not of the group in question
MOST_COLOURS = len(LINES)
FAR_OFF = 0.9  # quantile of the differences of numbers from which on they count as mistakes
FIFTHS = ("#d0e1f2", "#94c4df", "#4a98c9", "#1764ab", "#08306b")  # matplotlib's Blues


@dataclass(frozen=True, eq=False)
class Colouring:
    """One way to colour the points. name: in a word. colours, labels: of the legend.

    groups: the place in the legend of each point, int64 ``[N]``. names: of each point's class, in words, or its split.
    """

    name: str
    colours: tuple[str, ...]
    labels: tuple[str, ...]
    groups: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def counts(self) -> list[int]:
        return np.bincount(self.groups, minlength=len(self.labels)).tolist()


def by_class(sample: Sample, context: ReportContext) -> Colouring:
    """The true class of labelled images and the predicted one of test images; of many classes the most mistaken ones.

    Of several labels an image the set of its labels is its class, of several targets the first one; of numbers it is
    the fifth that the first of them is in.
    """
    task = context.competition.task
    answers = _answers(sample, context)
    if task.kind == "continuous":
        return _by_fifth(answers[:, 0], context.drawn_names[0])
    names = _class_names(task, answers, context.drawn_names)
    frequent = _most_mistaken(context) if context.has_classes else [name for name, _ in Counter(names).most_common()]
    if len(frequent) <= MOST_COLOURS:
        shown = frequent
        colours, labels = LINES[: len(shown)], tuple(shown)
    else:
        shown = frequent[: MOST_COLOURS - 1]
        colours, labels = (*LINES[: len(shown)], OTHER), (*shown, f"{len(frequent) - len(shown)} others")
    place = {name: number for number, name in enumerate(shown)}
    groups = np.array([place.get(name, len(shown)) for name in names])
    return Colouring("class", colours, labels, groups, tuple(names))


def _answers(sample: Sample, context: ReportContext) -> np.ndarray:
    """The true answers of labelled images and the predicted ones of test images, ``[N, T]``."""
    task = context.competition.task
    truths = {
        name: split.known_labels[sample.rows[sample.splits == name]]
        for name, split in (("train", context.train), ("validation", context.validation))
    }
    test = context.submitted.probabilities[sample.rows[sample.splits == "test"]]
    predicted = answers_of(task, test) if task.kind == "continuous" else submitted_choices(context, test)
    parts = [each.reshape(len(each), -1) for each in truths.values() if len(each)]
    return np.concatenate([*parts, predicted])


def _class_names(task: Task, answers: np.ndarray, names: list[str]) -> list[str]:
    if task.kind == "multilabel":
        return [" + ".join(names[label] for label in np.flatnonzero(row)) or "no label" for row in answers]
    return [names[label] for label in answers[:, 0]]


def _most_mistaken(context: ReportContext) -> list[str]:
    """All classes, those with the most mistakes first."""
    mistakes = context.evaluations[BLEND].mistakes
    return [context.drawn_names[label] for label in np.argsort(-mistakes, kind="stable")]


def _by_fifth(numbers: np.ndarray, name: str) -> Colouring:
    edges = np.quantile(numbers, np.linspace(0, 1, len(FIFTHS) + 1))
    labels = tuple(f"{name} {low:.4g} to {high:.4g}" for low, high in pairwise(edges))
    groups = np.searchsorted(edges[1:-1], numbers, side="right")
    return Colouring("number", FIFTHS, labels, groups, tuple(f"{name} {number:.4g}" for number in numbers))


def by_mistake(sample: Sample, context: ReportContext) -> Colouring:
    """Validation images by whether the blend is right about them; of numbers the furthest tenth is wrong."""
    is_validation = sample.splits == "validation"
    wrong = wrong_rows(context)[sample.rows[is_validation]]
    groups = np.full(len(sample.rows), 2)
    groups[is_validation] = np.where(wrong, 0, 1)
    is_number = context.competition.task.kind == "continuous"
    labels = ("furthest off" if is_number else "wrong", "nearer" if is_number else "right", "not validated")
    return Colouring("mistake", (RED, GREEN, OTHER), labels, groups)


def wrong_rows(context: ReportContext) -> np.ndarray:
    """Whether an answer of the blend to each validation image is wrong, bool ``[N]``."""
    task, output, labels = context.competition.task, context.evaluations[BLEND].probabilities, context.validation.labels
    assert labels is not None
    if task.kind == "continuous":
        truth = task.true_numbers(labels)
        off = (np.abs(task.numbers(output) - truth) / np.maximum(truth.std(axis=0), 1e-12)).max(axis=1)
        return off > np.quantile(off, FAR_OFF)
    return (submitted_choices(context, output) != labels.reshape(len(labels), -1)).any(axis=1)


def by_split(sample: Sample) -> Colouring:
    splits = ("train", "validation", "test")
    groups = np.array([splits.index(name) for name in sample.splits])
    return Colouring("split", (BLUE, ORANGE, GREEN), splits, groups)
