"""What is asked first: the score and how sure it is, what to try next, what the blend is and how it was made."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from pipeline.findings.duplicates import LEAKS
from pipeline.report import figures
from pipeline.report.advice import next_steps
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.section import Section
from pipeline.training.planning import clock

LEAST_SHARE = 0.01  # of the time; shorter stages are summed up
REST = "everything else"
WORST = 2  # classes


@dataclass(frozen=True)
class Stage:
    """A part of the time. time: in words; share: of the whole, 0-1; colour: in the bar."""

    name: str
    time: str
    share: float
    colour: str


def section(context: ReportContext, figure_folder: FigureFolder) -> Section:
    seconds = spent(context)
    content = {
        "steps": next_steps(context),
        "public": next((sent for sent in reversed(context.sent) if np.isfinite(sent.public)), None),
        "worst": worst_classes(context) if context.has_classes else None,
        "leaks": sum(len(each.table) for each in context.findings if each.kind == LEAKS) if context.findings else None,
        "stages": stages(seconds),
        "whole": clock(sum(seconds.values())),
        "session": context.sessions[-1] if context.sessions else None,
        "clock": clock,
    }
    return Section("summary", "Summary", "summary.html.j2", content)


def spent(context: ReportContext) -> Mapping[str, float]:
    """The seconds that training took, by stage: over all sessions or, where none is recorded, by model."""
    total: Counter[str] = Counter()
    for session in context.sessions:
        total.update(session.stages)
    return total or {run.name: run.seconds for run in context.runs.values()}


def stages(seconds: Mapping[str, float]) -> list[Stage]:
    """The stages that took the most time, in the order of time, and one for the rest."""
    whole = sum(seconds.values()) or 1.0
    long = {name: each for name, each in seconds.items() if each >= LEAST_SHARE * whole}
    if rest := whole - sum(long.values()):
        long[REST] = rest
    colours = dict(zip(long, cycle(figures.LINES), strict=False)) | {REST: figures.FAINT}
    return [Stage(name, clock(each), each / whole, colours[name]) for name, each in long.items()]


def worst_classes(context: ReportContext) -> list[tuple[str, float]]:
    """The names of the classes with the lowest F1, and their F1; none of a class without a mistake."""
    evaluation = context.evaluations[BLEND]
    worst = ((context.class_names[label], float(evaluation.f1[label])) for label in evaluation.worst_classes(WORST))
    return [(name, f1) for name, f1 in worst if f1 < 1]
