"""What a submission is asked about: the test images, and the case and the target of each of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.layouts.answers import target_numbers
from competition.layouts.evidence import nothing_recognised
from competition.layouts.images import located
from competition.layouts.labels import Reading
from competition.layouts.parts import Found, Part, table_of
from competition.layouts.pictures import PROBED, Pictures
from competition.layouts.rows import parted
from competition.layouts.samples import Sample, refuse_blank_ids
from competition.spec import Split
from competition.tables import Table
from competition.task import Task
from competition.wording import counted, fault_in, listed


@dataclass(frozen=True)
class Asked:
    """What a submission is asked about.

    test: the images. ids, cases, targets: of each row of the submission, as in ``Form``. source: what lists the ids.
    by: the column of the test images that tells their case, if they have one.
    """

    test: Split
    ids: tuple[str, ...]
    cases: tuple[str, ...]
    targets: np.ndarray | None = None
    source: str = "test.csv"
    found: tuple[str, ...] = ()
    by: str | None = None


def asked_of(found: Found, sample: Sample | None, reading: Reading, pictures: Pictures) -> Asked:
    """What the submission is asked about. Raises UserError if test images are missing or the ids do not fit."""
    targets = target_names(reading.task)
    if found.test is not None:
        return _with_table(found.test, sample, reading.task, targets, pictures, ())
    if sample is not None and sample.ids:
        part, told = _of_sample(sample, targets, pictures)
    else:
        part, told = _of_files(found, pictures)
    return _with_table(part, sample, reading.task, targets, pictures, told)


def target_names(task: Task) -> tuple[str, ...]:
    """The names that the ids of rows may end with: of the targets, or of more than two classes."""
    if task.kind == "multioutput":
        return task.targets
    return () if task.kind == "multiclass" and len(task.classes) < 3 else tuple(map(str, task.classes))


def _of_sample(sample: Sample, targets: Sequence[str], pictures: Pictures) -> tuple[Part, tuple[str, ...]]:
    """The images of the sample's ids, or of the ids before the names of targets."""
    name = sample.table.path.name
    told = f"no table of the test images: the ids of {name} are predicted"
    part = Part(sample.table, sample.id_name)
    if len(targets) < 2 or pictures.has("test", sample.ids[:PROBED]):
        return part, (told,)
    if (pairs := parted(sample.ids, targets)) is None:
        return part, (told,)
    cases = list(dict.fromkeys(pairs["case"]))
    return Part(table_of(sample.table.path, {sample.id_name: cases}), sample.id_name), (told,)


def _of_files(found: Found, pictures: Pictures) -> tuple[Part, tuple[str, ...]]:
    """All files of the test folder. Raises UserError if there are none."""
    files = pictures.images.files("test")
    if not files:
        raise nothing_recognised(pictures.evidence.folder, pictures.evidence.names, "test.csv")
    names = [name.rpartition("/")[2] for _, name in files]
    names = names if len(set(names)) == len(names) else [name for _, name in files]
    first, name = files[0]
    table = table_of(first.parents[name.count("/")], {found.train.image: names})
    all_files = f"the {counted(len(names), 'file')} of {table.path.name}"
    told = f"no table of the test images and no sample: {all_files} are predicted"
    return Part(table, found.train.image, tuple(path for path, _ in files)), (told,)


def _with_table(
    part: Part, sample: Sample | None, task: Task, targets: Sequence[str], pictures: Pictures, told: tuple[str, ...]
) -> Asked:
    """The rows of the sample joined with those of the test images."""
    rows = part.table.column(part.image)
    refuse_blank_ids(part.table, part.image, rows)
    joined = _joined(part, rows, sample, targets)
    unique = part if joined.targets is None else _once(part)
    images = located("test", unique, pictures)
    cases = images.cases
    if joined.by is not None:
        cells = unique.table.column(joined.by)
        cases = tuple(cells[row] for row in images.rows)
    test = Split("test", images.ids, images.paths, cases=cases)
    return Asked(
        test,
        joined.ids,
        joined.cases,
        None if joined.targets is None else target_numbers(joined.targets, task),
        part.table.path.name,
        told,
        joined.by,
    )


@dataclass(frozen=True)
class _Joined:
    """ids, cases, targets: of the submission's rows. by: the column of the test images that tells their case."""

    ids: tuple[str, ...]
    cases: tuple[str, ...]
    targets: tuple[str, ...] | None = None
    by: str | None = None


def _joined(part: Part, rows: tuple[str, ...], sample: Sample | None, targets: Sequence[str]) -> _Joined:
    """How the rows of the submission belong to those of the test images. Raises UserError if they do not."""
    if sample is None:
        return _Joined(rows, rows)
    if sample.id_at is None:
        return _by_order(part, rows, sample)
    spelled = _same_ids(sample.ids, rows)
    if spelled is not None:
        return _Joined(sample.ids, spelled)
    return (
        _by_column(part, rows, sample, targets)
        or _by_ending(rows, sample, targets)
        or _refuse_other_ids(part, rows, sample)
    )


def _by_order(part: Part, rows: tuple[str, ...], sample: Sample) -> _Joined:
    if len(sample.table) != len(rows):
        fault = f"{counted(len(sample.table), 'row')} without ids for {counted(len(rows), 'test image')}"
        raise fault_in(sample.table.path, fault, "take both from the same download, or remove the sample")
    return _Joined((), rows)


def _same_ids(ids: tuple[str, ...], rows: tuple[str, ...]) -> tuple[str, ...] | None:
    """For each id the row that it means, where both list the same: exactly, but for blanks, or but for the suffix."""
    if ids == rows or set(ids) == set(rows):
        return ids
    for plain in (str.strip, lambda name: Path(name.strip().replace("\\", "/")).stem):
        meant = {plain(row): row for row in rows}
        if len(meant) == len(rows) == len(ids) and all(plain(each) in meant for each in ids):
            return tuple(meant[plain(each)] for each in ids)
    return None


def _by_column(part: Part, rows: tuple[str, ...], sample: Sample, targets: Sequence[str]) -> _Joined | None:
    """Another column of the test table has the sample's ids: of its rows, or of the cases of its images."""
    wanted = set(sample.ids)
    for name in part.table.columns:
        cells = part.table.column(name)
        if name == part.image or set(cells) != wanted:
            continue
        if len(wanted) < len(cells) or len(set(rows)) == len(rows):
            return _Joined(sample.ids, sample.ids, by=name)
        if (target := _column_of(part.table, targets)) is not None:
            about = dict(zip(cells, zip(rows, part.table.stripped(target), strict=True), strict=True))
            return _Joined(
                sample.ids, tuple(about[row][0] for row in sample.ids), tuple(about[row][1] for row in sample.ids)
            )
    return None


def _column_of(table: Table, targets: Sequence[str]) -> str | None:
    """The column of a test table that names targets."""
    return next((name for name in table.columns if set(table.stripped(name)) <= set(targets)), None)


def _by_ending(rows: tuple[str, ...], sample: Sample, targets: Sequence[str]) -> _Joined | None:
    """The sample's ids are those of images and the names of targets, as in ``7_vowel``."""
    pairs = parted(sample.ids, targets) if len(targets) > 1 else None
    if pairs is None or set(pairs["case"]) != set(rows):
        return None
    return _Joined(sample.ids, tuple(pairs["case"]), tuple(pairs["target"]))


def _once(part: Part) -> Part:
    """The part with one row for each image."""
    kept = ~part.table.frame[part.image].duplicated().to_numpy()
    return part.take(kept)


def _refuse_other_ids(part: Part, rows: tuple[str, ...], sample: Sample) -> _Joined:
    ids, test = set(sample.ids), part.table.path.name
    lacking, strange = sorted(set(rows) - ids), sorted(ids - set(rows))
    faults = [f"lacks {counted(len(lacking), 'test id')}: {listed(lacking)}"] if lacking else []
    faults += [f"has {counted(len(strange), 'id')} not in {test}: {listed(strange)}"] if strange else []
    remedy = f"it and {test} must list the same ids; take both from the same download, or remove the sample"
    raise fault_in(sample.table.path, " and ".join(faults), remedy)
