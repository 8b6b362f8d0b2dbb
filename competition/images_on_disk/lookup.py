"""What the ids of a split mean, all of them considered together."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from competition.images_on_disk.folders import Word
from competition.images_on_disk.index import Index, Place
from competition.images_on_disk.names import MAY_LEAVE, best_size, climbs, key_of, leaves_folder, parts_of, stem_of

Words = frozenset[Word]

_POOLS: dict[str, tuple[tuple[Word, ...], ...]] = {  # the first that holds any id of the split has all of them
    "train": (("train", "val"), (None,), ("test",)),
    "val": (("val", "train"), (None,), ("test",)),
    "test": (("test",), (None,), ("val", "train")),
}
POOLS: tuple[Words, ...] = tuple(map(frozenset, _POOLS["train"]))
_USUAL = {  # of several folders the likelier one
    **dict.fromkeys(("train_images", "val_images", "validation_images", "test_images"), 0),
    **dict.fromkeys(("train", "val", "validation", "test"), 1),
    "images": 2,
}
_SIZE = re.compile(r"(?<![a-z\d])(\d{2,4})(x\1|px?)(?![a-z\d])", re.IGNORECASE)  # train_64x64, 300p
_PROBED = 100  # ids that are tried to find out what stands before them
_NONE, _SEVERAL = -1, -2  # in the place of a number


class Lookup:
    """The place of each id of a split, which may have none, or several if it is ambiguous."""

    def __init__(self, indexes: Mapping[Words, Index], split: str, ids: Sequence[str]) -> None:
        """indexes: for each of ``POOLS``, those in folders that speak of these splits. split: one of them."""
        self._ids, self._indexes = ids, indexes
        self._prefix = self._what_stands_before(ids)
        self._names = [image_id.removeprefix(self._prefix) for image_id in ids] if self._prefix else ids
        for self._pool in _POOLS[split]:
            self.index = indexes[frozenset(self._pool)]
            self._found = _found(self.index, self._names)
            if (self._found[0] != _NONE).any():
                break

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def has_all(self) -> bool:
        """Whether each id has a place."""
        return bool((self._found[0] != _NONE).all())

    @property
    def missing(self) -> list[str]:
        """The ids that have no place."""
        return [self._ids[row] for row in np.flatnonzero(self._found[0] == _NONE).tolist()]

    @property
    def outside(self) -> list[str]:
        """The ids that point outside the competition's folder."""
        if climbs(self._prefix):
            return list(self._ids)
        if not MAY_LEAVE.search("\n".join(self._names)):  # quicker than one at a time
            return []
        return [image_id for image_id, name in zip(self._ids, self._names, strict=True) if leaves_folder(name)]

    @property
    def several(self) -> dict[str, list[Place]]:
        """The places of the ids that are ambiguous."""
        return {self._ids[row]: places for row, places in self._best.items() if len(places) > 1}

    @property
    def places(self) -> np.ndarray:
        """The number of each id's place in ``index``, int64 ``[N]``; negative if it has none, or several."""
        numbers = self._found[0].copy()
        for row, places in self._best.items():
            numbers[row] = places[0].number if len(places) == 1 else _SEVERAL
        return numbers

    @property
    def home(self) -> str | None:
        """The folder in which most of the ids are; None if none is anywhere."""
        return min(self._ranks, key=self._ranks.__getitem__, default=None)

    def _what_stands_before(self, ids: Sequence[str]) -> str:
        """What stands before the ids and is no folder here, e.g. ``/kaggle/input/zoo/``; empty if nothing does."""
        probed = [image_id for image_id in ids[:_PROBED] if not climbs(image_id)]
        if any(not leaves_folder(image_id) and self._is_there(image_id) for image_id in probed):
            return ""
        for image_id in probed:
            parts = re.split(r"(?<=[/\\])", image_id)
            for begin in range(1, len(parts)):
                if self._is_there("".join(parts[begin:])):
                    return "".join(parts[:begin])
        return ""

    def _is_there(self, name: str) -> bool:
        indexes = self._indexes.values()
        return any(index.exactly([name]) for index in indexes) or any(index.find(name) for index in indexes)

    @cached_property
    def _ranks(self) -> dict[str, tuple[int, bool, int]]:
        """Which of several homes is meant, the lowest: that of the split, with all ids that are there, of a usual name.

        Homes of the same rank are as likely as each other.
        """
        numbers, several = self._found
        words, counts = {}, Counter[str]()
        for folder, count in self.index.counts(numbers[numbers >= 0]):
            words[folder.home] = folder.word
            counts[folder.home] += count
        for places in several.values():
            words.update((place.folder.home, place.folder.word) for place in places)
            counts.update(_homes(places))
        found = int((numbers != _NONE).sum())
        return {
            home: (self._pool.index(word), counts[home] < found, _USUAL.get(Path(home).name.lower(), len(_USUAL)))
            for home, word in words.items()
        }

    @cached_property
    def _best(self) -> dict[int, list[Place]]:
        """Of the rows that have several places, those in the home that is meant whose names are most like the id."""
        return {row: self._likeliest(self._names[row], places) for row, places in self._found[1].items()}

    def _likeliest(self, image_id: str, places: list[Place]) -> list[Place]:
        best = min(self._ranks[place.folder.home] for place in places)
        places = [place for place in places if self._ranks[place.folder.home] == best]
        if len(_homes(places)) > 1:  # train-jpg and train-tif
            places = list(filter(_is_photo, places)) or places
        places = _of_one_size(places)
        name = parts_of(image_id)[-1]
        same = [[place for place in places if is_same(place.own_name, name)] for is_same in _SAMENESS]
        return next(filter(None, same), places)


def _found(index: Index, names: Sequence[str]) -> tuple[np.ndarray, dict[int, list[Place]]]:
    """The number of each name's place, and the places of the rows that have several."""
    if (exact := index.exactly(names)) is not None:
        return np.array(exact, np.int64), {}
    numbers, several = [], {}
    for row, name in enumerate(names):
        found = index.find(name)
        numbers.append(found[0] if len(found) == 1 else _SEVERAL if found else _NONE)
        if len(found) > 1:
            several[row] = list(map(index.place, found))
    return np.array(numbers, np.int64), several


def _of_one_size(places: list[Place]) -> list[Place]:
    """Of copies in folders that are called by their sizes, those of the best one."""
    found = [_SIZE.findall("/".join(place.folder.names)) for place in places]
    if len(places) < 2 or not all(found):
        return places
    sizes = [int(each[-1][0]) for each in found]
    best = best_size(sizes)
    return [place for place, size in zip(places, sizes, strict=True) if size == best]


def _homes(places: Sequence[Place]) -> set[str]:
    return {place.folder.home for place in places}


_SAMENESS: tuple[Callable[[str, str], bool], ...] = (
    lambda name, wanted: name == wanted,
    lambda name, wanted: stem_of(name) == stem_of(wanted) and key_of(name) == key_of(wanted),
    lambda name, wanted: key_of(name) == key_of(wanted),
    lambda name, wanted: stem_of(name) == wanted,
)


def _is_photo(place: Place) -> bool:
    return place.name.lower().endswith((".jpg", ".jpeg", ".png"))
