"""The map: a sample of all images in the plane, coloured by class, by mistake and by split."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.data.fitting import fitted
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import FigureFolder, embedded_webp
from pipeline.report.map_colours import Colouring, by_class, by_mistake, by_split
from pipeline.report.mistakes import Answer, surest_mistakes
from pipeline.report.plane import Sample, in_plane, principal, sample
from pipeline.report.section import Section

FEWEST = 100  # images; of fewer there is no map
THUMBNAIL, ACROSS = 32, 50  # pixels a side; thumbnails in a row of their sheet
QUALITY = 50  # of the sheet, as WebP
NEIGHBOURS = 10  # that are compared with an image
APART = 1.25  # times as many neighbours of the own split as by chance


@dataclass(frozen=True)
class Point:
    """A point of the map. x, y: in per cent of its sides; left, top: of its thumbnail in the sheet, in thumbnails.

    told: what is said of it; marks: its CSS classes: its split, the side its picture opens to, and its colours.
    """

    x: float
    y: float
    left: int
    top: int
    told: str
    marks: str


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if len(context.train) + len(context.validation) + len(context.competition.test) < FEWEST:
        return None
    found = sample(context)
    parts = principal(found.features)
    places, method = in_plane(parts)
    colourings = [by_class(found, context), by_mistake(found, context), by_split(found)]
    content = {
        "points": _points(found, places, colourings, context),
        "colourings": colourings,
        "sheet": _sheet(found.images),
        "across": min(ACROSS, len(found.rows)),
        "method": method,
        "source": found.source,
        "told": [line for line in (_alike(found, parts, colourings[0], context), _mixed(found, parts)) if line],
    }
    return Section("map", "The map", "map.html.j2", content)


def _points(found: Sample, places: np.ndarray, colourings: list[Colouring], context: ReportContext) -> list[Point]:
    """The points, wrong ones last, so that they lie above the others."""
    splits = {"train": context.train, "validation": context.validation, "test": context.competition.test}
    answers = {each.row: each for each in surest_mistakes(context, len(context.validation))}
    points = []
    for number, (split, row, (x, y)) in enumerate(zip(found.splits, found.rows.tolist(), places, strict=True)):
        top, left = divmod(number, ACROSS)
        told = f"{splits[split].ids[row]}, {split}: {_told(split, row, colourings[0].names[number], answers)}"
        colours = [f"{letter}{each.groups[number]}" for letter, each in zip("abc", colourings, strict=True)]
        marks = " ".join([split[:2], *(["left"] if x > 0.5 else []), *colours])
        points.append(Point(100 * x, 100 * (1 - y), left, top, told, marks))
    order = np.argsort(-colourings[1].groups, kind="stable")
    return [points[place] for place in order]


def _told(split: str, row: int, name: str, answers: dict[int, Answer]) -> str:
    if split == "validation" and row in answers:
        return f"{answers[row].truth} → {answers[row].said} {answers[row].note}"
    return f"{name}{' (predicted)' if split == 'test' else ''}"


def _sheet(images: np.ndarray) -> str:
    """All images as one picture, as a data URI."""
    rows = -(-len(images) // ACROSS)
    page = np.full((rows * THUMBNAIL, min(ACROSS, len(images)) * THUMBNAIL, 3), 255, np.uint8)
    for number, image in enumerate(images):
        top, left = (THUMBNAIL * place for place in divmod(number, ACROSS))
        page[top : top + THUMBNAIL, left : left + THUMBNAIL] = fitted(image, (THUMBNAIL, THUMBNAIL), "pad")
    return embedded_webp(Image.fromarray(page), QUALITY)


def _alike(found: Sample, parts: np.ndarray, classes: Colouring, context: ReportContext) -> str:
    """How many labelled images lie among their own class; empty if there are no classes, or few images of each."""
    names, labelled = np.array(classes.names), np.flatnonzero(found.splits != "test")
    if not context.has_classes or len(labelled) < NEIGHBOURS * len(set(names[labelled])):
        return ""
    own = (names[labelled][neighbours(parts[labelled])] == names[labelled][:, None]).mean(axis=1)
    return f"{100 * (own > 0.5).mean():.0f} % of the labelled images lie mostly among images of their own class."


def _mixed(found: Sample, parts: np.ndarray) -> str:
    """Whether test images lie among the others."""
    is_test = found.splits == "test"
    if not 0 < is_test.sum() < len(is_test):
        return ""
    own, chance = is_test[neighbours(parts)[is_test]].mean(), (is_test.sum() - 1) / (len(is_test) - 1)
    verdict = "unlike" if own > APART * chance else "like"
    return (
        f"Of the {min(NEIGHBOURS, len(parts) - 1)} nearest neighbours of a test image, {100 * own:.0f} % are test "
        f"images (by chance {100 * chance:.0f} %): they look {verdict} the labelled ones."
    )


def neighbours(parts: np.ndarray) -> np.ndarray:
    """The places of the nearest others of each row, int64 ``[N, at most NEIGHBOURS]``."""
    from sklearn.neighbors import NearestNeighbors  # here, since the import is slow

    return NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(parts) - 1)).fit(parts).kneighbors(return_distance=False)
