"""All models and the blend side by side: scores, time and size."""

from typing import Any

import numpy as np

from pipeline.report import figures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.section import Section
from pipeline.training.scores import other_metrics


def section(context: ReportContext, figure_folder: FigureFolder) -> Section:
    return Section("models", "All models", "models.html.j2", compared(context, figure_folder))


def compared(context: ReportContext, figure_folder: FigureFolder) -> dict:
    """The rows of the table of models, blend first, and the bar chart."""
    rows: list[dict[str, Any]] = [{"name": BLEND, "score": context.blend.score, "run": None, "record": None}]
    rows += [
        {"name": run.name, "score": context.scores[run.name], "run": run, "record": context.records[run.name]}
        for run in context.ranked
    ]
    for row in rows:
        row["precision"] = context.evaluations[row["name"]].precision_macro if context.has_classes else None
    names = [row["name"] for row in rows]
    scores = [row["score"] for row in rows]
    values, lows, highs = np.array([(score.value, score.low, score.high) for score in scores]).T
    said = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))
    alt = f"Bar chart of {context.metric.title} on validation by model, with 95 % intervals: {said}"
    figure = figures.comparison(context.metric, names, values, lows, highs)
    return {
        "rows": rows,
        "others": other_metrics(context.metric),
        "figure": figure_folder.add("comparison", figure, alt),
    }
