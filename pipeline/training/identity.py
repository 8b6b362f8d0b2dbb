"""Which runs belong to a competition as its tables and images are now."""

from pathlib import Path

import numpy as np

from competition.spec import Competition
from pipeline.data.cache import contents_of, known_contents
from pipeline.data.data_record import DataRecord
from pipeline.data.training_data import labelled_images
from pipeline.training.runs import StoredRun

READ_AT_MOST = 1 << 30  # bytes of labelled image files; if there are more, only those for validation are read


def belonging(
    runs: dict[str, StoredRun], competition: Competition, cache_folder: Path
) -> tuple[dict[str, StoredRun], dict[str, str]]:
    """The runs whose classes, labels and images are those of the competition, and the reasons why others' are not.

    A run belongs to the competition even if there are more labelled images now. cache_folder: see ``open_cache``.
    """
    reasons = {name: "they were trained on other classes" for name in runs if not _has_classes(runs[name], competition)}
    others = {name: stored for name, stored in runs.items() if name not in reasons}
    if others:
        present = present_record(competition, others, cache_folder)
        faults = {name: _difference(stored.data, present) for name, stored in others.items()}
        reasons |= {name: fault for name, fault in faults.items() if fault is not None}
    return {name: stored for name, stored in runs.items() if name not in reasons}, reasons


def _has_classes(stored: StoredRun, competition: Competition) -> bool:
    return stored.run.task == competition.task


def _difference(trained: DataRecord, present: DataRecord) -> str | None:
    if not trained.is_within(present):
        return "some of their images are not in the tables any more"
    return trained.change_in(present)


def present_record(competition: Competition, runs: dict[str, StoredRun], cache_folder: Path) -> DataRecord:
    """The labelled images of the competition.

    Their contents are taken from an image cache of a size that the runs were trained at. If there is none, the files
    are read; if these are large, only the validation images of the runs, and the other contents are not known.
    """
    split = labelled_images(competition)
    shapes = dict.fromkeys(stored.run.shape for stored in runs.values())
    contents = known_contents(split.paths, cache_folder, shapes)
    if contents is None:
        validated = set().union(*(stored.validated.ids for stored in runs.values()))
        contents = _read_contents(split.paths, np.array([name in validated for name in split.ids]))
    return DataRecord.of(split.ids, split.known_labels, contents)


def _read_contents(paths: tuple[Path, ...], important: np.ndarray) -> np.ndarray:
    """``contents_of`` all files if they are not too large, else of the important ones. important: bool ``[N]``."""
    if sum(path.stat().st_size for path in paths) <= READ_AT_MOST:
        return contents_of(paths)
    contents = np.zeros(len(paths), np.uint64)
    rows = np.flatnonzero(important)
    contents[rows] = contents_of([paths[row] for row in rows])
    return contents
