"""The layout of most contests: CSVs whose ids name images. They are told by what they hold, not by their names."""

import re
from pathlib import Path

import numpy as np

from competition.images_on_disk import names_image
from competition.layouts.columns import (
    Lookup,
    holds_images,
    image_column,
    label_columns,
    named_as_asked,
    test_image_column,
)
from competition.layouts.evidence import Evidence
from competition.layouts.label_map import with_names
from competition.layouts.labels import NUMBER, WHOLE
from competition.layouts.options import Options
from competition.layouts.other_tables import TEST, lists_few, may_train, names_folders, test_table, validation_table
from competition.layouts.parts import Found, Part
from competition.layouts.pictures import PROBED, Pictures
from competition.layouts.rows import BAR, gathered, pivoted, unstacked
from competition.layouts.samples import Sample, refuse_blank_ids
from competition.tables import Table, read_table
from competition.wording import counted, did_you_mean, fault_in, listed, printable

_TRAIN = (re.compile(r"^train$"), re.compile(r"train"), re.compile(r"label|solution|truth"))
_HIDDEN = re.compile(r"\s*(\.|(thumbs\.db|desktop\.ini)\s*$)", re.IGNORECASE)

FEWEST_SEVERAL = 0.1  # of the images have several rows if a table lists the labels of each


def from_csvs(
    evidence: Evidence, sample: Sample | None, options: Options, pictures: Pictures, has: Lookup | None
) -> Found | None:
    """What the tables say; None if no table can be that of the training images.

    has: whether the images of ids are there; None if the training table is told by its name alone.
    """
    path = _chosen(evidence, options) or _train_path(evidence, sample, has)
    if path is None:
        return None
    train = read_table(path)
    is_aside = has is not None and (lists_few(train, pictures) or names_folders(train, pictures))
    if is_aside and options.train_table is None:
        return None
    return found_in(train, evidence, sample, options, pictures, has)


def found_in(
    train: Table,
    evidence: Evidence,
    sample: Sample | None,
    options: Options,
    pictures: Pictures,
    has: Lookup | None = None,
) -> Found:
    """What a table of training images says, with those of the other splits. Raises UserError if it cannot be told."""
    path, has = train.path, has or pictures.has
    test, val = test_table(evidence, path, sample), validation_table(evidence, path)
    options = options.fitting(train.columns)
    image = options.image_column or image_column(train, test, sample, pictures, has)
    train, val = with_names(train, image, sample, evidence), val and with_names(val, image, sample, evidence)
    train, columns, reshaped = _labels(train, test, sample, image, options, has)
    _refuse_same(train, image, columns)
    train, dropped = without_needless(train, image, columns)
    val = None if val is None else without_needless(val, image, columns)[0]
    if is_gathered := _lists_labels(train, image, columns):
        told = "images with several labels have a row for each: several labels an image"
        reshaped = [*reshaped, f"{path.name}: {told}"]
        train, val = gathered(train, image, columns[0]), val and gathered(val, image, columns[0])
    return Found(
        Part(train, image),
        columns,
        None if val is None else Part(val, image),
        None if test is None else Part(test, test_image_column(test, image, sample)),
        (*_named_otherwise(path, sample), *reshaped, *dropped),
        separator=BAR if is_gathered else None,
    )


def _lists_labels(table: Table, image: str, columns: tuple[str, ...]) -> bool:
    """Whether too many images have several rows with different labels for that to be a mistake."""
    counts = table.frame[image].value_counts()
    if len(columns) > 1 or (counts > 1).mean() < FEWEST_SEVERAL:
        return False
    return not any(NUMBER.fullmatch(cell) and not WHOLE.fullmatch(cell) for cell in set(table.column(columns[0])))


def _labels(
    train: Table, test: Table | None, sample: Sample | None, image: str, options: Options, has: Lookup
) -> tuple[Table, tuple[str, ...], list[str]]:
    """The training table with a row for each image, its columns of labels, and what was found."""
    if options.label_column is not None:
        return train, (options.label_column,), []
    if (long := _long(train, image, has) or _long_by_column(train, test, sample, image)) is None:
        train = named_as_asked(train, sample)
        return train, label_columns(train, test, sample, image), []
    columns = tuple(name for name in long.columns if name != image)
    name = train.path.name
    return long, columns, [f"{name}: a row for each image and label ({listed(columns)}), read as a row for each image"]


def _chosen(evidence: Evidence, options: Options) -> Path | None:
    """The table that --train-table names. Raises UserError if it is not there."""
    wanted = options.train_table
    if wanted is None:
        return None
    for path in evidence.tables:
        if wanted in (path.name, path.stem) or f"/{path.as_posix()}".endswith(f"/{wanted}"):
            return path
    names = [path.name for path in evidence.tables]
    fault = f"no table '{printable(wanted)}' there{did_you_mean(wanted, names)}, only {listed(names) or 'none'}"
    raise fault_in(evidence.folder, fault, "name one with --train-table")


def _train_path(evidence: Evidence, sample: Sample | None, has: Lookup | None) -> Path | None:
    """The likeliest training table."""
    ranks = {path: _rank(path, evidence, sample, has) for path in evidence.tables if may_train(path)}
    fitting = [path for path, rank in ranks.items() if (rank[1] if has else rank[3])]
    usual = evidence.folder / "train.csv"
    return max(fitting, key=ranks.__getitem__, default=usual if has is None and usual.exists() else None)


def _rank(path: Path, evidence: Evidence, sample: Sample | None, has: Lookup | None) -> tuple[int, ...]:
    """How likely it is the training table: what the sample asks for, ids that name images, its name, its place."""
    stem = path.stem.lower()
    named = next((len(_TRAIN) - place for place, pattern in enumerate(_TRAIN) if pattern.search(stem)), 0)
    table = evidence.glances.get(path)
    if table is None or len(table.columns) < 2:
        return 0, named == len(_TRAIN), 0, named, -len(path.parts)
    asked = sample is not None and bool(sample.names) and set(sample.names) <= set(table.columns)
    is_more = not set(table.columns) <= _test_columns(evidence)  # else it has features of the images, but no labels
    return asked, has is not None and _names_images(table, has), is_more, named, -len(path.parts)


def _test_columns(evidence: Evidence) -> set[str]:
    """The columns of the tables of test images."""
    return {
        name for path, shown in evidence.glances.items() if TEST.search(path.stem.lower()) for name in shown.columns
    }


def _names_images(table: Table, has: Lookup) -> bool:
    """Whether a column of the first rows names images, or images and targets."""
    columns = (table.column(name)[:PROBED] for name in table.columns if name)
    return any(holds_images("train", cells, has) or _are_long(cells, has) for cells in columns)


def _are_long(cells: tuple[str, ...], has: Lookup) -> bool:
    cases = [cell.rpartition("_")[0] for cell in cells]
    return all(cases) and has("train", list(dict.fromkeys(cases)))


def _long(train: Table, image: str, has: Lookup) -> Table | None:
    """Train with a row for each image, if it has one for each image and label."""
    ids = train.column(image)
    values = [name for name in train.columns if name != image]
    if len(values) != 1 or has("train", ids[:PROBED]) or not _are_long(ids[:PROBED], has):
        return None
    return pivoted(train, image, values[0])


def _long_by_column(train: Table, test: Table | None, sample: Sample | None, image: str) -> Table | None:
    """Train with a row for each image, if it has one for each image and target, which a column names, as in test."""
    if test is None or sample is None or sample.is_wide or sample.names[0] not in train.columns:
        return None
    shared = [name for name in train.columns if name in test.columns and name not in (image, sample.id_name)]
    wide = (unstacked(train, image, name, sample.names[0]) for name in shared)
    return next((table for table in wide if table is not None), None)


def _refuse_same(train: Table, image: str, columns: tuple[str, ...]) -> None:
    for name in (image, *columns):
        train.column(name)
    if image in columns:
        fault = f"column '{printable(image)}' cannot be both the image and the label column"
        raise fault_in(train.path, fault, "name two with --image-column and --label-column")


def without_needless(table: Table, image: str, columns: tuple[str, ...]) -> tuple[Table, list[str]]:
    """The table without rows that are there twice and hidden files without a label, and what was passed over."""
    found = []
    ids = table.column(image)
    hidden = np.array([is_hidden(cell) for cell in ids])
    if hidden.any():
        blank = np.all(
            [[not cell for cell in table.stripped(name)] for name in columns if name in table.columns], axis=0
        )
        found += _passed_over(table, hidden & blank, f"no image ({listed(np.array(ids)[hidden & blank])})")
        table = table.take(~(hidden & blank))
    refuse_blank_ids(table, image, table.column(image))
    if table.frame[image].duplicated().any():
        twice = table.frame.duplicated([image, *(name for name in columns if name in table.columns)]).to_numpy()
        found += _passed_over(table, twice, "the same image and label as in an earlier row")
        table = table.take(~twice)
    return table, found


def is_hidden(name: str) -> bool:
    return _HIDDEN.match(name) is not None and not names_image(name)


def _passed_over(table: Table, rows: np.ndarray, why: str) -> list[str]:
    number = int(rows.sum())
    return [f"{table.path.name}: {counted(number, 'row')} passed over, {why}"] if number else []


def _named_otherwise(path: Path, sample: Sample | None) -> list[str]:
    """What to tell of a training table and a sample that are not called as usual."""
    told = [] if path.name == "train.csv" else [f"{path.name} holds the training images"]
    if sample is not None and sample.table.path.name not in ("sample_submission.csv", "sampleSubmission.csv"):
        told.append(f"{sample.table.path.name} shows the form of a submission")
    return told
