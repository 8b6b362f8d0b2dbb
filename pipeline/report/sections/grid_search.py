"""What grid searches tried, and what it scored."""

from pipeline.report import figures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.run_record import SCORE, Grid
from pipeline.report.section import Section


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    tables = grids(context, figure_folder)
    return Section("tried", "Grid search", "grid_search.html.j2", {"grids": tables}) if tables else None


def grids(context: ReportContext, figure_folder: FigureFolder) -> list[dict]:
    """The tables of all grid searches, each with a figure if it has enough points for a curve."""
    tables = []
    for name, record in context.records.items():
        for grid in record.grids:
            title = name if grid.fold is None else f"{name}, fold {grid.fold}"
            tables.append({"title": title, "grid": grid, "figure": _grid_curve(name, title, grid, figure_folder)})
    return tables


def _grid_curve(name: str, title: str, grid: Grid, figure_folder: FigureFolder) -> EmbeddedImage | None:
    if grid.axis is None:
        return None
    best, measured = grid.rows[grid.best], grid.metric.title
    alt = f"{measured} of {title} on validation over {grid.axis}; best value {best[SCORE]:.3f} at {best[grid.axis]}"
    suffix = "" if grid.fold is None else f"-fold-{grid.fold}"
    heading = f"{measured[0].upper()}{measured[1:]} over {grid.axis}: {title}"
    figure = figures.score_over(grid.metric, grid.axis, grid.curves(grid.axis), heading)
    return figure_folder.add(f"{name}-grid{suffix}", figure, alt)
