"""One model's answers to the validation images, class by class: tables and figures."""

import numpy as np

from pipeline.report import figures, pictures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.evaluation import MOST_SHOWN, Evaluation
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder

MISTAKES, RIGHT = 12, 6  # images shown of each model: wrong and correct predictions
COLUMNS = 6  # of these images
WORST_PAIRS, WORST_CURVES = 10, 5


def model_details(name: str, context: ReportContext, figure_folder: FigureFolder) -> dict:
    """The evaluation of one model on the validation images: tables and figures."""
    evaluation, names = context.evaluations[name], context.class_names
    columns = (evaluation.support, evaluation.precision, evaluation.recall, evaluation.f1, evaluation.auc)
    listed = evaluation.worst_classes(evaluation.classes if name == BLEND else MOST_SHOWN)
    pairs = evaluation.worst_confusions(WORST_PAIRS)
    return {
        "name": name,
        "confusion": _confusion(name, evaluation, context, figure_folder),
        "classes": [(names[label], *(column[label] for column in columns)) for label in listed],
        "pairs": [(names[pair.true], names[pair.predicted], pair.count, pair.share) for pair in pairs],
        "roc": _roc(name, evaluation, context, figure_folder),
        "auc_macro": float(np.nanmean(evaluation.auc)) if np.isfinite(evaluation.auc).any() else None,
        "images": _answered_images(name, evaluation, context, figure_folder),
    }


def _confusion(name: str, evaluation: Evaluation, context: ReportContext, figure_folder: FigureFolder) -> EmbeddedImage:
    shown, title, which = np.arange(evaluation.classes), f"Confusion matrix: {name}", ""
    if evaluation.classes > MOST_SHOWN:
        shown = evaluation.most_confused(MOST_SHOWN)
        title, which = f"{name}: the {MOST_SHOWN} most confused classes", f", the {MOST_SHOWN} most confused classes"
    names = [context.drawn_names[label] for label in shown]
    figure = figures.confusion(evaluation.confusion(shown), names, title)
    right, images = evaluation.right, len(evaluation.labels)
    alt = f"Confusion matrix of {name}{which}: {right:,} of {images:,} images are classified correctly"
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
