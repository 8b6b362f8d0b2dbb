"""Tables beside that of the training images: of test and validation images, of corrections, of names of classes."""

import re
from collections.abc import Iterable
from pathlib import Path

from competition.layouts.evidence import SAMPLE, Evidence
from competition.layouts.labels import NUMBER
from competition.layouts.pictures import PROBED, Pictures
from competition.layouts.samples import Sample
from competition.tables import Table, read_table
from competition.wording import fault_in

VALIDATION = re.compile(r"^val(id(ation)?)?([_-]?(labels?|set|data|info|metadata))?$")
TEST = re.compile(r"(^|[_-])test(ing)?([_-]?(metadata|images|info|ids|set|data))?([_-]?v?\d+)?$")
_SIDE = re.compile(
    r"^test|submission|annotation|box|leak|(^|[_-])old($|[_-])|extra|pseudo|external|duplicate|relationship|mask|segment"
)
FEW = 0.1  # of the training images, in a side table


def may_train(path: Path) -> bool:
    stem = path.stem.lower()
    return not (SAMPLE.search(stem) or TEST.search(stem) or _SIDE.search(stem) or VALIDATION.search(stem))


def lists_few(table: Table, pictures: Pictures) -> bool:
    """Whether a table that is not called that of training has few of the images, as a list of corrections has."""
    if "train" in table.path.stem.lower() or len(table) >= FEW * len(pictures.images.files("train")):
        return False
    return any(pictures.has_files("train", table.column(name)[:PROBED]) for name in table.columns)


def names_folders(table: Table, pictures: Pictures) -> bool:
    """Whether a table has only names of the folders of classes: a row for each, with texts that differ."""
    folders, *others = (table.column(name)[:PROBED] for name in table.columns)
    are_texts = all(len(set(cells)) == len(cells) and not any(map(NUMBER.fullmatch, cells)) for cells in others)
    return are_texts and 2 * sum(pictures.images.has_folders("train", [name]) for name in folders) >= len(folders)


def test_table(evidence: Evidence, train: Path, sample: Sample | None) -> Table | None:
    """The table of the test images: test.csv, or one named like it with a column that train or the sample has too."""
    there = [path for path in evidence.tables if TEST.search(path.stem.lower()) and path != train]
    plain = [path for path in there if path.stem.lower() == "test"]
    for path in plain or there:
        shown = evidence.glances.get(path)
        known = {*evidence.glances[train].columns} if train in evidence.glances else set()
        if plain or (shown and _folded(shown.columns) & _folded([sample.id_name] if sample else known)):
            return read_table(path)
    return None


def validation_table(evidence: Evidence, train: Path) -> Table | None:
    """The table of validation images beside that of the training images. Raises UserError if there are two."""
    alike = re.sub("train", "val", train.stem.lower())  # zoo-Train.csv, zoo-Val.csv
    there = [
        path
        for path in evidence.tables
        if path.parent == train.parent
        and path != train
        and (VALIDATION.search(path.stem.lower()) or path.stem.lower() == alike)
    ]
    if len(there) > 1:
        names = " and ".join(path.name for path in there)
        raise fault_in(train.parent, f"both {names} are there", "keep one of them")
    return read_table(there[0]) if there else None


def _folded(names: Iterable[str]) -> set[str]:
    return set(map(str.casefold, names))
