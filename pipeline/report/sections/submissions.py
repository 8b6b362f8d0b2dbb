"""What was submitted before: validation beside the public score."""

from pipeline.report import figures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if not context.sent:
        return None
    return Section("sent", "Submissions", "submissions.html.j2", {"figure": _compared(context, figure_folder)})


def _compared(context: ReportContext, figure_folder: FigureFolder) -> EmbeddedImage | None:
    """Validation against the public score, of all submissions that have both by the competition's metric."""
    measured = [each for each in context.sent if each.has_both_scores and each.metric == context.metric.name]
    if not measured:
        return None
    figure = figures.against_public(context.metric, measured)
    within = sum(each.lies_within for each in measured)
    said = "; ".join(f"{each.validation:.4f} and {each.public:.4f}" for each in measured)
    alt = (
        f"{context.metric.title} on validation against the public score of {len(measured)} submissions, of which "
        f"{within} lie in the interval of validation: {said}"
    )
    return figure_folder.add("submissions", figure, alt)
