"""Layouts whose images lie in containers: pixels in cells, parquet, HDF5, TFRecord and the like."""

from pathlib import Path

import pandas as pd

from competition.layouts.csvs import from_csvs
from competition.layouts.evidence import Evidence
from competition.layouts.linked import Lookup, find_lookup
from competition.layouts.options import Options
from competition.layouts.parts import Found, Part
from competition.layouts.pictures import Pictures
from competition.layouts.samples import Sample
from competition.tables import Table
from competition.wording import counted, fault_in, listed

LABELS = ("label", "class", "target", "category", "emotion", "y")  # names of a container's column of labels
FILE = "file"


def from_containers(evidence: Evidence, sample: Sample | None, options: Options, pictures: Pictures) -> Found | None:
    """What containers hold, with labels of their own or those of a table; None if there are none for training."""
    if not pictures.containers["train"]:
        return None
    if found := from_csvs(evidence, sample, options, pictures, pictures.has):
        return found
    train = pictures.extracted("train")
    val, test = (_of_its_own(split, pictures) for split in ("val", "test"))
    test, ordered = (test, []) if test is None else _called_as_asked(test, sample, pictures)
    lookup = None if test is None else find_lookup(evidence, sample, list(train.columns), test["id"])
    labels = (
        lookup.labels(list(train.columns)) if lookup else _labels(evidence.folder, train, sample, options, pictures)
    )
    first = pictures.containers["train"][0]
    told = f"{first.path.name}: {counted(len(train), 'image')} in a container ({first.kind})"
    path = first.path
    return Found(
        _part(path, train),
        labels,
        None if val is None else _part(path, val),
        None if test is None else _test_part(pictures.containers["test"][0].path, test, lookup),
        (told, *ordered, *([f"{lookup.table.path.name} says what each row is about"] if lookup else [])),
    )


def _of_its_own(split: str, pictures: Pictures) -> pd.DataFrame | None:
    """What the containers of a split hold; None if it has none besides those of train."""
    boxes = pictures.containers[split]
    return pictures.extracted(split) if boxes and boxes != pictures.containers["train"] else None


def _called_as_asked(test: pd.DataFrame, sample: Sample | None, pictures: Pictures) -> tuple[pd.DataFrame, list[str]]:
    """The test images, called as in the sample if they have no ids, as then their order counts, which is said."""
    has_ids = any(box.id_name is not None for box in pictures.containers["test"])
    if has_ids or sample is None or len(sample.ids) != len(test) or set(sample.ids) == set(test["id"]):
        return test, []
    told = f"{pictures.containers['test'][0].path.name} has no ids: its images are those of {sample.table.path.name}"
    return test.assign(id=list(sample.ids)), [f"{told}, in the same order"]


def _test_part(path: Path, rows: pd.DataFrame, lookup: Lookup | None) -> Part:
    """The rows of the containers, or of the table that says which images are asked about."""
    return (
        _part(path, rows) if lookup is None else lookup.part(dict(zip(rows["id"], map(Path, rows[FILE]), strict=True)))
    )


def _part(path: Path, rows: pd.DataFrame) -> Part:
    """The rows of containers; those without an id of their own are numbered."""
    frame = rows.drop(columns=FILE).set_axis(range(2, len(rows) + 2))
    return Part(Table(path, frame), "id", tuple(map(Path, rows[FILE])))


def _labels(
    folder: Path, train: pd.DataFrame, sample: Sample | None, options: Options, pictures: Pictures
) -> tuple[str, ...]:
    """The columns with the labels. Raises UserError if they cannot be told."""
    names = [name for name in train.columns if name not in ("id", FILE)]
    if options.label_column in names:
        return (options.label_column,)
    if sample and sample.names and set(sample.names) <= set(names):
        return sample.names
    folded = {name.strip().casefold(): name for name in names}
    asked = [name.casefold() for name in sample.names] if sample else []
    if named := [folded[name] for name in (*asked, *LABELS) if name in folded]:
        return (named[0],)
    test = pictures.containers["test"][0].columns.columns if pictures.containers["test"] else ()
    extra = [name for name in names if name not in test]
    if len(extra) == 1:
        return tuple(extra)
    fault = f"cannot tell which column of the containers holds the labels: {listed(extra or names) or 'none'}"
    raise fault_in(folder, fault, "name it with --label-column")
