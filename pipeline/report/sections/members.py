"""How the models differ: agreement, what each adds to the blend, cost against score, and fold by fold."""

import numpy as np

from pipeline.report import plots
from pipeline.report.agreement import agreement, closest, contributions
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.fold_rows import fold_rows
from pipeline.report.section import Section

FEWEST = 5  # images of a fold on which the metric is measured


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    names, shares = agreement(context)
    folds = fold_scores(context)
    if len(names) < 2 and not folds:
        return None
    content = {
        "agreement": _agreement(names, shares, context, figure_folder) if len(names) > 1 else None,
        "closest": closest(names, shares),
        "contributions": contributions(context),
        "cost": _cost(context, figure_folder) if len(names) > 1 else None,
        "most_by_name": plots.MOST_BY_NAME,
        "folds": folds,
        "folds_figure": _folds(folds, context, figure_folder) if folds else None,
    }
    return Section("members", "How the models differ", "members.html.j2", content)


def _agreement(names: list[str], shares: np.ndarray, context: ReportContext, folder: FigureFolder) -> EmbeddedImage:
    is_number = context.competition.task.kind == "continuous"
    title = "Correlation of the models' numbers" if is_number else "Share of images with the same answer"
    pairs = [(row, column) for row in range(len(names)) for column in range(row + 1, len(names))]
    said = "; ".join(f"{names[row]} and {names[column]} {shares[row, column]:.2f}" for row, column in pairs)
    return folder.add("agreement", plots.agreement(shares, names, title), f"{title}: {said}")


def _cost(context: ReportContext, folder: FigureFolder) -> EmbeddedImage:
    runs = context.ranked
    seconds, scores = np.array([(run.seconds, context.scores[run.name].value) for run in runs]).T
    said = "; ".join(f"{run.name} {score:.4f} in {run.seconds:.0f} s" for run, score in zip(runs, scores, strict=True))
    figure = plots.cost(context.metric, [run.name for run in runs], seconds, scores)
    return folder.add("cost", figure, f"{context.metric.title} of each model over the seconds that it took: {said}")


def fold_scores(context: ReportContext) -> dict[str, list[float]]:
    """The metric of each model that has folds, fold by fold, by name, best first."""
    labels = context.validation.known_labels
    found: dict[str, list[float]] = {}
    for run in context.ranked:
        folds, output = fold_rows(context, run.name), context.evaluations[run.name].probabilities
        if len(folds) > 1 and min(map(len, folds)) >= FEWEST:
            found[run.name] = [context.metric(output[rows], labels[rows]) for rows in folds]
    return found


def _folds(folds: dict[str, list[float]], context: ReportContext, folder: FigureFolder) -> EmbeddedImage:
    said = "; ".join(f"{name} {', '.join(f'{score:.4f}' for score in scores)}" for name, scores in folds.items())
    return folder.add("folds", plots.folds(context.metric, folds), f"{context.metric.title} of each fold: {said}")
