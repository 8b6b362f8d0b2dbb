"""Lists of images and their labels that are no CSV: lines of text, or a JSON object or a list of records."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from competition.images_on_disk import names_image
from competition.layouts.columns import holds_images
from competition.layouts.csvs import TEST, VALIDATION, found_in, may_train
from competition.layouts.evidence import Evidence
from competition.layouts.options import Options
from competition.layouts.parts import Found, Part, table_of
from competition.layouts.pictures import PROBED, Pictures
from competition.layouts.rows import BAR
from competition.layouts.samples import Sample
from competition.tables import Table

IMAGE, LABEL = "image", "label"
_LARGEST = 1 << 28  # bytes of a list that is read
_LINE = re.compile(r"(?P<image>\S.*?\.\w+)((\s*[,;\t]\s*|\s+)(?P<label>\S.*?))?")  # zoo/cat 1.jpg 0
_FLAT = re.compile(r'\s*(\{\s*"[^"]*"\s*:|\[\s*\{\s*"[^"]*"\s*:)\s*("|-?\d|\[)')  # the beginning of a flat object


def from_lists(evidence: Evidence, sample: Sample | None, options: Options, pictures: Pictures) -> Found | None:
    """What a list of images and labels says; None if there is none."""
    label = sample.names[0] if sample and len(sample.names) == 1 else LABEL
    for path in sorted(evidence.lists, key=lambda path: "train" not in path.stem.lower()):
        table = read_list(path, label) if may_train(path) else None
        if table is not None and _has_images(table, pictures):
            found = found_in(table, evidence, sample, options, pictures)
            return replace(_with_other_lists(found, evidence, label), separator=BAR)
    return None


def _has_images(table: Table, pictures: Pictures) -> bool:
    """Whether the first of several columns names images that are there."""
    probe = table.column(table.columns[0])[:PROBED]
    return len(table.columns) > 1 and holds_images("train", probe, pictures.has_files)


def _with_other_lists(found: Found, evidence: Evidence, label: str) -> Found:
    """What was found with the lists of validation and test images, where no tables have them."""
    lists = {path: table for path in evidence.lists if (table := read_list(path, label)) is not None}
    val = next((table for path, table in lists.items() if VALIDATION.search(path.stem.lower())), None)
    test = next((table for path, table in lists.items() if TEST.search(path.stem.lower())), None)
    return replace(
        found,
        val=found.val or (Part(val, val.columns[0]) if val and len(val.columns) > 1 else None),
        test=found.test or (Part(test, test.columns[0]) if test else None),
    )


def read_list(path: Path, label: str = LABEL) -> Table | None:
    """A list as a table; None if the file is no such list. label: what the column of labels is called."""
    reader = {".txt": _lines, ".lst": _lines, ".json": _records}.get(path.suffix.lower())
    return None if reader is None or path.stat().st_size > _LARGEST else reader(path, label)


def _lines(path: Path, label: str) -> Table | None:
    """A file in each line, or a file and its label, parted by a blank, a tab, a comma or a semicolon."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = [_LINE.fullmatch(line) for line in lines if line]
    pairs = [(match["image"], match["label"]) for match in found if match and names_image(match["image"])]
    are_labelled = {each is not None for _, each in pairs}
    if len(are_labelled) != 1 or len(pairs) < len(found):
        return None
    images, labels = ([*column] for column in zip(*pairs, strict=True))
    return table_of(path, {IMAGE: images, label: labels} if all(are_labelled) else {IMAGE: images})


def _records(path: Path, label: str) -> Table | None:
    """An object with the label of each image, or a list of records with an image and its labels."""
    with path.open(encoding="utf-8", errors="replace") as file:
        if not _FLAT.match(file.read(1 << 12)):
            return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    if isinstance(content, dict):
        content = [{IMAGE: image, label: value} for image, value in content.items()]
    names = list(content[0])
    if not all(list(record) == names and all(map(_is_cell, record.values())) for record in content):
        return None
    return table_of(path, {name: [_as_cell(record[name]) for record in content] for name in names})


def _is_cell(value: Any) -> bool:
    """Whether it is text, a number, or a list of some."""
    return isinstance(value, str | int | float) or (isinstance(value, list) and all(map(_is_cell, value)))


def _as_cell(value: Any) -> str:
    return BAR.join(map(_as_cell, value)) if isinstance(value, list) else str(value)
