"""The score, and what the blend consists of."""

from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.section import Section


def section(context: ReportContext, figure_folder: FigureFolder) -> Section:
    return Section("summary", "Summary", "summary.html.j2", {})
