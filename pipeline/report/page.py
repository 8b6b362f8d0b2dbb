"""The report beside a submission: measured, drawn, and laid out as one HTML file that loads nothing."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from tqdm import tqdm

from pipeline.report import figures, pictures
from pipeline.report.context import BLEND, Answers
from pipeline.report.evaluation import Evaluation
from pipeline.report.figure_folder import Album, Picture
from pipeline.report.run_record import Grid
from pipeline.runtime.files import written

TEMPLATE = Path(__file__).with_name("report.html.j2")
MISTAKES, RIGHT = 12, 6  # images shown of a model's answers
COLUMNS = 6  # of these
WORST_PAIRS, WORST_CURVES = 10, 5
SHEETS = ((10, 8, 1), (40, 4, 2), (math.inf, 2, 6))  # classes at most: images of each, and classes side by side
MOST_SIZES = 5


def write_report(answers: Answers) -> Path:
    """Write ``report.html`` beside the submission, and every figure as a PNG into ``report/``. Returns the page."""
    folder = answers.submission.parent
    album = Album(folder / "report")
    models = tqdm(answers.evaluations, desc="report", unit="model", leave=False)
    with figures.style():
        content = {
            "answers": answers,
            "comparison": compared(answers, album),
            "models": [model_details(name, answers, album) for name in models],
            "networks": training_curves(answers, album),
            "grids": grids(answers, album),
            "exploration": explored(answers, album),
        }
    album.close()
    page = folder / "report.html"
    with written(page) as path:
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
    """A number with its thousands parted, or a dash where nothing was measured."""
    return "–" if value is None or not np.isfinite(value) else f"{value:,.{digits}f}"


def compared(answers: Answers, album: Album) -> dict:
    """The rows of the table of models, the blend first, and their bars."""
    rows = [{"name": BLEND, "score": answers.blend.score, "run": None, "record": None}]
    rows += [
        {"name": run.model, "score": run.score, "run": run, "record": answers.records[run.model]}
        for run in answers.ranked
    ]
    for row in rows:
        row["precision"] = answers.evaluations[row["name"]].precision_macro
    names = [row["name"] for row in rows]
    scores = [row["score"] for row in rows]
    accuracies, lows, highs = np.array([(score.accuracy, score.low, score.high) for score in scores]).T
    values = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in zip(names, accuracies, strict=True))
    alt = f"Bar chart of the models' validation accuracy with 95 % intervals: {values}"
    return {"rows": rows, "figure": album.add("comparison", figures.comparison(names, accuracies, lows, highs), alt)}


def model_details(name: str, answers: Answers, album: Album) -> dict:
    """Everything about the answers of one model on validation."""
    evaluation, names = answers.evaluations[name], answers.class_names
    columns = (evaluation.support, evaluation.precision, evaluation.recall, evaluation.f1, evaluation.auc)
    pairs = evaluation.worst_confusions(WORST_PAIRS)
    return {
        "name": name,
        "confusion": _confusion(name, evaluation, answers, album),
        "classes": list(zip(names, *columns, strict=True)),
        "pairs": [(names[pair.true], names[pair.predicted], pair.count, pair.share) for pair in pairs],
        "roc": _roc(name, evaluation, answers, album),
        "auc_macro": float(np.nanmean(evaluation.auc)) if np.isfinite(evaluation.auc).any() else None,
        "images": _answered_images(name, evaluation, answers, album),
    }


def _confusion(name: str, evaluation: Evaluation, answers: Answers, album: Album) -> Picture:
    figure = figures.confusion(evaluation.confusion, answers.drawn_names, f"Confusion matrix: {name}")
    right = int(evaluation.confusion.trace())
    alt = f"Confusion matrix of {name}: {right:,} of {len(evaluation.labels):,} images lie on the diagonal"
    return album.add(f"{name}-confusion", figure, alt)


def _roc(name: str, evaluation: Evaluation, answers: Answers, album: Album) -> Picture | None:
    """The mean curve, then those of all classes or, of many, of the worst ones; None where none can be drawn."""
    measured = np.flatnonzero(np.isfinite(evaluation.auc))
    if len(measured) == 0:
        return None
    shown = measured
    if evaluation.classes > figures.MOST_ROC:
        shown = measured[np.argsort(evaluation.auc[measured], kind="stable")][:WORST_CURVES]
    legends = [f"{figures.short(answers.drawn_names[label], 24)}: {evaluation.auc[label]:.3f}" for label in shown]
    legends = [f"mean of all classes: AUC {np.nanmean(evaluation.auc):.3f}", *legends]
    curves = [evaluation.macro_roc(), *(evaluation.roc(label) for label in shown)]
    which = "every class" if len(shown) == evaluation.classes else f"the {len(shown)} classes of lowest AUC"
    figure = figures.roc(legends, curves, f"One-versus-rest ROC: {name}")
    alt = f"One-versus-rest ROC curves of {name}: the mean of all classes, and {which}; {'; '.join(legends)}"
    return album.add(f"{name}-roc", figure, alt)


def _answered_images(name: str, evaluation: Evaluation, answers: Answers, album: Album) -> Picture:
    mistakes = evaluation.surest_mistakes(MISTAKES)
    right = evaluation.some_right(RIGHT + MISTAKES - len(mistakes))
    rows, names = np.concatenate([mistakes, right]), answers.drawn_names
    captions = [
        f"{names[evaluation.labels[row]]}\n→ {names[winner]}\n{evaluation.probabilities[row, winner]:.0%} sure"
        for row, winner in zip(rows, evaluation.winners[rows], strict=True)
    ]
    colours = [figures.RED] * len(mistakes) + [figures.GREEN] * len(right)
    title = f"{name}: {len(mistakes)} surest mistakes, {len(right)} right"
    tiles = pictures.tiles([answers.validation.paths[row] for row in rows], figures.tile_side(COLUMNS))
    figure = figures.contact_sheet(tiles, captions, title, COLUMNS, colours)
    said = "; ".join(caption.replace("\n", " ") for caption in captions)
    return album.add(f"{name}-images", figure, f"Validation images, true → predicted class: {said}", photographs=True)


def training_curves(answers: Answers, album: Album) -> list[Picture]:
    drawn = []
    for name, record in answers.records.items():
        if record.histories:
            figure = figures.training(record.histories, f"Training of {name}")
            best = max(history["validation_accuracy"].max() for history in record.histories)
            epochs = max(len(history["epoch"]) for history in record.histories)
            alt = (
                f"Loss, accuracy and learning rate of {name} over {epochs} epochs; "
                f"the highest validation accuracy of an epoch is {best:.3f}"
            )
            drawn.append(album.add(f"{name}-training", figure, alt))
    return drawn


def grids(answers: Answers, album: Album) -> list[dict]:
    """The tables of what models tried, with a curve where a number was tried often enough."""
    tables = []
    for name, record in answers.records.items():
        for grid in record.grids:
            title = name if grid.fold is None else f"{name}, fold {grid.fold}"
            tables.append({"title": title, "grid": grid, "figure": _grid_curve(name, title, grid, album)})
    return tables


def _grid_curve(name: str, title: str, grid: Grid, album: Album) -> Picture | None:
    if grid.axis is None:
        return None
    best = grid.rows[grid.best]
    alt = f"Validation accuracy of {title} over {grid.axis}; the best is {best['accuracy']:.3f} at {best[grid.axis]}"
    suffix = "" if grid.fold is None else f"-fold-{grid.fold}"
    figure = figures.accuracy_over(grid.axis, grid.curves(grid.axis), f"Accuracy over {grid.axis}: {title}")
    return album.add(f"{name}-grid{suffix}", figure, alt)


def explored(answers: Answers, album: Album) -> dict:
    """What the data look like: images of each class, counts, channels and sizes of each split."""
    splits = {"train": answers.train, "validation": answers.validation, "test": answers.competition.test}
    looks = {name: pictures.look_at(split.paths) for name, split in splits.items() if len(split)}
    means, deviations = ({name: getattr(look, key) for name, look in looks.items()} for key in ("mean", "deviation"))
    said = "; ".join(f"{name} {', '.join(f'{value:.0f}' for value in mean)}" for name, mean in means.items())
    return {
        "images": _images_of_classes(answers, album),
        "counts": _class_counts(answers, album),
        "channels": album.add("channels", figures.channels(means, deviations), f"Means of red, green and blue: {said}"),
        "looks": looks,
        "sizes": {name: _sizes(look.sizes) for name, look in looks.items()},
    }


def _class_counts(answers: Answers, album: Album) -> Picture:
    classes = len(answers.competition.classes)
    labels = {
        "train": answers.train.labels,
        "validation": answers.validation.labels,
        "test, as predicted": answers.submitted.winners,
    }
    counts = {name: np.bincount(each, minlength=classes) for name, each in labels.items() if len(each)}
    said = "; ".join(f"{name} {each.min():,} to {each.max():,}" for name, each in counts.items())
    return album.add("class-counts", figures.class_counts(counts, answers.drawn_names), f"Images of each class: {said}")


def _images_of_classes(answers: Answers, album: Album) -> Picture:
    """Random training images: of few classes a row each, of many a dense sheet."""
    names = answers.drawn_names
    split = answers.train if len(answers.train) else answers.validation
    across, columns = next(sheet[1:] for sheet in SHEETS if len(names) <= sheet[0])
    drawn = pictures.drawn_by_class(split.labels, len(names), across)
    side = figures.tile_side(columns) // across
    strips = np.stack([pictures.strip([split.paths[row] for row in rows], across, side) for rows in drawn])
    figure = figures.contact_sheet(strips, names, f"Random images of each of the {len(names)} classes", columns)
    alt = f"Random images of each class: {', '.join(names)}"
    return album.add("class-images", figure, alt, photographs=True)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """The most frequent sizes, each with its number of images, and how many others there are."""
    common = [f"{width} × {height}: {count:,}" for (height, width), count in sizes.most_common(MOST_SIZES)]
    others = len(sizes) - len(common)
    return "; ".join(common) + (f"; {others:,} further sizes" if others else "")
