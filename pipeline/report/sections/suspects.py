"""Labels under suspicion: the worst of them with their pictures, and the training pictures most like each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.layouts import label_cells
from competition.task import Task
from competition.wording import printable
from pipeline.data.training_data import labelled_images
from pipeline.findings.finding import FOLDER
from pipeline.findings.suspects import BETWEEN, KIND, NEAREST, PROBABILITY, SAID
from pipeline.report import figures, pictures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

DRAWN, LISTED = 16, 100  # suspects at most, as pictures and in the table
COLUMNS, ACROSS = 2, 4  # suspects side by side, and pictures of each: its own and those that are like it


@dataclass(frozen=True)
class Suspect:
    """A label under suspicion.

    probability: of what the models say, as text; empty for numbers.
    nearest: the ids and labels of the training pictures most like it. paths: of its picture and of these.
    """

    id: str
    label: str
    said: str
    probability: str
    nearest: tuple[tuple[str, str], ...]
    paths: tuple[Path, ...]


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    """None if no label is suspected."""
    found = next((each for each in context.findings if each.kind == KIND), None)
    rows = suspects_in(found.table, context) if found else []
    if not rows:
        return None
    path = Path("runs", context.competition.name, FOLDER, f"{KIND}.csv").as_posix()
    content = {"rows": rows[:LISTED], "count": len(rows), "path": path}
    content["figure"] = drawn(rows[:DRAWN], figure_folder)
    return Section("suspects", "Labels under suspicion", "suspects.html.j2", content)


def suspects_in(table: pd.DataFrame, context: ReportContext) -> list[Suspect]:
    """The rows of the finding's table, without labels that have been corrected in it."""
    split, task = labelled_images(context.competition), context.competition.task
    places = {name: row for row, name in enumerate(split.ids)}
    table = table[table["id"].isin(places)]
    labels = spelled(task, split.known_labels[[places[name] for name in table["id"]]])
    written = table.loc[:, "id":SAID].iloc[:, 1:-1].agg(", ".join, axis=1)
    found = []
    for row, label in zip(table[written == labels].to_dict("records"), written[written == labels], strict=True):
        near = [places[name] for name in row[NEAREST].split(BETWEEN) if name in places]
        nearest = zip((split.ids[each] for each in near), spelled(task, split.known_labels[near]), strict=True)
        paths = tuple(split.paths[each] for each in (places[row["id"]], *near))
        sure = f"{float(row[PROBABILITY]):.0%}" if row[PROBABILITY] else ""
        found.append(Suspect(row["id"], label, row[SAID], sure, tuple(nearest), paths))
    return found


def spelled(task: Task, labels: np.ndarray) -> list[str]:
    """The labels of each image as text."""
    return [", ".join(cells) for cells in zip(*label_cells(task, labels).values(), strict=True)]


def drawn(rows: list[Suspect], figure_folder: FigureFolder) -> EmbeddedImage:
    """The picture of each suspect, and beside it those that are like it."""
    side = figures.tile_side(COLUMNS) // ACROSS
    strips = np.stack([pictures.strip(row.paths, ACROSS, side) for row in rows])
    captions = [f"{shown(row.id)}\n{shown(row.label)} → {shown(row.said)} {row.probability}" for row in rows]
    figure = figures.contact_sheet(strips, captions, "Suspects, and the training pictures most like each", COLUMNS)
    said = "; ".join(f"{printable(row.id)}: {printable(row.label)} → {printable(row.said)}" for row in rows)
    alt = f"Images whose labels the models contradict, each beside the training pictures most like it: {said}"
    return figure_folder.add("suspects", figure, alt, photographs=True)


def shown(name: str) -> str:
    """The name, if the figures' font can draw it."""
    return printable(name) if figures.can_draw(name) else "(see the table)"
