"""The answers of the blend."""

from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.model_details import model_details
from pipeline.report.section import Section


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if not context.has_classes:
        return None
    return Section("blend", "The blend", "blend.html.j2", {"blend": model_details(BLEND, context, figure_folder)})
