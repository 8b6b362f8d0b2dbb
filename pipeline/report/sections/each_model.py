"""The answers of each model."""

from competition.progress import Progress
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.model_details import model_details
from pipeline.report.section import Section


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if not context.has_classes:
        return None
    models = Progress([run.name for run in context.ranked], desc="report", unit="model")
    details = [model_details(name, context, figure_folder) for name in models]
    return Section("each", "Each model", "each_model.html.j2", {"models": details})
