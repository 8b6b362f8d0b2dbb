"""What the images look like: some of each class, class counts, sizes and colours of each split."""

from collections import Counter

import numpy as np

from pipeline.report import figures, pictures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.evaluation import MOST_SHOWN
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

SHEETS = ((10, 8, 1), (20, 4, 2), (MOST_SHOWN, 3, 3))  # (classes at most, images of each class, columns)
MOST_SIZES = 5


def section(context: ReportContext, figure_folder: FigureFolder) -> Section:
    return Section("data", "The data", "data.html.j2", {"exploration": explored(context, figure_folder)})


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
    """Random training images: one row for each class if there are few classes, otherwise two classes in a row."""
    classes = len(context.drawn_names)
    shown = context.evaluations[BLEND].worst_classes(MOST_SHOWN) if classes > MOST_SHOWN else np.arange(classes)
    names = [context.drawn_names[label] for label in shown]
    split = context.train if len(context.train) else context.validation
    across, columns = next(sheet[1:] for sheet in SHEETS if len(names) <= sheet[0])
    drawn = pictures.drawn_by_class(split.known_labels, shown.tolist(), across)
    side = figures.tile_side(columns) // across
    strips = np.stack([pictures.strip([split.paths[row] for row in rows], across, side) for rows in drawn])
    which = f"the {classes} classes" if len(shown) == classes else f"the {len(shown)} classes with the lowest F1"
    figure = figures.contact_sheet(strips, names, f"Random images of {which}", columns)
    alt = f"Random images of {which}: {', '.join(names)}"
    return figure_folder.add("class-images", figure, alt, photographs=True)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """Text: the most frequent sizes with their numbers of images, and the number of other sizes."""
    common = [f"{width} × {height}: {count:,}" for (height, width), count in sizes.most_common(MOST_SIZES)]
    others = len(sizes) - len(common)
    return "; ".join(common) + (f"; {others:,} other sizes" if others else "")
