"""Finds the image file of each id: every folder is listed once, then ids are looked up in memory."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from competition.wording import counted, fault_in, listed, printable

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".dcm", ".dicom", ".npy"),
)

Word = Literal["train", "val", "test"] | None  # the split that a folder's name speaks of

_POOLS: dict[str, tuple[tuple[Word, ...], ...]] = {  # the first that holds any id of the split has all of them
    "train": (("train", "val"), (None,), ("test",)),
    "val": (("val", "train"), (None,), ("test",)),
    "test": (("test",), (None,), ("val", "train")),
}
_USUAL = {  # of several folders the likelier one
    **dict.fromkeys(("train_images", "val_images", "validation_images", "test_images"), 0),
    **dict.fromkeys(("train", "val", "validation", "test"), 1),
    "images": 2,
}
_WORDS: tuple[tuple[Word, re.Pattern[str]], ...] = (
    ("train", re.compile(r"train", re.IGNORECASE)),
    ("test", re.compile(r"(?<![a-z])test|Test")),
    ("val", re.compile(r"(?<![a-z])val(id(ation)?)?(?![a-z])|Val(id)?", re.ASCII)),
)
_ASIDE = re.compile(  # folders of what is no photo, of the same names as the photos; but with_mask may be a class
    r"((train|test|val|validation)[ _-]?)?(masks|segmentations?|annotations?|thumbs|thumbnails?)", re.IGNORECASE
)
_NO_IMAGES = (".csv", ".tsv", ".json", ".txt", ".md", ".xml", ".zip", ".7z", ".tar", ".gz", "")
_LEAVES = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")
_CLIMBS = re.compile(r"(^|[/\\])\.\.([/\\]|$)")
_WRITTEN_IN = ("utf-8", "cp437", "cp1252")  # how an unpacking tool may have read the bytes of a name ...
_READ_AS = ("utf-8", "gb18030", "cp932", "cp437", "cp1252", "cp866", "cp1251")  # ... that were meant so
_LISTED = 10_000  # files whose kinds are counted for an error
_PROBED = 100  # ids that are tried to find out what stands before them


def leaves_folder(name: str) -> bool:
    """Whether a name could point outside the folder: an absolute path, a drive letter or ``..``."""
    return _LEAVES.search(name) is not None


def names_image(name: str) -> bool:
    """Whether a name ends in the suffix of an image, in upper or lower case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def _key(name: str) -> str:
    """What names have in common that mean the same: upper and lower case, letters composed or with loose accents."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    """The name without the suffix of an image; other dots belong to the name."""
    stem, _, _ = name.rpartition(".")
    return stem if stem and names_image(name) else name


def _split_word(name: str) -> Word:
    return next((word for word, pattern in _WORDS if pattern.search(name)), None)


def _natural(path: str) -> list[tuple[int, str]]:
    """A sorting key: ``Image-2`` before ``Image-10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path)]


class _Folder:
    """A folder on the disk.

    names: the folders on the way to it from the root, its own the last. home: the first of them whose name speaks of
    a split, else the first of all, else the root. word: that split. inside: the way from the home to the folder.
    """

    def __init__(self, path: Path, root: Path, names: tuple[str, ...]) -> None:
        self.path, self.names = path, names
        self.keys = tuple(map(_key, names))
        self.images: list[str] = []
        self.folders: list[_Folder] = []
        words = [_split_word(name) for name in names]
        at = next((place for place, word in enumerate(words) if word), 0)
        self.word = words[at] if words else None
        self.home = str(root.joinpath(*names[: at + 1]))  # text is compared faster than paths
        self.inside = "".join(f"{name}/" for name in names[at + 1 :])
        self.is_aside = any(map(_ASIDE.fullmatch, names))

    def below(self) -> "Iterator[_Folder]":
        """The folder itself and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.below()


def _listed(root: Path) -> _Folder:
    """A folder and all below it. Links to folders are followed last, and no folder is listed twice."""
    top = _Folder(root, root, ())
    waiting, seen = [top], set()
    links: list[_Folder] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        status = folder.path.stat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            _list(folder, root, waiting, links)
    return top


def _list(folder: _Folder, root: Path, waiting: list[_Folder], links: list[_Folder]) -> None:
    """Note the images in a folder, and its folders also among those that are yet to be listed."""
    for entry in _entries(folder.path):
        if names_image(entry.name) and entry.is_file():
            folder.images.append(entry.name)
        elif entry.is_dir():
            inner = _Folder(folder.path / entry.name, root, (*folder.names, entry.name))
            folder.folders.append(inner)
            (links if entry.is_symlink() else waiting).append(inner)


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """What lies in a folder and is not hidden. Raises UserError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
    except OSError as error:
        raise fault_in(folder, f"cannot be read ({error.strerror})", "check the folder and its permissions") from error


def _contest_folder(root: Path) -> Path:
    """The root, or the only folder in it if that is what holds the folders of the splits, whatever it is called."""
    inner = [entry for entry in _entries(root) if entry.is_dir()]
    if len(inner) == 1 and any(entry.is_dir() and _split_word(entry.name) for entry in _entries(Path(inner[0].path))):
        return _contest_folder(Path(inner[0].path))
    return root


class _Place(NamedTuple):
    """What an id may mean: a file, or a folder, whose name then is empty."""

    folder: _Folder
    name: str

    @property
    def parents(self) -> tuple[str, ...]:
        return self.folder.keys if self.name else self.folder.keys[:-1]

    @property
    def own_name(self) -> str:
        return self.name or self.folder.names[-1]


class _Index:
    """Places by their names without suffix."""

    def __init__(self, places: Iterable[_Place]) -> None:
        self._places: dict[str, list[_Place]] = defaultdict(list)
        for place in places:
            self._places[_key(_stem(place.own_name))].append(place)

    def matches(self, image_id: str) -> list[_Place]:
        """All places that an id may mean, whose folders end as those of the id."""
        *folders, name = _parts(image_id)
        keys = tuple(map(_key, folders))
        found = self._places.get(_key(_stem(name))) or self._places.get(_key(name)) or self._loosely(_stem(name))
        if keys:
            found = [place for place in found if place.parents[-len(keys) :] == keys]
        return [place for place in found if not place.folder.is_aside] or found

    def _loosely(self, stem: str) -> list[_Place]:
        """For a number: places called by it with more or fewer zeros. Else: those whose names were misread."""
        if stem.isascii() and stem.isdecimal():
            return self._numbers.get(int(stem), [])
        return [] if stem.isascii() else self._misread.get(_key(stem), [])

    @cached_property
    def _numbers(self) -> dict[int, list[_Place]]:
        numbers: dict[int, list[_Place]] = defaultdict(list)
        for key, places in self._places.items():
            if key.isascii() and key.isdecimal():
                numbers[int(key)] += places
        return numbers

    @cached_property
    def _misread(self) -> dict[str, list[_Place]]:
        """Names whose bytes an unpacking tool took for another alphabet, under what they may have been."""
        misread: dict[str, list[_Place]] = defaultdict(list)
        for key, places in self._places.items():
            for reading in () if key.isascii() else set(_readings(_stem(places[0].own_name))):
                misread[_key(reading)] += places
        return misread


def _readings(name: str) -> Iterator[str]:
    for written in _WRITTEN_IN:
        for read in _READ_AS:
            with suppress(UnicodeError):
                yield name.encode(written).decode(read)


def _parts(image_id: str) -> list[str]:
    """The folders and the name in an id; Windows separates them by backslashes."""
    name = image_id.strip()
    if "/" not in name and "\\" not in name:
        return [name]
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")] or [name]


class ImagesOnDisk:
    """The images in the folders of a competition.

    roots: the folder, and others in which its files lie, e.g. where its archives were unpacked. Links to folders are
        followed; hidden folders are not looked into.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)

    def has_all(self, split: str, ids: Sequence[str]) -> bool:
        """Whether every id of a split (``train``, ``val`` or ``test``) has a file."""
        return all(_Lookup(self._files, split, ids).places.values())

    def has_folders(self, split: str, ids: Sequence[str]) -> bool:
        """Whether every id of a split is the name of a folder that holds images."""
        return all(_Lookup(self._folders, split, ids).places.values())

    def paths(self, table: Path, split: str, ids: Sequence[str]) -> tuple[Path, ...]:
        """One file for each id of a table's split (``train``, ``val`` or ``test``).

        Raises UserError for ids that point outside the folder, that have no image, or that match several.
        """
        found = self._one_each(table, "image", _Lookup(self._files, split, ids))
        return tuple(place.folder.path / place.name for place in found)

    def several(self, table: Path, split: str, ids: Sequence[str]) -> tuple[tuple[Path, ...], ...]:
        """For each id, which is the name of a folder, all images in and below it, ``Image-2`` before ``Image-10``.

        Raises UserError for ids that point outside the folder, that have no folder, or that match several.
        """
        found = self._one_each(table, "folder of images", _Lookup(self._folders, split, ids))
        return tuple(_images_below(place.folder) for place in found)

    def files(self, split: str | None) -> tuple[tuple[Path, str], ...]:
        """All images in the folders that speak of a split, with their names in that folder, e.g. ``cat/1.jpg``.

        split: None for those in folders that speak of none.

        In natural order of folders and names: ``2.jpg`` before ``10.jpg``.
        """
        folders = [folder for folder in self._all_folders if folder.word == split and not folder.is_aside]
        found = [
            (folder.home, folder.inside + name, folder.path / name) for folder in folders for name in folder.images
        ]
        found.sort(key=lambda file: (_natural(file[0]), _natural(file[1])))
        return tuple((path, name) for _, name, path in found)

    @cached_property
    def _all_folders(self) -> tuple[_Folder, ...]:
        return tuple(folder for root in self.roots for folder in _listed(_contest_folder(root)).below())

    @cached_property
    def _files(self) -> _Index:
        return _Index(_Place(folder, name) for folder in self._all_folders for name in folder.images)

    @cached_property
    def _folders(self) -> _Index:
        inner = (folder for folder in self._all_folders if folder.names)
        return _Index(_Place(folder, "") for folder in inner if any(each.images for each in folder.below()))

    def _one_each(self, table: Path, thing: str, lookup: "_Lookup") -> Iterator[_Place]:
        outside = filter(lookup.leaves, lookup.places)
        _refuse(table, outside, "a way out of the competition's folder", "write ids relative to it")
        where = printable(lookup.home or self.roots[0], most=200)
        missing = [image_id for image_id, places in lookup.places.items() if not places]
        others = _others_in(self.roots[0]) if len(missing) == len(lookup.places) else ""
        _refuse(table, missing, f"no {thing} in {where}{others}", "put the files there or take the rows out")
        several = (f"{name} ({_shown(places)})" for name, places in lookup.places.items() if len(places) > 1)
        _refuse(table, several, f"several images in {where}", "write the ids with their folders and extensions")
        return (lookup.places[image_id][0] for image_id in lookup.ids)


class _Lookup:
    """What the ids of a split mean.

    places: for each id none, one, or several if it is ambiguous. home: the folder in which most of them are.
    """

    def __init__(self, index: _Index, split: str, ids: Sequence[str]) -> None:
        self.ids = ids
        self._index = index
        self._prefix = self._what_stands_before(ids)
        matches = {image_id: index.matches(self._inner(image_id)) for image_id in ids}
        words = {place.folder.word for places in matches.values() for place in places}
        self._pool = next((pool for pool in _POOLS[split] if words.intersection(pool)), ())
        matches = {image_id: self._in_pool(places) for image_id, places in matches.items()}
        self._ranks = self._ranks_of_homes(list(matches.values()))
        self.home = min(self._ranks, key=self._ranks.__getitem__, default=None)
        self.places = {image_id: self._best(image_id, places) for image_id, places in matches.items()}

    def leaves(self, image_id: str) -> bool:
        """Whether an id points outside the competition's folder."""
        return leaves_folder(self._inner(image_id)) or _CLIMBS.search(self._prefix) is not None

    def _inner(self, image_id: str) -> str:
        return image_id.removeprefix(self._prefix)

    def _what_stands_before(self, ids: Sequence[str]) -> str:
        """What stands before the ids and is no folder here, e.g. ``/kaggle/input/zoo/``; empty if nothing does."""
        probed = [image_id for image_id in ids[:_PROBED] if not _CLIMBS.search(image_id)]
        if any(not leaves_folder(image_id) and self._index.matches(image_id) for image_id in probed):
            return ""
        for image_id in probed:
            parts = re.split(r"(?<=[/\\])", image_id)
            for begin in range(1, len(parts)):
                if self._index.matches("".join(parts[begin:])):
                    return "".join(parts[:begin])
        return ""

    def _in_pool(self, places: list[_Place]) -> list[_Place]:
        return [place for place in places if place.folder.word in self._pool]

    def _ranks_of_homes(self, matches: Sequence[list[_Place]]) -> dict[str, tuple[int, bool, int]]:
        """Which of several homes is meant, the lowest: that of the split, with all ids that are there, of a usual name.

        Homes of the same rank are as likely as each other.
        """
        words = {place.folder.home: place.folder.word for places in matches for place in places}
        counts = Counter(home for places in matches for home in _homes(places))
        found = sum(map(bool, matches))
        return {
            home: (self._pool.index(word), counts[home] < found, _USUAL.get(Path(home).name.lower(), len(_USUAL)))
            for home, word in words.items()
        }

    def _best(self, image_id: str, places: list[_Place]) -> list[_Place]:
        """The places in the home that is meant whose names are most like the id."""
        if len(places) < 2:
            return places
        best = min(self._ranks[place.folder.home] for place in places)
        places = [place for place in places if self._ranks[place.folder.home] == best]
        if len(_homes(places)) > 1:  # train-jpg and train-tif
            places = list(filter(_is_photo, places)) or places
        name = _parts(self._inner(image_id))[-1]
        same = [[place for place in places if is_same(place.own_name, name)] for is_same in _SAMENESS]
        return next(filter(None, same), places)


def _homes(places: Sequence[_Place]) -> set[str]:
    return {place.folder.home for place in places}


_SAMENESS: tuple[Callable[[str, str], bool], ...] = (
    lambda name, wanted: name == wanted,
    lambda name, wanted: _stem(name) == _stem(wanted) and _key(name) == _key(wanted),
    lambda name, wanted: _key(name) == _key(wanted),
    lambda name, wanted: _stem(name) == wanted,
)


def _is_photo(place: _Place) -> bool:
    return place.name.lower().endswith((".jpg", ".jpeg", ".png"))


def _others_in(folder: Path) -> str:
    """`` (nor can 300 .heic there be read)`` if files of another kind could be the images, else an empty string."""
    files = islice((path for path in folder.rglob("*") if path.is_file()), _LISTED)
    suffixes = Counter(path.suffix.lower() for path in files if not names_image(path.name))
    kinds = [(suffix, count) for suffix, count in suffixes.most_common() if suffix not in _NO_IMAGES]
    return f" (nor can {kinds[0][1]} {printable(kinds[0][0])} there be read)" if kinds else ""


def _images_below(folder: _Folder) -> tuple[Path, ...]:
    images = (inner.path / name for inner in folder.below() for name in inner.images)
    return tuple(sorted(images, key=lambda path: _natural(str(path))))


def _shown(places: Sequence[_Place]) -> str:
    return " ".join(place.folder.inside + place.name for place in places)


def _refuse(table: Path, ids: Iterable[str], fault: str, remedy: str) -> None:
    if wrong := list(ids):
        raise fault_in(table, f"{fault} for {counted(len(wrong), 'id')}: {listed(wrong)}", remedy)
