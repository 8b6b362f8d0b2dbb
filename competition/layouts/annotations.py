"""Annotations in JSON as COCO has them: images, annotations and categories, in the variants of the contests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from competition.layouts.evidence import Evidence
from competition.layouts.options import Options
from competition.layouts.parts import Found, Part, table_of
from competition.layouts.rows import BAR
from competition.layouts.samples import Sample
from competition.wording import counted, fault_in, listed, printable

IMAGE, LABEL = "image_id", "category_id"
_LARGEST = 4 << 30  # bytes of a JSON file that is read
_TRAIN, _VAL, _TEST = "train", "val", "test"


def from_annotations(evidence: Evidence, sample: Sample | None, options: Options) -> Found | None:
    """What JSON files with images and annotations say; None if there are none for training."""
    read = {path: content for path in evidence.files if (content := _read(path)) is not None}
    labelled = {path: content for path, content in read.items() if content.get("annotations")}
    if not labelled:
        return None
    by_split = {_split_of(path, evidence): path for path in reversed(labelled)}
    train = by_split.get(_TRAIN) or next(iter(labelled))
    val = by_split.get(_VAL)
    test = next((path for path in read if path not in labelled and _split_of(path, evidence) == _TEST), None)
    names = _category_names(labelled[train])
    told = f"{train.name}: annotations of {counted(len(labelled[train]['images']), 'image')}"
    spelled = names if sample and _spells_names(sample, names) else {}
    return Found(
        _labelled(train, labelled[train], spelled, evidence),
        (LABEL,),
        _labelled(val, labelled[val], spelled, evidence) if val and val != train else None,
        _unlabelled(test, read[test], evidence) if test else None,
        (f"{told} ({listed(sorted(set(names.values())))})",),
        separator=BAR,
    )


def _spells_names(sample: Sample, names: Mapping[str, str]) -> bool:
    """Whether the sample shows names of categories, not their numbers; each must have a name of its own."""
    shown = {*sample.cells, *sample.names}
    return len(set(names.values())) == len(names) and bool(shown & set(names.values())) and not shown & set(names)


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file that lists images; a bare list of them counts as one."""
    if path.suffix.lower() != ".json" or path.stat().st_size > _LARGEST or not _lists_images(path):
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise fault_in(path, f"not JSON ({printable(error)})", "download it again") from error
    content = {"images": content} if isinstance(content, list) else content
    images = content.get("images")
    fits = isinstance(images, list) and images and isinstance(images[0], dict) and "file_name" in images[0]
    return content if fits else None


def _lists_images(path: Path) -> bool:
    """Whether the beginning or the end of a file names files of images."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        return b'"file_name"' in head or b'"images"' in head or b'"file_name"' in file.read()


def _split_of(path: Path, evidence: Evidence) -> str:
    """The split that the name of a file, else that of its folder tells."""
    for name in (path.stem.lower(), path.parent.name.lower() if path.parent not in evidence.roots else ""):
        for split in (_TEST, _VAL, _TRAIN):
            if split in name.replace("train_val", _TRAIN):
                return split
    return ""


def _labelled(path: Path, content: Mapping[str, Any], spelled: Mapping[str, str], evidence: Evidence) -> Part:
    """The images with their categories, parted by bars if they are several. Raises UserError for unknown images.

    spelled: what categories are called, if it is not by their ids.
    """
    files = {_id_of(image): image["file_name"] for image in content["images"]}
    labels: dict[str, dict[str, None]] = {}
    for annotation in content["annotations"]:
        image = str(annotation.get("image_id", annotation.get("id")))
        category = str(annotation[LABEL])
        labels.setdefault(image, {})[spelled.get(category, category)] = None
    if strange := [image for image in labels if image not in files]:
        raise fault_in(path, f"annotations of unknown images ({listed(strange)})", "download it again")
    ids = [image for image in files if image in labels]
    table = table_of(path, {IMAGE: ids, LABEL: [BAR.join(labels[image]) for image in ids]})
    return Part(table, IMAGE, found_files(path, [files[image] for image in ids], evidence))


def _unlabelled(path: Path, content: Mapping[str, Any], evidence: Evidence) -> Part:
    files = {_id_of(image): image["file_name"] for image in content["images"]}
    names = [PurePosixPath(name) for name in files.values()]
    called = {
        "file_name": map(str, names),
        "name": (name.name for name in names),
        "stem": (name.stem for name in names),
    }
    table = table_of(path, {IMAGE: list(files), **{column: list(cells) for column, cells in called.items()}})
    return Part(table, IMAGE, found_files(path, list(files.values()), evidence))


def _id_of(image: Mapping[str, Any]) -> str:
    return str(image.get("id", image.get("image_id", image["file_name"])))


def _category_names(content: Mapping[str, Any]) -> dict[str, str]:
    """The readable name of each category by its id."""
    keys = ("name", "scientificName", "supercategory")
    categories: Iterable[Mapping[str, Any]] = content.get("categories", ())
    return {
        str(each.get("id", each.get("category_id"))): str(next((each[key] for key in keys if key in each), each))
        for each in categories
    }


def found_files(table: Path, names: Sequence[str], evidence: Evidence) -> tuple[Path, ...]:
    """The files that annotations name, relative to the annotations' folder, a root, or a folder of images there.

    Raises UserError if some are missing.
    """
    first = names[0]
    places = (table.parent, *evidence.roots, *_folders_for(table, evidence))
    place = next((place for place in places if (place / first).is_file()), None)
    if place is None:
        return evidence.images.paths(table, _split_of(table, evidence) or _TRAIN, names)
    paths = tuple(place / name for name in names)
    if missing := [name for name, path in zip(names, paths, strict=True) if not path.is_file()]:
        raise fault_in(
            table, f"no file for {counted(len(missing), 'image')} ({listed(missing)})", "unpack all archives"
        )
    return paths


def _folders_for(table: Path, evidence: Evidence) -> Iterable[Path]:
    """The folders beside the annotations and in the roots, those named like the split first."""
    split = _split_of(table, evidence)
    folders = {each for place in (table.parent, *evidence.roots) for each in place.iterdir() if each.is_dir()}
    return sorted(folders, key=lambda folder: (split not in folder.name.lower(), folder))
