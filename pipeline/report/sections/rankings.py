"""Rankings of labels: how often a true one is among the first k."""

import numpy as np

from competition.metrics import likeliest
from competition.task import Task
from pipeline.report import plots
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.section import Section

LEAST = 10  # places that are looked at, even if fewer are submitted
MOST_MODELS = 6


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if context.metric.needs != "ranking":
        return None
    names = [BLEND, *(run.name for run in context.ranked)][:MOST_MODELS]
    shares = {name: hits_at(context.evaluations[name].probabilities, context) for name in names}
    asked = min(context.metric.most, len(shares[BLEND]))
    said = ", ".join(f"{share:.1%} at {place}" for place, share in enumerate(shares[BLEND], start=1))
    figure = plots.hits(shares, "Hits among the first k answers")
    content = {
        "figure": figure_folder.add("hits", figure, f"Share of images with a hit among the blend's first k: {said}"),
        "shares": shares,
        "asked": asked,
    }
    return Section("rankings", "Rankings", "rankings.html.j2", content)


def hits_at(output: np.ndarray, context: ReportContext) -> np.ndarray:
    """The share of images of which a true label is among the k likeliest, float64 ``[most]``, for k from 1."""
    task, labels = context.competition.task, context.validation.known_labels
    scores = task.scores(output) if task.kind == "multilabel" else output
    first = likeliest(scores, max(LEAST, context.metric.most))
    return np.maximum.accumulate(_is_true(task, labels, first), axis=1).mean(axis=0)


def _is_true(task: Task, labels: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Whether each of the likeliest labels is true, bool ``[N, most]``."""
    if task.kind == "multilabel":
        return np.take_along_axis(task.truths(labels), first, axis=1)
    return first == labels[:, None]
