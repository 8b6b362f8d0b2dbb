"""Reads and checks a competition's CSVs: columns, ids, labels and the image of every id."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from competition.checked_toml import CheckedModel, read_checked_toml
from competition.errors import UserError
from competition.images_on_disk import ImagesOnDisk, names_image
from competition.metrics import METRICS, Metric, find_metric
from competition.spec import Competition, Split, Symmetries
from competition.storage import write_file
from competition.task import Label, Task
from competition.unsupported import refuse_label_columns, refuse_labels, refuse_sample, refuse_wide_sample
from competition.wording import counted, did_you_mean, fault_in, listed, printable

KNOWN = Path(__file__).parent / "known"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_PROBED = 100  # ids to look up when finding out whether a column names images


class Columns(NamedTuple):
    """The names of the two columns that matter."""

    image: str
    label: str


class KnownCompetition(CheckedModel):
    """What ``known/<name>.toml`` adds to a competition's files. Every key is optional."""

    image_column: str | None = None
    label_column: str | None = None
    metric: Literal[*METRICS] = "accuracy"  # type: ignore[valid-type]  # the names are known at run time only
    symmetries: Symmetries | None = None


@dataclass(frozen=True)
class Table:
    """A CSV as text.

    frame: one row for each row that is not blank, every cell a string exactly as the file spells it. The index
        holds the row numbers that a spreadsheet shows; the header is row 1.
    """

    path: Path
    frame: pd.DataFrame

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.frame.columns)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        return tuple(self.frame.itertuples(index=False, name=None))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The row numbers that a spreadsheet shows."""
        return tuple(self.frame.index.tolist())

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of one column. Raises UserError with the nearest name if it is missing."""
        if name not in self.columns:
            fault = f"no column '{printable(name)}'{did_you_mean(name, self.columns)}"
            remedy = "rename one, or name it with --image-column or --label-column"
            raise fault_in(self.path, f"{fault}, only {listed(self.columns)}", remedy)
        return tuple(self.frame.iloc[:, self.columns.index(name)].tolist())

    def refuse(self, wrong: Sequence[bool], fault: str, remedy: str) -> None:
        """Raises UserError that names the rows marked as wrong, if there are any."""
        _refuse_rows(self.path, self.frame.index[np.asarray(wrong, bool)].tolist(), fault, remedy)


def _refuse_rows(path: Path, numbers: Sequence[int], fault: str, remedy: str) -> None:
    if numbers:
        rows = f"{counted(len(numbers), 'row')} (row {listed(numbers)})"
        raise fault_in(path, f"{fault} in {rows}", remedy)


def read_table(path: Path) -> Table:
    """Read a CSV (UTF-8 with or without a byte-order mark, any line ends) without changing a cell.

    Blank lines and rows of empty cells at the end are skipped. Raises UserError if the file is not a table: not
    text, broken quotes, rows of unequal length, no header, no rows.
    """
    text = _text(path)
    header, widths = _shape(path, text)
    if not widths.size:
        raise fault_in(path, "the file is empty", "it needs a header row and a row for each image")
    _check_header(path, header)
    numbers = np.flatnonzero(widths)[1:] + 1
    if not numbers.size:
        raise fault_in(path, "the table is empty, a header row only", "add a row for each image")
    ragged = numbers[widths[numbers - 1] != len(header)]
    _refuse_rows(path, ragged.tolist(), f"not {len(header)} cells, as in the header,", "fix the commas or quotes there")
    frame = _frame(text, len(header), len(widths)).loc[numbers]
    return Table(path, frame.set_axis(list(header), axis="columns"))


def _shape(path: Path, text: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The header, and the number of cells in each row up to the last non-empty one; 0 for a blank line.

    pandas pads short rows and accepts broken quotes, so the csv module checks the rows first.
    """
    header: tuple[str, ...] = ()
    widths, used = [], 0
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            header = header or tuple(cells)
            widths.append(len(cells))
            if "".join(cells).strip():
                used = len(widths)
    except csv.Error as error:
        fault = f"not a CSV at line {reader.line_num} ({error})"
        raise fault_in(path, fault, "fix the quotes or save it again as CSV") from error
    return header, np.array(widths[:used], np.int64)


def _frame(text: str, columns: int, rows: int) -> pd.DataFrame:
    """The first rows of a CSV, header and blank lines included, as text, indexed from 1."""
    frame = pd.read_csv(
        io.StringIO(text, newline=""),
        header=None,
        names=range(columns),
        index_col=False,
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        skip_blank_lines=False,
        nrows=rows,
    )
    return frame.set_axis(range(1, len(frame) + 1))


def _text(path: Path) -> str:
    remedy = "save it as 'CSV UTF-8'"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise fault_in(path, f"cannot be read ({error.strerror})", "check the file") from error
    except UnicodeDecodeError as error:
        raise fault_in(path, f"not UTF-8 text (byte {error.start + 1})", remedy) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise fault_in(path, f"a NUL character in line {line}, so not a CSV", remedy)
    return text


def write_table(path: Path, columns: Mapping[str, Iterable[object]]) -> None:
    """Write a CSV in UTF-8 with line feeds, quoting only where needed. columns: the cells of each column by name."""
    table = pd.DataFrame({name: list(cells) for name, cells in columns.items()})
    write_file(path, table.to_csv(index=False, lineterminator="\n"))


def _check_header(path: Path, columns: tuple[str, ...]) -> None:
    if images := [name for name in columns if names_image(name)]:
        fault = f"row 1 names an image ({listed(images)}), so the header row is missing"
        raise fault_in(path, fault, "add one such as 'Image,Class'")
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise fault_in(path, f"the header names {listed(twice)} twice", "rename one")


def load_competition(
    folder: Path,
    name: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    metric: Metric | None = None,
) -> Competition:
    """Read and check a competition's folder.

    The folder holds train.csv and test.csv, optionally val.csv or validation.csv, optionally sample_submission.csv,
    and the images in ``train_images/`` (``val_images/``, ``test_images/``), ``train/``, ``images/`` or beside the
    CSVs. A folder that contains only another folder stands for that folder. A submission gets the sample's header.
    Columns and metric come from the arguments, else from ``known/<name>.toml``. Otherwise the columns are found in the
    sample submission or by comparing train.csv with test.csv, and the metric is accuracy.

    Raises UserError if anything is wrong with the tables or the images that they name.
    """
    name = name or folder.resolve().name
    folder = competition_folder(folder)
    train, test = read_table(folder / "train.csv"), read_table(folder / "test.csv")
    val = _optional_table(folder, "val.csv", "validation.csv")
    sample = _optional_table(folder, "sample_submission.csv", "sampleSubmission.csv")
    known = read_known(name, KNOWN)
    images = ImagesOnDisk([folder])
    header = _submission_header(sample)  # first, since the columns are found with the sample's help
    columns = Columns(
        image_column or known.image_column or _image_column(train, test, sample, images),
        label_column or known.label_column or _label_column(train, test, sample),
    )
    header = header or columns
    classes = _classes(train, columns)
    _check_sample_labels(sample, classes)
    test_split = _split("test", test, columns, images)
    return Competition(
        name=name,
        image_column=header.image,
        label_column=header.label,
        task=Task(classes),
        train=_labelled_split("train", train, columns, classes, images),
        val=_labelled_split("val", val, columns, classes, images) if val else _no_val(),
        test=test_split,
        submission_ids=_submission_ids(sample, test_split.ids, test.path),
        metric=metric or find_metric(known.metric),
        symmetries=known.symmetries,
    )


def competition_folder(folder: Path) -> Path:
    """The folder that holds train.csv and test.csv: this one, or the only folder in it.

    Raises UserError if a file is missing.
    """
    if not folder.is_dir():
        raise fault_in(folder, "no such folder", "give one that holds train.csv and test.csv")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    if len(entries) == 1 and entries[0].is_dir():
        return competition_folder(entries[0])
    names = [entry.name for entry in entries]
    for needed in ("train.csv", "test.csv"):
        if needed not in names:
            fault = f"no {needed} there{did_you_mean(needed, names)}, only {listed(names) or 'nothing'}"
            raise fault_in(folder, fault, "a competition's folder holds train.csv, test.csv and the images")
    return folder


def _optional_table(folder: Path, *names: str) -> Table | None:
    there = [name for name in names if (folder / name).exists()]
    if len(there) > 1:
        raise fault_in(folder, f"both {' and '.join(there)} are there", "keep one of them")
    return read_table(folder / there[0]) if there else None


def read_known(name: str, folder: Path) -> KnownCompetition:
    """Read ``known/<name>.toml``; all defaults if there is none. Raises UserError that names a wrong key or value."""
    path = folder / f"{name}.toml"
    return read_checked_toml(path, KnownCompetition) if path.is_file() else KnownCompetition()


def _image_column(train: Table, test: Table, sample: Table | None, images: ImagesOnDisk) -> str:
    common = [name for name in test.columns if name and name in train.columns]
    if sample and sample.columns[0] in common:
        return sample.columns[0]
    if len(common) > 1:
        common = [name for name in common if _holds_images(test.column(name)[:_PROBED], images)]
    if len(common) == 1:
        return common[0]
    raise _unclear("image", "--image-column", common or test.columns, test)


def _holds_images(cells: Sequence[str], images: ImagesOnDisk) -> bool:
    return all(map(names_image, cells)) or images.has_all("test", cells)


def _label_column(train: Table, test: Table, sample: Table | None) -> str:
    if sample and sample.columns[1:2] and sample.columns[1] in train.columns:
        return sample.columns[1]
    extra = [name for name in train.columns if name and name not in test.columns]
    if len(extra) == 1:
        return extra[0]
    refuse_label_columns(train.path, _cells(train, extra))
    raise _unclear("label", "--label-column", extra or train.columns, train)


def _cells(table: Table, columns: Iterable[str]) -> dict[str, set[str]]:
    """The different cells of each column."""
    return {name: set(table.column(name)) for name in columns}


def _unclear(what: str, option: str, columns: Sequence[str], table: Table) -> UserError:
    fault = f"cannot tell which is the {what} column: {listed(columns)}"
    return fault_in(table.path, fault, f"name it with {option}")


def _submission_header(sample: Table | None) -> Columns | None:
    if sample is None:
        return None
    refuse_wide_sample(sample.path, _cells(sample, sample.columns[1:]))
    if len(sample.columns) != 2:
        fault = f"the columns {listed(sample.columns)}, not an id and a label"
        raise fault_in(sample.path, fault, "leave those two or remove the file")
    return Columns(*sample.columns)


def _check_sample_labels(sample: Table | None, classes: Sequence[Label]) -> None:
    if sample is not None:
        _, label = sample.columns
        refuse_sample(sample.path, label, set(sample.column(label)), set(map(str, classes)))


def _submission_ids(sample: Table | None, test_ids: tuple[str, ...], test: Path) -> tuple[str, ...]:
    """The test ids in the order of a submission, which is that of the sample submission if there is one."""
    if sample is None:
        return test_ids
    ids = _ids(sample, sample.columns[0])
    lacking, strange = sorted(set(test_ids) - set(ids)), sorted(set(ids) - set(test_ids))
    faults = [f"lacks {counted(len(lacking), 'test id')}: {listed(lacking)}"] if lacking else []
    faults += [f"has {counted(len(strange), 'id')} not in {test.name}: {listed(strange)}"] if strange else []
    if faults:
        remedy = f"it and {test.name} must list the same ids; take both from the same download, or remove the sample"
        raise fault_in(sample.path, " and ".join(faults), remedy)
    return ids


def _ids(table: Table, column: str) -> tuple[str, ...]:
    ids = table.column(column)
    empty = [not image_id.strip() for image_id in ids]
    table.refuse(empty, f"empty id (column '{printable(column)}')", "fill them in or take the rows out")
    counts = Counter(ids)
    twice = [counts[image_id] > 1 for image_id in ids]
    names = listed(image_id for image_id, count in counts.items() if count > 1)
    table.refuse(twice, f"duplicate id ({names})", "keep one row of each")
    return ids


def _labels(table: Table, column: str) -> tuple[str, ...]:
    labels = table.column(column)
    missing = [not label.strip() for label in labels]
    fault = f"missing label (column '{printable(column)}')"
    table.refuse(missing, fault, "fill them in or take the rows out")
    return labels


def _classes(train: Table, columns: Columns) -> tuple[Label, ...]:
    """The labels of train.csv, sorted; integers if every label is spelled like an integer."""
    if columns.image == columns.label:
        fault = f"column '{printable(columns.image)}' cannot be both the image and the label column"
        raise fault_in(train.path, fault, "name two with --image-column and --label-column")
    cells = _labels(train, columns.label)
    labels = set(cells)
    if len(labels) == 1:
        fault = f"column '{printable(columns.label)}' shows one class only ({listed(labels)})"
        raise fault_in(train.path, fault, "add images of another or name the column with --label-column")
    refuse_labels(train.path, columns.label, cells)
    are_integers = all(_INTEGER.fullmatch(label) for label in labels)
    return tuple(sorted(map(int, labels) if are_integers else labels))


def _split(name: str, table: Table, columns: Columns, images: ImagesOnDisk) -> Split:
    ids = _ids(table, columns.image)
    return Split(name, ids, images.paths(table.path, name, ids))


def _no_val() -> Split:
    return Split("val", (), (), np.zeros(0, np.int64))


def _labelled_split(
    name: str, table: Table, columns: Columns, classes: tuple[Label, ...], images: ImagesOnDisk
) -> Split:
    labels = _labels(table, columns.label)
    index = {str(label): place for place, label in enumerate(classes)}
    unknown = [label not in index for label in labels]
    strange = listed(dict.fromkeys(label for label in labels if label not in index))
    fault = f"label that train.csv never shows ({strange})"
    table.refuse(unknown, fault, "correct them or take the rows out")
    split = _split(name, table, columns, images)
    return replace(split, labels=np.array([index[label] for label in labels], np.int64))
