"""Layouts without a table of labels: a folder for each class, or the class in the name of the file."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from competition.layouts.evidence import Evidence
from competition.layouts.parts import Found, Part, table_of
from competition.layouts.pictures import Pictures
from competition.layouts.samples import Sample
from competition.wording import counted, listed

IMAGE = "image"
_CLASS_AND_NUMBER = re.compile(r"(?P<label>[^\d\W][^.]*?)[._\- ]+\(?\d+\)?$")
_FEWEST = 2  # images of a class in the mean, so that what begins a name is a class

Files = Sequence[tuple[Path, str]]  # paths, and names relative to the folder of their split


def from_folders(evidence: Evidence, sample: Sample | None, pictures: Pictures) -> Found | None:
    """A folder for each class, else the class in the file name; None if the images of train show neither."""
    label = sample.names[0] if sample and len(sample.names) == 1 else "label"
    files = pictures.images.files("train")
    for way, classes_of in (("a folder for each class", _folders), ("the class in the name of each file", _names)):
        if labels := classes_of(files):
            train = _part(evidence.folder, files, labels, label)
            validation = pictures.images.files("val")
            val_labels = classes_of(validation) if validation and not _are_same(files, validation) else None
            val = _part(evidence.folder, validation, val_labels, label) if val_labels else None
            found = f"no table of labels: {way} ({counted(len(set(labels)), 'class')[:-1]}es: {listed(sorted(set(labels)))})"
            return Found(train, (label,), val, None, (found,))
    return None


def _are_same(files: Files, others: Files) -> bool:
    return {path for path, _ in files} == {path for path, _ in others}


def _part(folder: Path, files: Files, labels: Sequence[str], label: str) -> Part:
    table = table_of(folder, {IMAGE: [name for _, name in files], label: list(labels)})
    return Part(table, IMAGE, tuple(path for path, _ in files))


def _folders(files: Files) -> list[str] | None:
    """The name of the folder of each file, if all lie in folders, of which there are several.

    Of nested folders it is the level that all files have and that tells most of them apart, counted from the file.
    """
    parents = [PurePosixPath(name).parts[:-1] for _, name in files]
    if not parents or not all(parents):
        return None
    deepest = min(map(len, parents))
    levels = ([parts[-depth] for parts in parents] for depth in range(1, deepest + 1))
    return next((labels for labels in levels if _are_classes(labels)), None)


def _names(files: Files) -> list[str] | None:
    """The beginning of each file's name before its number, if that is a class."""
    found = [_CLASS_AND_NUMBER.fullmatch(PurePosixPath(name).stem) for _, name in files]
    if not files or not all(found):
        return None
    labels = [match["label"] for match in found if match]
    return labels if _are_classes(labels) else None


def _are_classes(labels: Sequence[str]) -> bool:
    counts = Counter(labels)
    return len(counts) > 1 and len(labels) >= _FEWEST * len(counts)
