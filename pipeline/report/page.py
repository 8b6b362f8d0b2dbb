"""Write the report beside a submission: one HTML file with all figures embedded, which loads nothing else."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from competition.progress import Progress
from competition.storage import atomic_write
from pipeline.report import figures, pictures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.evaluation import Evaluation
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.files import FIGURES, PAGE
from pipeline.report.run_record import SCORE, Grid
from pipeline.training.scores import other_metrics

TEMPLATE = Path(__file__).with_name("report.html.j2")
MISTAKES, RIGHT = 12, 6  # images shown of each model: wrong and correct predictions
COLUMNS = 6  # of these images
WORST_PAIRS, WORST_CURVES = 10, 5
SHEETS = ((10, 8, 1), (40, 4, 2), (math.inf, 2, 6))  # (classes at most, images of each class, columns)
MOST_PICTURED = 600  # classes: WebP allows no picture higher than 16,383 pixels
MOST_SIZES = 5


def write_report(context: ReportContext) -> Path:
    """Write ``report.html`` beside the submission and its figures as PNG files into ``report/``. Returns its path."""
    folder = context.submission.parent
    figure_folder = FigureFolder(folder / FIGURES)
    models = Progress(context.evaluations if context.has_classes else (), desc="report", unit="model")
    with figures.style():
        content = {
            "context": context,
            "comparison": compared(context, figure_folder),
            "models": [model_details(name, context, figure_folder) for name in models],
            "networks": training_curves(context, figure_folder),
            "grids": grids(context, figure_folder),
            "exploration": explored(context, figure_folder),
        }
    figure_folder.close()
    page = folder / PAGE
    with atomic_write(page) as path:
        path.write_text(_template().render(content), encoding="utf-8")
    return page


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["measure"] = measure
    return environment.get_template(TEMPLATE.name)


def measure(value: float | None, digits: int = 3) -> str:
    """A number with thousands separators, or a dash if it is None, nan or infinite."""
    return "–" if value is None or not np.isfinite(value) else f"{value:,.{digits}f}"


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


def model_details(name: str, context: ReportContext, figure_folder: FigureFolder) -> dict:
    """The evaluation of one model on the validation images: tables and figures."""
    evaluation, names = context.evaluations[name], context.class_names
    columns = (evaluation.support, evaluation.precision, evaluation.recall, evaluation.f1, evaluation.auc)
    pairs = evaluation.worst_confusions(WORST_PAIRS)
    return {
        "name": name,
        "confusion": _confusion(name, evaluation, context, figure_folder),
        "classes": list(zip(names, *columns, strict=True)),
        "pairs": [(names[pair.true], names[pair.predicted], pair.count, pair.share) for pair in pairs],
        "roc": _roc(name, evaluation, context, figure_folder),
        "auc_macro": float(np.nanmean(evaluation.auc)) if np.isfinite(evaluation.auc).any() else None,
        "images": _answered_images(name, evaluation, context, figure_folder),
    }


def _confusion(name: str, evaluation: Evaluation, context: ReportContext, figure_folder: FigureFolder) -> EmbeddedImage:
    counts = evaluation.confusion(figures.MOST_CELLS)
    step = -(-evaluation.classes // len(counts))
    title = f"Confusion matrix: {name}" if step == 1 else f"{name}: a cell is {step} x {step} classes"
    figure = figures.confusion(counts, context.drawn_names[::step], title)
    right, images = evaluation.right, len(evaluation.labels)
    alt = f"Confusion matrix of {name}: {right:,} of {images:,} images are classified correctly"
    return figure_folder.add(f"{name}-confusion", figure, alt)


def _roc(
    name: str, evaluation: Evaluation, context: ReportContext, figure_folder: FigureFolder
) -> EmbeddedImage | None:
    """The mean ROC curve and those of all classes, or of the worst ones if there are many; None if none is defined."""
    measured = np.flatnonzero(np.isfinite(evaluation.auc))
    if len(measured) == 0:
        return None
    shown = measured
    if evaluation.classes > figures.MOST_ROC:
        shown = measured[np.argsort(evaluation.auc[measured], kind="stable")][:WORST_CURVES]
    legends = [f"{figures.short(context.drawn_names[label], 24)}: {evaluation.auc[label]:.3f}" for label in shown]
    legends = [f"mean of all classes: AUC {np.nanmean(evaluation.auc):.3f}", *legends]
    curves = [evaluation.macro_roc(), *(evaluation.roc(label) for label in shown.tolist())]
    which = "every class" if len(shown) == evaluation.classes else f"the {len(shown)} classes with the lowest AUC"
    figure = figures.roc(legends, curves, f"One-versus-rest ROC: {name}")
    alt = f"One-versus-rest ROC curves of {name}: the mean of all classes, and {which}; {'; '.join(legends)}"
    return figure_folder.add(f"{name}-roc", figure, alt)


def _answered_images(
    name: str, evaluation: Evaluation, context: ReportContext, figure_folder: FigureFolder
) -> EmbeddedImage:
    mistakes = evaluation.surest_mistakes(MISTAKES)
    right = evaluation.some_right(RIGHT + MISTAKES - len(mistakes))
    rows, names = np.concatenate([mistakes, right]), context.drawn_names
    captions = [
        f"{names[evaluation.labels[row]]}\n→ {names[winner]}\n{evaluation.probabilities[row, winner]:.0%}"
        for row, winner in zip(rows, evaluation.predicted_labels[rows], strict=True)
    ]
    colours = [figures.RED] * len(mistakes) + [figures.GREEN] * len(right)
    title = f"{name}: {len(mistakes)} worst mistakes, {len(right)} correct"
    tiles = pictures.tiles([context.validation.paths[row] for row in rows], figures.tile_side(COLUMNS))
    figure = figures.contact_sheet(tiles, captions, title, COLUMNS, colours)
    said = "; ".join(caption.replace("\n", " ") for caption in captions)
    return figure_folder.add(
        f"{name}-images", figure, f"Validation images, true → predicted class: {said}", photographs=True
    )


def training_curves(context: ReportContext, figure_folder: FigureFolder) -> list[EmbeddedImage]:
    drawn = []
    for name, record in context.records.items():
        if record.histories:
            figure = figures.training(record.histories, f"Training of {name}")
            best = max(history["validation_accuracy"].max() for history in record.histories)
            epochs = max(len(history["epoch"]) for history in record.histories)
            alt = (
                f"Loss, accuracy and learning rate of {name} over {epochs} epochs; "
                f"the highest validation accuracy of an epoch is {best:.3f}"
            )
            drawn.append(figure_folder.add(f"{name}-training", figure, alt))
    return drawn


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


def explored(context: ReportContext, figure_folder: FigureFolder) -> dict:
    """An overview of the data: images of each class, class counts, channel means and image sizes of each split."""
    splits = {"train": context.train, "validation": context.validation, "test": context.competition.test}
    stats = {name: pictures.image_stats(split.paths) for name, split in splits.items() if len(split)}
    means, stds = ({name: getattr(each, key) for name, each in stats.items()} for key in ("mean", "std"))
    said = "; ".join(f"{name} {', '.join(f'{value:.0f}' for value in mean)}" for name, mean in means.items())
    return {
        "images": _images_of_classes(context, figure_folder) if context.has_classes else None,
        "counts": _class_counts(context, figure_folder) if context.has_classes else None,
        "channels": figure_folder.add(
            "channels", figures.channels(means, stds), f"Mean values of red, green and blue in each split: {said}"
        ),
        "stats": stats,
        "sizes": {name: _sizes(each.sizes) for name, each in stats.items()},
    }


def _class_counts(context: ReportContext, figure_folder: FigureFolder) -> EmbeddedImage:
    classes = len(context.competition.classes)
    labels = {
        "train": context.train.known_labels,
        "validation": context.validation.known_labels,
        "test (predicted)": context.submitted.predicted_labels,
    }
    counts = {name: np.bincount(each, minlength=classes) for name, each in labels.items() if len(each)}
    said = "; ".join(f"{name} {each.min():,} to {each.max():,}" for name, each in counts.items())
    return figure_folder.add(
        "class-counts", figures.class_counts(counts, context.drawn_names), f"Number of images of each class: {said}"
    )


def _images_of_classes(context: ReportContext, figure_folder: FigureFolder) -> EmbeddedImage:
    """Random training images: one row for each class if there are few classes, several classes in a row otherwise."""
    classes = len(context.drawn_names)
    shown = range(0, classes, -(-classes // MOST_PICTURED))
    names = [context.drawn_names[label] for label in shown]
    split = context.train if len(context.train) else context.validation
    across, columns = next(sheet[1:] for sheet in SHEETS if len(names) <= sheet[0])
    drawn = pictures.drawn_by_class(split.known_labels, shown, across)
    side = figures.tile_side(columns) // across
    strips = np.stack([pictures.strip([split.paths[row] for row in rows], across, side) for rows in drawn])
    which = f"the {classes}" if len(shown) == classes else f"{len(shown)} of {classes:,}"
    figure = figures.contact_sheet(strips, names, f"Random images of {which} classes", columns)
    alt = f"Random images of each class: {', '.join(names)}"
    return figure_folder.add("class-images", figure, alt, photographs=True)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """Text: the most frequent sizes with their numbers of images, and the number of other sizes."""
    common = [f"{width} × {height}: {count:,}" for (height, width), count in sizes.most_common(MOST_SIZES)]
    others = len(sizes) - len(common)
    return "; ".join(common) + (f"; {others:,} other sizes" if others else "")
