"""Write the report beside a submission: one HTML file with all figures embedded, which loads nothing else."""

from pathlib import Path

from markupsafe import Markup

from competition.storage import atomic_write
from pipeline.report import figures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.files import FIGURES, PAGE
from pipeline.report.rendering import environment
from pipeline.report.section import Section
from pipeline.report.sections import (
    blend,
    calibration,
    data,
    decision,
    each_model,
    findings,
    grades,
    grid_search,
    labels,
    looked_at,
    map,
    members,
    mistakes,
    models,
    numbers,
    rankings,
    submissions,
    summary,
    suspects,
    targets,
    training,
)

SECTIONS = (  # in the page's order; each one gives None if it has nothing to show
    summary.section,
    findings.section,
    mistakes.section,
    suspects.section,
    looked_at.section,
    labels.section,
    grades.section,
    numbers.section,
    targets.section,
    rankings.section,
    decision.section,
    calibration.section,
    models.section,
    members.section,
    blend.section,
    map.section,
    each_model.section,
    training.section,
    grid_search.section,
    data.section,
    submissions.section,
)


def write_report(context: ReportContext) -> Path:
    """Write ``report.html`` beside the submission and its figures as PNG files into ``report/``. Returns its path."""
    folder = context.submission.parent
    figure_folder = FigureFolder(folder / FIGURES)
    with figures.style():
        made = [section(context, figure_folder) for section in SECTIONS]
    figure_folder.close()
    page = folder / PAGE
    with atomic_write(page) as path:
        path.write_text(rendered(context, [section for section in made if section]), encoding="utf-8")
    return page


def rendered(context: ReportContext, sections: list[Section]) -> str:
    """The page as HTML."""
    templates = environment()
    titles = {section.anchor: section.title for section in sections}
    bodies = [
        Markup(templates.get_template(section.template).render(section.content, context=context, titles=titles))
        for section in sections
    ]
    page = templates.get_template("page.html.j2")
    return page.render(context=context, sections=list(zip(sections, bodies, strict=True)))
