"""The sample submission, whatever it is called: its ids, their order, and what its cells ask for."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from competition.images_on_disk import names_image
from competition.layouts.evidence import SAMPLE, Evidence
from competition.layouts.labels import NUMBER
from competition.tables import Table, glance, read_table
from competition.wording import fault_in, listed, printable

_REGIONS = re.compile(r"encoded_?pixels|rle(_?masks?)?|segmentation|prediction_?string", re.IGNORECASE)
_ID_NAME = re.compile(r"(^|_| )(id|image|file|filename|name|img|uid)$|id$|^image|file", re.IGNORECASE)
_PAIR = 2  # columns of a sample: the id and the label
_RANKS = (r"^sample_?submission$", r"sample.*submi", r"example|dummy|format", r"zero", "")  # of the file's stem


@dataclass(frozen=True)
class Sample:
    """A sample submission. id_at: the place of its id column; None if its rows have no ids and count by their order."""

    table: Table
    has_header: bool
    id_at: int | None

    @cached_property
    def header(self) -> tuple[str, ...]:
        return self.table.columns if self.has_header else ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns besides the id."""
        return tuple(name for place, name in enumerate(self.table.columns) if place != self.id_at)

    @cached_property
    def id_name(self) -> str:
        return "" if self.id_at is None else self.table.columns[self.id_at]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The id of each row, empty if there are none. Raises UserError for ids that are blank or there twice."""
        return () if self.id_at is None else unique_ids(self.table, self.id_name)

    @cached_property
    def cells(self) -> frozenset[str]:
        """The different cells besides the ids, without blanks around them."""
        return frozenset(cell.strip() for name in self.names for cell in set(self.table.column(name)))

    @cached_property
    def holds_numbers(self) -> bool:
        return all(map(NUMBER.fullmatch, self.cells))

    @property
    def is_wide(self) -> bool:
        return len(self.names) > 1


def unique_ids(table: Table, column: str) -> tuple[str, ...]:
    """The cells of a column of ids. Raises UserError for ids that are blank or there twice."""
    ids = table.column(column)
    refuse_blank_ids(table, column, ids)
    if len(set(ids)) < len(ids):
        counts = Counter(ids)
        names = listed(image_id for image_id, count in counts.items() if count > 1)
        table.refuse([counts[image_id] > 1 for image_id in ids], f"duplicate id ({names})", "keep one row of each")
    return ids


def refuse_blank_ids(table: Table, column: str, ids: Sequence[str]) -> None:
    if all(map(str.strip, ids)):
        return
    empty = [not image_id.strip() for image_id in ids]
    table.refuse(empty, f"empty id (column '{printable(column)}')", "fill them in or take the rows out")


def find_sample(evidence: Evidence) -> Sample | None:
    """The sample submission, told by its name, else a test table with a column of labels; None if there is none.

    Of several, the plainest name and newest version.

    Raises UserError if it is no table, or if it asks for parts of the images.
    """
    there = [path for path in evidence.tables if SAMPLE.search(path.stem.lower())] or _tests_with_labels(evidence)
    sample = read_sample(min(there, key=_rank)) if there else None
    return sample and _of_whole_images(sample)


def _of_whole_images(sample: Sample) -> Sample:
    """The sample itself. Raises UserError if it asks for parts of the images."""
    if regions := [name for name in sample.table.columns if _REGIONS.fullmatch(name)]:
        fault = f"column '{printable(regions[0])}' asks for masks or boxes, and only whole images are classified here"
        raise fault_in(sample.table.path, fault, "choose a contest of classes, or remove the file and predict classes")
    return sample


def _tests_with_labels(evidence: Evidence) -> list[Path]:
    """The tables of test images that have the two columns of the training table, so that they show the form."""
    columns = {path: shown.columns for path, shown in evidence.glances.items()}
    trained = {names for path, names in columns.items() if "train" in path.stem.lower() and len(names) == _PAIR}
    return [path for path, names in columns.items() if path.stem.lower() == "test" and names in trained]


def _rank(path: Path) -> tuple[int, int, tuple[int, ...]]:
    stem = path.stem.lower()
    kind = next(place for place, pattern in enumerate(_RANKS) if re.search(pattern, stem))
    version = tuple(-int(number) for number in re.findall(r"\d+", stem))
    return kind, len(path.parts), version


def read_sample(path: Path) -> Sample:
    """A sample submission with or without a header. Raises UserError if it is no table."""
    has_header = _has_header(path)
    table = read_table(path, has_header)
    return Sample(table, has_header, _id_at(table, has_header))


def _has_header(path: Path) -> bool:
    """Whether the first row is a header: no row like those that follow."""
    shown = glance(path)
    if shown is None:
        return True
    first, following = shown.columns, [set(cells) for cells in zip(*shown.rows, strict=True)]
    are_like = [bool(NUMBER.fullmatch(name)) or name in cells for name, cells in zip(first, following, strict=True)]
    return not (are_like[-1] if len(first) < 3 else all(are_like)) and not names_image(first[0])


def _id_at(table: Table, has_header: bool) -> int | None:
    names = table.columns
    distinct = [place for place, name in enumerate(names) if len(set(table.column(name))) == len(table)]
    if len(names) == 1:
        return 0 if distinct and names_image(table.column(names[0])[0]) else None
    if len(distinct) > 1 and has_header:
        return next((place for place in distinct if _ID_NAME.search(names[place])), distinct[0])
    return distinct[0] if distinct else 0
