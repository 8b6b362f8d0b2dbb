"""Ordered grades: how many steps the answers are off."""

import numpy as np

from competition.metrics import grades_of
from pipeline.report import figures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.evaluation import MOST_SHOWN, Evaluation
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if context.metric.needs != "grades":
        return None
    output, truth = context.evaluations[BLEND].probabilities, context.validation.known_labels
    decided = context.decision.decided(output)
    said = decided.argmax(axis=1)
    content = {
        "figure": _figure(truth, decided, context, figure_folder),
        "steps": _steps(truth, said, len(context.competition.classes)),
        "grades": _grades(truth, said, grades_of(context.competition.task, output), context.class_names),
    }
    return Section("grades", "Grade by grade", "grades.html.j2", content)


def _figure(truth: np.ndarray, decided: np.ndarray, context: ReportContext, folder: FigureFolder) -> EmbeddedImage:
    """The confusion matrix; of many grades that of the worst ones."""
    evaluation = Evaluation(decided, truth)
    shown = np.sort(evaluation.worst_classes(MOST_SHOWN))
    names = [context.drawn_names[grade] for grade in shown]
    figure = figures.confusion(evaluation.confusion(shown), names, "Grades in their order, as submitted")
    alt = f"Confusion matrix of the grades in their order: {evaluation.right:,} of {len(truth):,} are right"
    return folder.add("grades", figure, alt)


def _steps(truth: np.ndarray, said: np.ndarray, grades: int) -> list[tuple[int, int, float]]:
    """For each number of steps by which answers are off, below 0 if they are too low: the images and their share."""
    off = said - truth
    found = [(steps, int((off == steps).sum())) for steps in range(1 - grades, grades)]
    return [(steps, count, count / len(truth)) for steps, count in found if count]


def _grades(truth: np.ndarray, said: np.ndarray, expected: np.ndarray, names: list[str]) -> list[tuple]:
    """Of each grade that occurs: its name, images, share right, share at most a step off, and mean expected grade."""
    there = np.unique(truth)
    off = np.abs(said - truth)
    return [
        (names[grade], len(rows), (off[rows] == 0).mean(), (off[rows] <= 1).mean(), expected[rows].mean())
        for grade in there
        for rows in [np.flatnonzero(truth == grade)]
    ]
