"""Layouts without a table of labels: a folder for each class, or the class in the name of the file."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from competition.layouts.evidence import Evidence
from competition.layouts.options import Options
from competition.layouts.parts import Found, Part, table_of
from competition.layouts.pictures import Pictures
from competition.layouts.samples import Sample
from competition.wording import listed

IMAGE, NAME = "image", "file name"
_CLASS_AND_NUMBER = re.compile(r"(?P<label>[^\d\W][^.]*?)[._\- ]+\(?\d+\)?$")
_NUMBER_AND_NUMBER = re.compile(r"(?P<label>\d+)[_-]\d+$")
_UNLABELLED = re.compile(r"un[_-]?labell?ed", re.IGNORECASE)
_MASK = re.compile(r"(?P<photo>.+)_mask(_\d+)?")
_FEWEST = 2  # images of a class in the mean, so that what begins a name is a class

Files = Sequence[tuple[Path, str]]  # paths, and names relative to the folder of their split


def from_folders(evidence: Evidence, sample: Sample | None, options: Options, pictures: Pictures) -> Found | None:
    """A folder for each class, else the class in the file name; None if the images of train show neither."""
    label = sample.names[0] if sample and len(sample.names) == 1 else "label"
    shown = {*sample.cells, *sample.names} if sample else set()
    train = _photos(pictures.images.files("train") or _beside(evidence, pictures))
    val = _photos(pictures.images.files("val"))
    for way, classes_of in (("a folder for each class", _folders), ("the class in the name of each file", _names)):
        if labels := classes_of(train, shown):
            val_labels = classes_of(val, set(labels)) if val != train else None
            different = sorted(set(labels))
            told = f"no table of labels: {way} ({len(different)} classes: {listed(different)})"
            group = NAME if _are_versions(train, labels) else None
            if options.negative is not None:
                labels, val_labels = (_as_flags(some, options.negative) for some in (labels, val_labels or []))
            return Found(
                _part(evidence.folder, train, labels, label),
                (label,),
                _part(evidence.folder, val, val_labels, label) if val_labels else None,
                found=(told,),
                group=group,
            )
    return None


def _as_flags(labels: Sequence[str], negative: str) -> list[str]:
    return [str(int(label != negative)) for label in labels]


def _beside(evidence: Evidence, pictures: Pictures) -> Files:
    """The images in folders that speak of no split, with their names from the root."""
    paths = [path for path, _ in pictures.images.files(None)]
    roots = [next(root for root in evidence.roots if path.is_relative_to(root)) for path in paths]
    return [(path, path.relative_to(root).as_posix()) for path, root in zip(paths, roots, strict=True)]


def _photos(files: Files) -> Files:
    """The files without those in folders called unlabelled, and without masks beside their photo: ``1_mask.png``."""
    kept = [file for file in files if not any(map(_UNLABELLED.fullmatch, PurePosixPath(file[1]).parts[:-1]))]
    names = {PurePosixPath(name).with_suffix("") for _, name in kept}
    return [(path, name) for path, name in kept if not _is_mask(PurePosixPath(name).with_suffix(""), names)]


def _is_mask(name: PurePosixPath, names: set[PurePosixPath]) -> bool:
    match = _MASK.fullmatch(name.name)
    return match is not None and name.with_name(match["photo"]) in names


def _part(folder: Path, files: Files, labels: Sequence[str], label: str) -> Part:
    names = [name for _, name in files]
    table = table_of(folder, {IMAGE: names, label: list(labels), NAME: [PurePosixPath(name).name for name in names]})
    return Part(table, IMAGE, tuple(path for path, _ in files))


def _are_versions(files: Files, labels: Sequence[str]) -> bool:
    """Whether the images of each class have the same names, as versions of the same pictures have."""
    names: dict[str, set[str]] = defaultdict(set)
    for (_, name), label in zip(files, labels, strict=True):
        names[label].add(PurePosixPath(name).name)
    return all(some == names[labels[0]] for some in names.values())


def _folders(files: Files, shown: set[str]) -> list[str] | None:
    """The name of the folder of each file, if all lie in folders, of which there are several.

    Of nested folders it is the level with names that the sample submission shows, else the innermost of which no name
    is below several others, as those of patients are whom each class has.
    """
    parents = [PurePosixPath(name).parts[:-1] for _, name in files]
    deepest = min(map(len, parents), default=0)
    levels = [[parts[-depth] for parts in parents] for depth in range(1, deepest + 1)]
    outer = [[parts[:-depth] for parts in parents] for depth in range(1, deepest + 1)]
    fitting = [place for place, names in enumerate(levels) if _are_classes(names)]
    known = (place for place in fitting if shown.intersection(levels[place]))
    apart = (
        place for place in fitting if len(set(zip(outer[place], levels[place], strict=True))) == len(set(levels[place]))
    )
    best = next(known, next(apart, fitting[-1] if fitting else None))
    return None if best is None else levels[best]


def _names(files: Files, shown: set[str]) -> list[str] | None:
    """The beginning of each file's name before its number, if that is a class; a number only if the sample shows it."""
    for pattern in (_CLASS_AND_NUMBER, _NUMBER_AND_NUMBER):
        found = [pattern.fullmatch(PurePosixPath(name).stem) for _, name in files]
        labels = [match["label"] for match in found if match]
        is_shown = pattern is _CLASS_AND_NUMBER or not shown.isdisjoint(labels)
        if is_shown and len(labels) == len(files) and _are_classes(labels):
            return labels
    return None


def _are_classes(labels: Sequence[str]) -> bool:
    counts = Counter(labels)
    return len(counts) > 1 and len(labels) >= _FEWEST * len(counts)
