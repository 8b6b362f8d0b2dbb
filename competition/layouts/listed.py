"""The layout of contests whose labels lie in a list that is no CSV: lines of text, or JSON."""

from dataclasses import replace

from competition.layouts.columns import holds_images
from competition.layouts.csvs import found_in
from competition.layouts.evidence import Evidence
from competition.layouts.lists import LABEL, read_list
from competition.layouts.options import Options
from competition.layouts.other_tables import TEST, VALIDATION, may_train, names_folders
from competition.layouts.parts import Found, Part
from competition.layouts.pictures import PROBED, Pictures
from competition.layouts.rows import BAR
from competition.layouts.samples import Sample
from competition.tables import Table


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
    if len(table.columns) < 2 or names_folders(table, pictures):
        return False
    return holds_images("train", probe, pictures.has_files)


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
