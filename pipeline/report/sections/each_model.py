"""The answers of each model."""

import time

from competition.progress import Progress
from pipeline.report.context import MOST_DETAILED, ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.model_details import model_details
from pipeline.report.section import Section

SHARE = 0.5  # of the processor's time that the report may take; the remaining models, not as good, are left out


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if not context.has_classes:
        return None
    details: list[dict] = []
    left_out: list[str] = []
    end = time.process_time() + SHARE * context.drawing_seconds
    for run in Progress(context.ranked, desc="report", unit="model"):
        if len(details) < MOST_DETAILED and time.process_time() < end:
            details.append(model_details(run.name, context, figure_folder))
        else:
            left_out.append(run.name)
    return Section("each", "Each model", "each_model.html.j2", {"models": details, "left_out": left_out})
