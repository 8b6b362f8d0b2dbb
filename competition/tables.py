"""A competition's CSVs, read and checked: columns, ids, labels and the image of every id."""

import csv
import io
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from competition.errors import UserError
from competition.images_on_disk import ImagesOnDisk, names_image
from competition.metrics import ACCURACY, Metric, find_metric
from competition.spec import Competition, Split
from competition.task import Label, Task
from competition.wording import counted, did_you_mean, fault_in, listed, printable

_KNOWN = Path(__file__).parent / "known"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_LOOKED_AT = 100  # ids of a column that are looked up to tell whether it names images


class Columns(NamedTuple):
    """The names of the two columns that matter."""

    image: str
    label: str


@dataclass(frozen=True)
class Table:
    """A CSV as text.

    rows: the cells of every row that is not blank, as many as there are columns.
    numbers: each row's number as a spreadsheet shows it; the header is row 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of one column. Raises UserError, with the nearest name, where it is missing."""
        if name not in self.columns:
            fault = f"no column '{printable(name)}'{did_you_mean(name, self.columns)}"
            remedy = "rename one, or name it with --image-column or --label-column"
            raise fault_in(self.path, f"{fault}, only {listed(self.columns)}", remedy)
        place = self.columns.index(name)
        return tuple(row[place] for row in self.rows)

    def refuse(self, wrong: Sequence[bool], fault: str, remedy: str) -> None:
        """Raises UserError naming the rows that are marked as wrong, if there are any."""
        numbers = [number for number, is_wrong in zip(self.numbers, wrong, strict=True) if is_wrong]
        if numbers:
            rows = f"{counted(len(numbers), 'row')} (row {listed(numbers)})"
            raise fault_in(self.path, f"{fault} in {rows}", remedy)


def read_table(path: Path) -> Table:
    """Read a CSV (UTF-8 with or without a byte-order mark, any line ends) without changing a cell.

    Blank lines are skipped, and so are rows of empty cells at the end. Raises UserError where the file
    is no table: not text, broken quotes, rows of unequal length, no header, no rows.
    """
    records = _records(path)
    if not records:
        raise fault_in(path, "the file is empty", "it needs a header row and a row for each image")
    (_, columns), *rows = records
    _check_header(path, columns)
    if not rows:
        raise fault_in(path, "the table is empty, a header row only", "add a row for each image")
    table = Table(path, columns, tuple(cells for _, cells in rows), tuple(number for number, _ in rows))
    ragged = [len(cells) != len(columns) for cells in table.rows]
    table.refuse(ragged, f"not {len(columns)} cells, as in the header,", "fix the commas or quotes there")
    return table


def _records(path: Path) -> list[tuple[int, tuple[str, ...]]]:
    """Row number and cells of every row that is not blank."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        records = [(number, tuple(cells)) for number, cells in enumerate(reader, start=1) if cells]
    except csv.Error as error:
        fault = f"not a CSV at line {reader.line_num} ({error})"
        raise fault_in(path, fault, "fix the quotes or save it again as CSV") from error
    while records and not any(cell.strip() for cell in records[-1][1]):
        records.pop()
    return records


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

    It holds train.csv, test.csv, perhaps val.csv or validation.csv, perhaps sample_submission.csv, and the
    images in ``train_images/`` (``val_images/``, ``test_images/``), ``train/``, ``images/`` or beside the
    CSVs. A folder with nothing in it but one folder stands for that one. The columns are the arguments', else
    those that ``known/<name>.toml`` names, else the sample's, else found from what train has and test lacks.
    The header of a submission, ``image_column`` and ``label_column``, is the sample's where there is one.
    The metric is the argument, else the one that ``known/<name>.toml`` names, else accuracy.

    Raises UserError for whatever is wrong with the tables or the images they name.
    """
    name = name or folder.resolve().name
    folder = competition_folder(folder)
    train, test = read_table(folder / "train.csv"), read_table(folder / "test.csv")
    val = _optional_table(folder, "val.csv", "validation.csv")
    sample = _optional_table(folder, "sample_submission.csv", "sampleSubmission.csv")
    known = _known(name)
    images = ImagesOnDisk(folder)
    columns = Columns(
        image_column or known.get("image_column") or _image_column(train, test, sample, images),
        label_column or known.get("label_column") or _label_column(train, test, sample),
    )
    header = _submission_header(sample) or columns
    classes = _classes(train, columns)
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
        metric=metric or find_metric(known.get("metric", ACCURACY.name)),
        symmetries=known.get("symmetries"),
    )


def competition_folder(folder: Path) -> Path:
    """The folder that holds train.csv and test.csv: this one, or the one that is all there is in it.

    Raises UserError where a file is missing.
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


def _known(name: str) -> dict[str, str]:
    """What ``known/<name>.toml`` says of a competition; nothing for most."""
    file = _KNOWN / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _image_column(train: Table, test: Table, sample: Table | None, images: ImagesOnDisk) -> str:
    common = [name for name in test.columns if name and name in train.columns]
    if sample and sample.columns[0] in common:
        return sample.columns[0]
    if len(common) > 1:
        common = [name for name in common if _holds_images(test.column(name)[:_LOOKED_AT], images)]
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
    raise _unclear("label", "--label-column", extra or train.columns, train)


def _unclear(what: str, option: str, columns: Sequence[str], table: Table) -> UserError:
    fault = f"cannot tell which is the {what} column: {listed(columns)}"
    return fault_in(table.path, fault, f"name it with {option}")


def _submission_header(sample: Table | None) -> Columns | None:
    if sample is None:
        return None
    if len(sample.columns) != 2:
        fault = f"the columns {listed(sample.columns)}, not an id and a label"
        raise fault_in(sample.path, fault, "leave those two or remove the file")
    return Columns(*sample.columns)


def _submission_ids(sample: Table | None, test_ids: tuple[str, ...], test: Path) -> tuple[str, ...]:
    """The order in which the test ids are answered: the sample's where there is one."""
    if sample is None:
        return test_ids
    ids = _ids(sample, sample.columns[0])
    remedy = f"it and {test.name} must list the same ids"
    if lacking := sorted(set(test_ids) - set(ids)):
        raise fault_in(sample.path, f"lacks {counted(len(lacking), 'test id')}: {listed(lacking)}", remedy)
    if strange := sorted(set(ids) - set(test_ids)):
        fault = f"{counted(len(strange), 'id')} not in {test.name}: {listed(strange)}"
        raise fault_in(sample.path, fault, remedy)
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
    """The labels of train, sorted; integers where every one is written as an integer is."""
    if columns.image == columns.label:
        fault = f"column '{printable(columns.image)}' cannot be both the image and the label column"
        raise fault_in(train.path, fault, "name two with --image-column and --label-column")
    labels = set(_labels(train, columns.label))
    if len(labels) == 1:
        fault = f"column '{printable(columns.label)}' shows one class only ({listed(labels)})"
        raise fault_in(train.path, fault, "add images of another or name the column with --label-column")
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
