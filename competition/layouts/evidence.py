"""What lies in a competition's folders: its tables, its JSON files, the files that may hold images, and the images."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from competition.errors import UserError
from competition.images_on_disk import ImagesOnDisk, names_image
from competition.tables import Table, glance
from competition.wording import did_you_mean, fault_in, listed

TABLES = (".csv", ".tsv")
LISTS = (".txt", ".lst", ".json")
MOST_LISTS = 100  # in a folder
SAMPLE = re.compile(
    r"^samples?(\.csv.*)?$|^submissions?$|(sample|example|dummy|baseline).*(submi|solution)|benchmark|submission.*(format|example|sample)"
)
DEEPEST = 4  # levels of folders below the roots in which a table is looked for
_MOST = 2000  # entries of a folder that are looked at to recognise a contest

_REMEDIES = {
    "train.csv": "a competition's folder holds a table of labels, a folder of images for each class, or annotations",
    "test.csv": "the images to predict are listed in test.csv or a sample submission, or lie in a folder test",
}
_SHEETS = (".xlsx", ".xls", ".ods")
_PASSED_OVER = (".", "__MACOSX", "Thumbs.db")
_NO_DATA = (".py", ".ipynb", ".md", ".txt", ".toml", ".html", ".log")


@dataclass(frozen=True)
class Evidence:
    """What lies in the roots of a competition.

    roots: its folder, and the folder of what was unpacked, if any. files: all but images and hidden ones, those that
        lie highest first. Raises UserError if a root is no folder.
    """

    roots: tuple[Path, ...]
    files: tuple[Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        for root in self.roots:
            if not root.is_dir():
                raise fault_in(root, "no such folder", "give a competition's folder or ZIP")
        files = [path for root in self.roots for path in _files(root, DEEPEST)]
        object.__setattr__(self, "files", tuple(sorted(files, key=lambda path: (len(path.parts), path))))

    @property
    def folder(self) -> Path:
        return self.roots[0]

    @cached_property
    def images(self) -> ImagesOnDisk:
        return ImagesOnDisk(self.roots)

    @cached_property
    def tables(self) -> tuple[Path, ...]:
        texts = {path for path in self.lists if is_table_in_text(path)}
        return tuple(path for path in self.files if path.suffix.lower() in TABLES or path in texts)

    @cached_property
    def lists(self) -> tuple[Path, ...]:
        """The files of text and JSON, but for those of which a folder has many, as it has one for each image."""
        found = [path for path in self.files if path.suffix.lower() in LISTS]
        counts = Counter(path.parent for path in found)
        return tuple(path for path in found if counts[path.parent] <= MOST_LISTS)

    @cached_property
    def glances(self) -> dict[Path, Table]:
        """The first rows of each table that has some."""
        return {path: shown for path in self.tables if (shown := glance(path)) is not None}

    @property
    def names(self) -> list[str]:
        """The names of what lies in the folder, for an error."""
        return sorted(entry.name for entry in self.folder.iterdir() if not is_passed_over(entry.name))


def is_table_in_text(path: Path) -> bool:
    """Whether a file of text is a CSV with a header, by its first rows."""
    shown = glance(path) if path.suffix.lower() == ".txt" else None
    return shown is not None and len(shown.columns) > 1 and shown.is_whole and not any(map(names_image, shown.columns))


def is_passed_over(name: str) -> bool:
    return name.startswith(_PASSED_OVER)


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """The files in and below a folder that are no images."""
    inner = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if names_image(entry.name) or is_passed_over(entry.name):
                continue
            if not entry.is_dir():
                yield Path(entry.path)
            elif depth:
                inner.append(Path(entry.path))
    for each in inner:
        yield from _files(each, depth - 1)


def holds_competition(folder: Path) -> bool:
    """Whether a folder looks like a competition's: a sample submission, or something for training and for testing.

    Cheap: only the first entries are looked at, since a folder may hold a million images.
    """
    try:
        with os.scandir(folder) as entries:
            are_files = {entry.name.lower(): entry.is_file() for entry in islice(entries, _MOST)}
    except OSError:
        return False
    kept = [
        name for name in are_files if not is_passed_over(name) and not names_image(name) and not name.endswith(_NO_DATA)
    ]
    if any(are_files[name] and SAMPLE.search(name) for name in kept):
        return True
    return all(any(part in name for name in kept) for part in ("train", "test"))


def competition_folder(folder: Path, called: Path | None = None) -> Path:
    """The folder that holds a competition's files: this one, or the only folder in it.

    called: what errors call it instead of its path. Raises UserError if nothing there could be a competition's.
    """
    called = called or folder
    if not folder.is_dir():
        raise fault_in(called, "no such folder", "give a competition's folder or ZIP")
    entries = sorted(entry for entry in folder.iterdir() if not is_passed_over(entry.name))
    if len(entries) == 1 and entries[0].is_dir():
        return competition_folder(entries[0], called / entries[0].name)
    if all(entry.is_file() and (names_image(entry.name) or entry.suffix.lower() in _NO_DATA) for entry in entries):
        raise nothing_recognised(called, [entry.name for entry in entries])
    return folder


def nothing_recognised(folder: Path, names: Sequence[str], lacking: str = "train.csv") -> UserError:
    """The error to raise about a folder with entries of these names: what is missing to be a competition's."""
    near = did_you_mean(lacking, [name for name in names if "." in name])
    others = f"only {listed(names)}" if names else "and nothing else"
    remedy = _REMEDIES[lacking]
    sheets = [name for name in names if name.lower().endswith(_SHEETS) and lacking.partition(".")[0] in name.lower()]
    if sheets:
        remedy = f"save {listed(sheets)} as CSV"
    elif holds_competition(folder.resolve().parent):
        remedy = f"give the folder above it, which looks like a competition's: {folder.resolve().parent}"
    return fault_in(folder, f"no {lacking} there{near}, {others}", remedy)
