"""Finds files, or folders of files, by their names without suffix."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import truediv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from competition.images_on_disk.folders import Folder
from competition.images_on_disk.names import key_of, parts_of, readings, stem_of


class Place(NamedTuple):
    """What an id may mean: a file, or a folder, whose name then is empty. number: of the place in its index."""

    folder: Folder
    name: str
    number: int

    @property
    def own_name(self) -> str:
        return self.name or self.folder.names[-1]


class Index:
    """Places by their names without suffix. They are numbered, since there may be a million.

    folders: where places are. names: of the file of each place, or empty. folder_of: the number of its folder.
    """

    def __init__(
        self, folders: Sequence[Folder], parents: Sequence[tuple[str, ...]], places: Iterable[tuple[int, str]]
    ) -> None:
        """parents: of places in each folder, the keys of the folders in which they lie.

        places: the number of a folder, and the name of a file in it, empty for the folder itself.
        """
        self.folders, self._parents = folders, parents
        self.names: list[str] = []
        self.folder_of = array("q")
        for folder, name in places:
            self.names.append(name)
            self.folder_of.append(folder)

    @classmethod
    def of_files(cls, folders: Sequence[Folder]) -> "Index":
        """The images in these folders."""
        places = ((number, name) for number, folder in enumerate(folders) for name in folder.images)
        return cls(folders, [folder.keys for folder in folders], places)

    @classmethod
    def of_folders(cls, folders: Sequence[Folder]) -> "Index":
        """These folders but for roots, if they hold images."""
        inner = [folder for folder in folders if folder.names and any(each.images for each in folder.below())]
        return cls(inner, [folder.keys[:-1] for folder in inner], ((number, "") for number in range(len(inner))))

    def place(self, number: int) -> Place:
        return Place(self.folders[self.folder_of[number]], self.names[number], number)

    def paths(self, numbers: np.ndarray) -> tuple[Path, ...]:
        """The files in these places, int64 ``[N]``."""
        folders = (self.folders[self.folder_of[number]].path for number in numbers.tolist())
        return tuple(map(truediv, folders, map(self.names.__getitem__, numbers.tolist())))

    def counts(self, numbers: np.ndarray) -> list[tuple[Folder, int]]:
        """How many of these places, int64, are in each folder that has some."""
        folders, counts = np.unique(np.asarray(self.folder_of)[numbers], return_counts=True)
        return [(self.folders[folder], count) for folder, count in zip(folders, counts.tolist(), strict=True)]

    def exactly(self, image_ids: Sequence[str]) -> list[int] | None:
        """The places of all ids, where each is the name of a file, or each is one without its suffix; None otherwise.

        Quick, but only for one home of files whose names differ; ``find`` has the same answers.
        """
        found = _all_of(self._by_name, image_ids)
        return found if found is not None else _all_of(self._by_stem, image_ids)

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return self._distinct(self.names)

    @cached_property
    def _by_stem(self) -> dict[str, int]:
        return self._distinct([name.rpartition(".")[0] for name in self.names])

    def _distinct(self, spelled: list[str]) -> dict[str, int]:
        """The places by these spellings; empty if any two are alike, or if there are several homes."""
        homes = {folder.home for folder in self.folders if folder.images}
        numbers = dict(zip(spelled, range(len(spelled)), strict=True))
        return numbers if len(homes) == 1 and len(numbers) == len(spelled) and "" not in numbers else {}

    def find(self, image_id: str) -> Sequence[int]:
        """All places that an id may mean, whose folders end as those of the id."""
        *folders, name = parts_of(image_id)
        stem = stem_of(name)
        found = self._called(key_of(stem)) or self._called(key_of(name)) or self._loosely(stem)
        if folders:
            keys = tuple(map(key_of, folders))
            found = [number for number in found if self._parents[self.folder_of[number]][-len(keys) :] == keys]
        return self._photos(found) if len(found) > 1 else found

    def _photos(self, numbers: Sequence[int]) -> Sequence[int]:
        """The places that are in no folder of masks and the like; all if there are no others."""
        return [number for number in numbers if not self.place(number).folder.is_aside] or numbers

    def _called(self, key: str) -> Sequence[int]:
        first, several = self._by_key
        number = first.get(key)
        return () if number is None else several.get(key) or (number,)

    @cached_property
    def _by_key(self) -> tuple[dict[str, int], dict[str, list[int]]]:
        """The first place of each key, and all of those keys that have several."""
        names = [self.place(number).own_name for number in range(len(self.names))] if "" in self.names else self.names
        keys = list(map(stem_of, key_of("/".join(names)).split("/"))) if names else []  # quicker than one at a time
        first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
        several: dict[str, list[int]] = {}
        for number, key in enumerate(keys) if len(first) < len(keys) else ():
            if first[key] != number:
                several.setdefault(key, [first[key]]).append(number)
        return first, several

    def _loosely(self, stem: str) -> Sequence[int]:
        """For a number: places called by it with more or fewer zeros. Else: those whose names were misread."""
        if stem.isascii() and stem.isdecimal():
            return self._numbers.get(int(stem), ())
        return () if stem.isascii() else self._misread.get(key_of(stem), ())

    @cached_property
    def _numbers(self) -> dict[int, list[int]]:
        numbers: dict[int, list[int]] = defaultdict(list)
        for key in self._by_key[0]:
            if key.isascii() and key.isdecimal():
                numbers[int(key)] += self._called(key)
        return numbers

    @cached_property
    def _misread(self) -> dict[str, list[int]]:
        """Names whose bytes an unpacking tool took for another alphabet, under what they may have been."""
        misread: dict[str, list[int]] = defaultdict(list)
        for key, first in self._by_key[0].items():
            for reading in () if key.isascii() else set(readings(stem_of(self.place(first).own_name))):
                misread[key_of(reading)] += self._called(key)
        return misread


def _all_of(numbers: dict[str, int], names: Sequence[str]) -> list[int] | None:
    found = [number for number in map(numbers.get, names) if number is not None]
    return found if len(found) == len(names) else None
