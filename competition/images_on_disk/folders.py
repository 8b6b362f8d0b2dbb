"""The folders of a competition and the images in them, each listed once."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from competition.images_on_disk.names import key_of, names_image
from competition.wording import fault_in

Word = Literal["train", "val", "test"] | None  # the split that a folder's name speaks of

_WORDS: tuple[tuple[Word, re.Pattern[str]], ...] = (
    ("train", re.compile(r"train", re.IGNORECASE)),
    ("test", re.compile(r"(?<![a-z])(test|hold-?out)|Test|Hold-?[Oo]ut")),
    ("val", re.compile(r"(?<![a-z])val(id(ation)?)?(?![a-z])|Val(id)?", re.ASCII)),
)
_ASIDE = re.compile(  # folders of what is no photo, of the same names as the photos; but with_mask may be a class
    r"((train|test|val|validation)[ _-]?)?(masks|segmentations?|annotations?|thumbs|thumbnails?)", re.IGNORECASE
)


class Folder:
    """A folder on the disk.

    names: the folders on the way to it from the root, its own the last. home: the first of them whose name speaks of
    a split, else the first of all, else the root. word: that split. inside: the way from the home to the folder.
    """

    def __init__(self, path: Path, root: Path, names: tuple[str, ...]) -> None:
        self.path, self.names = path, names
        self.keys = tuple(map(key_of, names))
        self.images: list[str] = []
        self.folders: list[Folder] = []
        words = [_split_word(name) for name in names]
        at = next((place for place, word in enumerate(words) if word), 0)
        self.word = words[at] if words else None
        self.home = str(root.joinpath(*names[: at + 1]))  # text is compared faster than paths
        self.inside = "".join(f"{name}/" for name in names[at + 1 :])
        self.is_aside = any(map(_ASIDE.fullmatch, names))

    def below(self) -> "Iterator[Folder]":
        """The folder itself and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.below()


def listed_folder(root: Path) -> Folder:
    """A folder and all below it. Links to folders are followed last, and no folder is listed twice.

    Raises UserError if one cannot be read.
    """
    top = Folder(root, root, ())
    waiting, seen = [top], set()
    links: list[Folder] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        status = folder.path.stat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            _list(folder, root, waiting, links)
    return top


def _list(folder: Folder, root: Path, waiting: list[Folder], links: list[Folder]) -> None:
    """Note the images in a folder, and its folders also among those that are yet to be listed."""
    for entry in _entries(folder.path):
        if names_image(entry.name) and entry.is_file():
            folder.images.append(entry.name)
        elif entry.is_dir():
            inner = Folder(folder.path / entry.name, root, (*folder.names, entry.name))
            folder.folders.append(inner)
            (links if entry.is_symlink() else waiting).append(inner)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """What lies in a folder and is not hidden. Raises UserError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith((".", "__MACOSX")):
                    yield entry
    except OSError as error:
        raise fault_in(folder, f"cannot be read ({error.strerror})", "check the folder and its permissions") from error


def contest_folder(root: Path) -> Path:
    """The root, or the only folder in it if that is what holds the folders of the splits, whatever it is called."""
    inner = [entry for entry in _entries(root) if entry.is_dir()]
    if len(inner) == 1 and any(entry.is_dir() and _split_word(entry.name) for entry in _entries(Path(inner[0].path))):
        return contest_folder(Path(inner[0].path))
    return root


def _split_word(name: str) -> Word:
    return next((word for word, pattern in _WORDS if pattern.search(name)), None)
