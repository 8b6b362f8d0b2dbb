"""Labels under suspicion: which they are, what the models say instead, and the most similar training pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from competition.errors import UserError
from competition.layouts import corrections_in, label_cells
from competition.metrics import LOG_LOSS
from competition.spec import Competition, Split
from competition.tables import read_table
from pipeline.data.training_data import labelled_images
from pipeline.ensemble.blend import select_blend
from pipeline.findings.confident_learning import Suspects, find_suspects
from pipeline.findings.finding import FOLDER, Finding
from pipeline.findings.nearest import Neighbours
from pipeline.training.runs import StoredRun

KIND = "suspects"
SAID, PROBABILITY, ODDS, NEAREST = "models_say", "probability", "odds", "nearest"  # columns beside the labels
BETWEEN = "; "  # ids of nearest pictures


def suspects(
    competition: Competition, runs: Mapping[str, StoredRun], folder: Path, cache_folder: Path, device: torch.device
) -> Finding:
    """The images whose labels the blend of the runs contradicts, worst first, as a table for ``read_corrections``.

    Its columns besides the ids and labels are what the models say, the probability and the odds of ``Suspects``, and
    the ids of the most similar training pictures. Judged are the images that were validated on, by as many runs as were
    validated on most of them. Rows of an earlier table that the user has corrected stay, at the end.

    runs: of the competition's present labels and images. folder: ``runs/NAME``. cache_folder: see ``open_cache``.
    """
    split, judges, path = labelled_images(competition), widest(runs), folder / FOLDER / f"{KIND}.csv"
    places = {name: row for row, name in enumerate(split.ids)}  # if an id is in both tables, the row of val counts
    judged = np.array([places[name] for name in next(iter(judges.values())).validated.ids])
    found = judge(judges, split, judged, competition)
    neighbours = Neighbours.of(runs.values(), split.paths, cache_folder, device)
    others = np.setdiff1d(np.arange(len(split)), judged)
    nearest = neighbours.nearest(found.rows, others if len(others) else judged)
    table = table_of(competition, split.take(found.rows), found, [[split.ids[row] for row in some] for some in nearest])
    table.insert(0, "split", np.where(found.rows < len(competition.train), "train", "val"))
    if (corrected := corrected_before(path, competition, table)) is None:
        return Finding(KIND, told(len(table), len(judged), len(split)), table)
    table = table[~table["id"].isin(corrected["id"])]
    return Finding(KIND, told(len(table), len(judged), len(split)), pd.concat([table, corrected]), True)


def judge(judges: Mapping[str, StoredRun], split: Split, judged: np.ndarray, competition: Competition) -> Suspects:
    """The suspects among the judged rows of the split, which are in the order in which the first judge validated them.

    The models of each fold are blended, and so calibrated, by themselves: one that has failed contradicts many labels.
    """
    task, parts = competition.task, next(iter(judges.values())).run.splits
    metric = LOG_LOSS.of(task) if LOG_LOSS.fits(task) else competition.metric
    found = []
    for rows in np.array_split(judged, min(parts, len(judged))):  # folds differ by an image at most
        part = split.take(rows)
        said = {name: stored.validated.aligned_to(part.ids) for name, stored in judges.items()}
        blend = select_blend(said, part.ids, part.known_labels, metric)
        suspected = find_suspects(task, blend.apply(said).probabilities, part.known_labels)
        found.append(replace(suspected, rows=rows[suspected.rows]))
    return Suspects.joined(found)


def widest(runs: Mapping[str, StoredRun]) -> dict[str, StoredRun]:
    """Those of the runs that were validated on the same images, on as many as any."""
    most = max(runs.values(), key=lambda stored: len(stored.validated))
    return {name: each for name, each in runs.items() if set(each.validated.ids) == set(most.validated.ids)}


def table_of(competition: Competition, split: Split, found: Suspects, nearest: Sequence[Sequence[str]]) -> pd.DataFrame:
    """The table of the suspected images. split: these images; nearest: the ids of the pictures most like each."""
    said = label_cells(competition.task, found.said)
    columns: dict[str, Any] = {"id": split.ids, **label_cells(competition.task, split.known_labels)}
    columns[SAID] = [", ".join(cells) for cells in zip(*said.values(), strict=True)]
    columns |= {PROBABILITY: found.probabilities, ODDS: found.ranks, NEAREST: [BETWEEN.join(some) for some in nearest]}
    return pd.DataFrame(columns)


def corrected_before(path: Path, competition: Competition, table: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of an earlier table whose labels the user has corrected, with the columns of the new one; None if there
    are none. A table that cannot be read is put aside.
    """
    if not path.exists():
        return None
    try:
        names = corrections_in(path, competition)
    except UserError as error:
        aside = path.with_name(f"{KIND}-before.csv")
        path.replace(aside)
        print(f"warning: put aside as {aside.name}: {error}")
        return None
    before = read_table(path).frame.reindex(columns=table.columns, fill_value="")
    before[[PROBABILITY, ODDS]] = before[[PROBABILITY, ODDS]].apply(pd.to_numeric, errors="coerce")
    return before[before["id"].isin(names)] if names else None


def told(suspected: int, judged: int, labelled: int) -> str:
    """A line for the user; empty if no label is suspected."""
    if not suspected:
        return ""
    said = f"the models contradict {suspected:,} of {judged:,}"
    if judged < labelled:
        return f"{said} validation labels, listed in {KIND}.csv; to judge all labels, train with --folds 3"
    return f"{said} labels: correct {KIND}.csv and train with --relabel"
