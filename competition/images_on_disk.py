"""Finds the image file of each id: every folder is listed once, then ids are looked up in memory."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from competition.wording import counted, fault_in, listed, printable

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

_FOLDERS = {
    "train": ("train_images", "train", "images"),
    "val": ("val_images", "validation_images", "val", "validation", "images"),
    "test": ("test_images", "test", "images"),
}
_LEAVES = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")


def leaves_folder(name: str) -> bool:
    """Whether a name could point outside the folder: an absolute path, a drive letter or ``..``."""
    return _LEAVES.search(name) is not None


def names_image(name: str) -> bool:
    """Whether a name ends in the suffix of an image, in upper or lower case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


class _Listing:
    """The images in one folder, found by name with or without the suffix; the suffix may be in any case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = set(_image_names(folder))

    def matches(self, image_id: str) -> Sequence[str]:
        """The file names that an id may mean: none, one, or several if it is ambiguous."""
        return (image_id,) if image_id in self._names else self._loose_names.get(image_id, ())

    @cached_property
    def _loose_names(self) -> dict[str, list[str]]:
        """File names by their stem, and by their name with the suffix in lower case."""
        names = defaultdict(list)
        for name in sorted(self._names):
            stem, dot, suffix = name.rpartition(".")
            names[stem].append(name)
            names[stem + dot + suffix.lower()].append(name)
        return dict(names)


def _image_names(folder: Path, prefix: str = "") -> Iterator[str]:
    """Names of all images in and below the folder, relative to it. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _image_names(folder / entry.name, f"{prefix}{entry.name}/")
            elif names_image(entry.name) and entry.is_file():
                yield prefix + entry.name


class ImagesOnDisk:
    """The images in a competition's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listings: dict[Path, _Listing] = {}

    def has_all(self, split: str, ids: Sequence[str]) -> bool:
        """Whether every id of a split has a file."""
        listing = self._listing_for(split, ids)
        return all(listing.matches(image_id) for image_id in ids)

    def paths(self, table: Path, split: str, ids: Sequence[str]) -> tuple[Path, ...]:
        """One file for each id of a table's split (``train``, ``val`` or ``test``).

        Raises UserError for ids that point outside the folder, that have no image, or that match several.
        """
        outside = filter(leaves_folder, ids)
        _refuse(table, outside, "a way out of the competition's folder", "write ids relative to it")
        listing = self._listing_for(split, ids)
        found = {image_id: listing.matches(image_id) for image_id in ids}
        place = printable(listing.folder, most=200)
        missing = (image_id for image_id, names in found.items() if not names)
        suffixes = " ".join(IMAGE_SUFFIXES)
        remedy = "put the files there or take the rows out"
        _refuse(table, missing, f"no image ({suffixes}) in {place}", remedy)
        several = (f"{image_id} ({' '.join(names)})" for image_id, names in found.items() if len(names) > 1)
        _refuse(table, several, f"several images in {place}", "write the ids with their extension")
        return tuple(listing.folder / names[0] for names in found.values())

    def _listing_for(self, split: str, ids: Sequence[str]) -> _Listing:
        """The first folder that holds any of the ids, or simply the first folder if none does."""
        places = (self.folder / name for name in _FOLDERS[split])
        listings = [place for place in places if place.is_dir()] + [self.folder]
        holding = (place for place in listings if any(map(self._listing(place).matches, ids)))
        return self._listing(next(holding, listings[0]))

    def _listing(self, folder: Path) -> _Listing:
        if folder not in self._listings:
            self._listings[folder] = _Listing(folder)
        return self._listings[folder]


def _refuse(table: Path, ids: Iterable[str], fault: str, remedy: str) -> None:
    if wrong := list(ids):
        raise fault_in(table, f"{fault} for {counted(len(wrong), 'id')}: {listed(wrong)}", remedy)
