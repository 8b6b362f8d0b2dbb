"""Finds the image file of each id: every folder is listed once, then ids are looked up in memory."""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path

from competition.images_on_disk.folders import Folder, contest_folder, listed_folder
from competition.images_on_disk.index import Index, Place
from competition.images_on_disk.lookup import POOLS, Lookup, Words
from competition.images_on_disk.names import IMAGE_SUFFIXES, best_size, in_natural_order, leaves_folder, names_image
from competition.wording import counted, fault_in, listed, printable

__all__ = ["IMAGE_SUFFIXES", "ImagesOnDisk", "best_size", "leaves_folder", "names_image", "others_in"]

_NO_IMAGES = (".csv", ".tsv", ".json", ".txt", ".md", ".py", ".xml", ".zip", ".7z", ".tar", ".gz", "")
_LISTED = 10_000  # files whose kinds are counted for an error


class ImagesOnDisk:
    """The images in the folders of a competition.

    roots: the folder, and others in which its files lie, e.g. where its archives were unpacked. Links to folders are
        followed; hidden folders are not looked into.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)

    def has_all(self, split: str, ids: Sequence[str]) -> bool:
        """Whether every id of a split (``train``, ``val`` or ``test``) has a file."""
        return Lookup(self._files, split, ids).has_all

    def has_folders(self, split: str, ids: Sequence[str]) -> bool:
        """Whether every id of a split is the name of a folder that holds images."""
        return Lookup(self._folders, split, ids).has_all

    def paths(self, table: Path, split: str, ids: Sequence[str]) -> tuple[Path, ...]:
        """One file for each id of a table's split (``train``, ``val`` or ``test``).

        Raises UserError for ids that point outside the folder, that have no image, or that match several.
        """
        lookup = self._one_each(table, "image", Lookup(self._files, split, ids))
        with _collector_paused():
            return lookup.index.paths(lookup.places)

    def several(self, table: Path, split: str, ids: Sequence[str]) -> tuple[tuple[Path, ...], ...]:
        """The images of each id that is the name of a folder: all in it and below it, ``Image-2`` before ``Image-10``.

        Raises UserError for ids that point outside the folder, that have no folder, or that match several.
        """
        lookup = self._one_each(table, "folder of images", Lookup(self._folders, split, ids))
        return tuple(_images_below(lookup.index.place(number).folder) for number in lookup.places.tolist())

    def files(self, split: str | None) -> tuple[tuple[Path, str], ...]:
        """All images in the folders that speak of a split, with their names in that folder, e.g. ``cat/1.jpg``.

        split: None for those in folders that speak of none.

        In natural order of folders and names: ``2.jpg`` before ``10.jpg``.
        """
        folders = [folder for folder in self._all_folders if folder.word == split and not folder.is_aside]
        found = [
            (folder.home, folder.inside + name, folder.path / name) for folder in folders for name in folder.images
        ]
        found.sort(key=lambda file: (in_natural_order(file[0]), in_natural_order(file[1])))
        return tuple((path, name) for _, name, path in found)

    @cached_property
    def _all_folders(self) -> tuple[Folder, ...]:
        return tuple(folder for root in self.roots for folder in listed_folder(contest_folder(root)).below())

    @cached_property
    def _files(self) -> dict[Words, Index]:
        return {words: Index.of_files(self._speaking_of(words)) for words in POOLS}

    @cached_property
    def _folders(self) -> dict[Words, Index]:
        return {words: Index.of_folders(self._speaking_of(words)) for words in POOLS}

    def _speaking_of(self, words: Words) -> list[Folder]:
        return [folder for folder in self._all_folders if folder.word in words]

    def _one_each(self, table: Path, thing: str, lookup: Lookup) -> Lookup:
        """The lookup itself. Raises UserError unless each id has one place in the competition's folder."""
        _refuse(table, lookup.outside, "a way out of the competition's folder", "write ids relative to it")
        where = printable(lookup.home or self.roots[0], most=200)
        missing = lookup.missing
        others = others_in(self.roots[0]) if len(missing) == len(lookup) else ""
        _refuse(table, missing, f"no {thing} in {where}{others}", "put the files there or take the rows out")
        several = [f"{name} ({_shown(places)})" for name, places in lookup.several.items()]
        _refuse(table, several, f"several images in {where}", "write the ids with their folders and extensions")
        return lookup


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No search for garbage, which would go through a million new objects again and again and find none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def others_in(folder: Path) -> str:
    """`` (nor can 300 .heic there be read)`` if files of another kind could be the images, else an empty string."""
    files = islice((path for path in folder.rglob("*") if path.is_file()), _LISTED)
    suffixes = Counter(path.suffix.lower() for path in files if not names_image(path.name))
    kinds = [(suffix, count) for suffix, count in suffixes.most_common() if suffix not in _NO_IMAGES]
    return f" (nor can {kinds[0][1]} {printable(kinds[0][0])} there be read)" if kinds else ""


def _images_below(folder: Folder) -> tuple[Path, ...]:
    images = (inner.path / name for inner in folder.below() for name in inner.images)
    return tuple(sorted(images, key=lambda path: in_natural_order(str(path))))


def _shown(places: Sequence[Place]) -> str:
    return " ".join(place.folder.inside + place.name for place in places)


def _refuse(table: Path, ids: Iterable[str], fault: str, remedy: str) -> None:
    if wrong := list(ids):
        raise fault_in(table, f"{fault} for {counted(len(wrong), 'id')}: {listed(wrong)}", remedy)
