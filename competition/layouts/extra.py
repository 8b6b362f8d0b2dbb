"""Labelled pictures from elsewhere, to train on besides the competition's: a folder for each class, or a CSV."""

from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path

import numpy as np

from competition.images_on_disk import ImagesOnDisk, names_image
from competition.layouts.folders import IMAGE
from competition.layouts.labels import NUMBER, SEPARATORS, are_flags, as_whole, parts_of
from competition.layouts.parts import table_of
from competition.spec import Competition, Split
from competition.tables import Table, read_table
from competition.task import Task
from competition.wording import did_you_mean, fault_in, listed, printable

LABEL = "label"
PROBED = 100  # cells that tell what a column holds
BEFORE = "extra/"  # the ids, so that they differ from the competition's


def read_extra(path: Path, competition: Competition) -> Split:
    """The pictures in ``path`` with their labels, as those of the competition's training images.

    path: a folder with a folder of images for each class, or a CSV with images beside or below it and with the label
        columns of the training table.
    Raises UserError for classes that the competition does not have, missing images, and files that are no such thing.
    """
    table = _of_folder(path) if path.is_dir() else read_table(path)
    image = IMAGE if path.is_dir() else _image_column(table, competition)
    columns = (LABEL,) if path.is_dir() else _label_columns(table, image, competition)
    labels = labels_in(table, columns, competition.task)
    names = table.stripped(image)
    folder = path if path.is_dir() else path.parent
    ids = tuple(f"{BEFORE}{name}" for name in names)
    return Split("extra", ids, ImagesOnDisk((folder,)).paths(path, "train", names), labels)


def _of_folder(folder: Path) -> Table:
    """A table of the images and the names of their folders."""
    files = sorted(path for path in folder.rglob("*") if names_image(path.name) and path.is_file())
    inside = [path.relative_to(folder) for path in files]
    if not files or any(len(name.parts) < 2 for name in inside):
        fault = "images that are in no class's folder" if files else "no images there"
        raise fault_in(folder, fault, "make a folder of images for each class, or give a CSV with their labels")
    names, classes = [name.as_posix() for name in inside], [name.parts[-2] for name in inside]
    return table_of(folder, {IMAGE: names, LABEL: classes})


def _image_column(table: Table, competition: Competition) -> str:
    """The column that is called as in the competition, else the first whose cells name images beside the table."""
    if (own := table.called(competition.image_column)) is not None:
        return own
    images = ImagesOnDisk((table.path.parent,))
    there = (name for name in table.columns if images.has_all("train", table.stripped(name)[:PROBED]))
    return next(there, table.columns[0])


def _label_columns(table: Table, image: str, competition: Competition) -> tuple[str, ...]:
    """The columns of a task that has several, else the one that is called as in the competition or has its classes."""
    task = competition.task
    several = task.targets or tuple(map(str, task.classes))
    if all(table.called(name) for name in several):
        return several
    others = [name for name in table.columns if name != image]
    if task.kind in ("multioutput", "continuous") or not others:
        table.column(next(name for name in several if not table.called(name)))  # raises the error that names it
    if (own := table.called(competition.label_column)) in others:
        return (own,)
    known = {str(label) for label in task.classes}
    return (max(others, key=lambda name: _share_known(table.stripped(name)[:PROBED], known)),)


def _share_known(cells: Sequence[str], known: set[str]) -> float:
    return max(float(np.mean([parts_of(cell, each) <= known for cell in cells])) for each in SEPARATORS)


def labels_in(table: Table, columns: tuple[str, ...], task: Task) -> np.ndarray:
    """The labels in these columns, as ``Split.labels`` has them. Raises UserError for those that are not the task's."""
    if task.kind == "continuous":
        return np.stack([_numbers(table, column) for column in columns], axis=1)
    if task.kind == "multioutput":
        return np.stack([_classes(table, column, task) for column in columns], axis=1)
    if len(columns) > 1:
        return _from_flags(table, columns, task)
    return _marks(table, columns[0], task) if task.kind == "multilabel" else _classes(table, columns[0], task)


def _classes(table: Table, column: str, task: Task) -> np.ndarray:
    places = {str(label): place for place, label in enumerate(task.classes)}
    cells = [cell if cell in places else as_whole(cell) for cell in table.stripped(column)]
    _refuse_unknown(table, [{cell} for cell in cells], places)
    return np.array([places[cell] for cell in cells], np.int64)


def _marks(table: Table, column: str, task: Task) -> np.ndarray:
    places = {str(label): place for place, label in enumerate(task.classes)}
    cells = table.stripped(column)
    ways = ([parts_of(cell, each) for cell in cells] for each in SEPARATORS)
    labels = max(ways, key=lambda way: sum(some <= places.keys() for some in way))
    _refuse_unknown(table, labels, places)
    marks = np.zeros((len(cells), len(places)), np.int64)
    for row, some in enumerate(labels):
        marks[row, [places[name] for name in some]] = 1
    return marks


def _from_flags(table: Table, columns: tuple[str, ...], task: Task) -> np.ndarray:
    """Of columns of 0 and 1, one for each class."""
    flags = np.stack([_checked(table, column, lambda cell: are_flags([cell])) for column in columns], axis=1)
    marks = flags.astype(np.int64)
    if task.kind == "multilabel":
        return marks
    table.refuse(marks.sum(axis=1) != 1, "not a single 1", "give each image one class")
    return marks.argmax(axis=1)


def _numbers(table: Table, column: str) -> np.ndarray:
    return _checked(table, column, lambda cell: NUMBER.fullmatch(cell) is not None)


def _checked(table: Table, column: str, is_right: Callable[[str], bool]) -> np.ndarray:
    """The numbers in a column, float64 ``[N]``. Raises UserError for cells that are not right, nor finite."""
    cells = table.stripped(column)
    wrong = [not is_right(cell) or not isfinite(float(cell)) for cell in cells]
    table.refuse(wrong, f"no such number (column '{printable(column)}')", "correct them or take the rows out")
    return np.array(cells, np.float64)


def _refuse_unknown(table: Table, labels: Sequence[set[str]], places: dict[str, int]) -> None:
    """Raises UserError with the nearest class if some of the labels of the rows are not the competition's."""
    unknown = sorted(set().union(*labels) - places.keys())
    if not unknown:
        return
    nearest = did_you_mean(unknown[0], places)
    fault = f"no class of the competition ({listed(unknown)}){nearest}"
    remedy = f"its classes are {listed(places)}: correct the labels, or take the images out"
    if table.path.is_dir():
        raise fault_in(table.path, f"folders that are {fault}", remedy)
    table.refuse([not some <= places.keys() for some in labels], fault, remedy)
