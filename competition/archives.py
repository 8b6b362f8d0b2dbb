"""The archives of competitions, however deep: each is unpacked once, and completely or not at all."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from competition.archive_formats import BY_HAND, Source, is_archive_file, is_junk, member_names, opened_parts, unpack
from competition.storage import build_folder
from competition.wording import fault_in, printable

_STAMP = ".unpacked.json"  # inside the folder, so that one rename puts both in place
_SUFFIXES = re.compile(r"\.(zip|7z|tar|tgz|tbz2?|txz|(tar\.)?(gz|bz2|xz))$", re.IGNORECASE)
_FIRST_PART = re.compile(r"\.(zip|7z|tar|tgz|tar\.gz|tar\.bz2|tar\.xz)\.0*1$", re.IGNORECASE)
_NOT_OPENED = (".nii.gz",)  # compressed, but a format of its own
_DEPTH = 8  # archives in archives; one that holds itself would have no end
_SUBFOLDERS = 2  # how deep archives are looked for in a folder
_LISTED = 1000  # entries of a subfolder; one with more holds images
_PROBED = 100  # members looked up to find out whether an archive was unpacked already


class _Archive(NamedTuple):
    """An archive on the disk: its files, more than one if it is cut into parts, and its name without the parts."""

    parts: tuple[Path, ...]
    path: Path

    @property
    def place(self) -> Path:
        """``train_images.zip`` becomes ``train_images``, ``train.csv.zip`` becomes ``train.csv``."""
        return self.path.with_name(_SUFFIXES.sub("", self.path.name))

    def stamp(self, root: Path) -> list[list[object]]:
        stats = [(part, part.stat()) for part in self.parts]
        return [[part.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns] for part, stat in stats]


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its content: ZIP, tar, 7z, a compressed file, or the first part of one."""
    if not path.is_file():
        return False
    with opened_parts([path]) as file:
        return is_archive_file(file)


def unpacked(archive: Path, folder: Path, check: Callable[[Path], object]) -> Path:
    """Unpack an archive into ``folder``, unless the folder already comes from this archive, and return the folder.

    A ZIP, tar or 7z, also cut into parts (``train.zip.001``); archives inside it are unpacked too, as deep as they go.
    ``check`` is called with the unpacked folder before it is put in place, and may raise.

    Raises UserError if an archive is broken or locked, if a member would be written outside the folder, or if the
    package that reads a 7z is missing.
    """
    names = [entry.name for entry in archive.parent.iterdir()]
    whole = _archive_of(archive, names, Source(archive))
    stamp = whole.stamp(archive.parent)

    def fill(draft: Path) -> None:
        unpack(whole.parts, draft, Source(archive))
        _unpack_inner(draft, Source(archive))
        _write_stamp(draft, stamp)
        check(draft)

    return _built(folder, fill, stamp, archive)


def opened(folder: Path, place: Path) -> tuple[Path, ...]:
    """The folders in which the files of a competition's folder lie: the folder, and ``place`` if archives lie in it.

    The archives in the folder and two levels below it are unpacked to ``place``, at the same paths as there, unless
    they lie unpacked beside themselves. This is done once, and again if an archive changes. Nothing is written to the
    folder.

    Raises UserError as ``unpacked`` does.
    """
    found = reversed(_archives_in(folder, Source(folder), _SUBFOLDERS))
    first = {archive.place: archive for archive in found}  # of those of one content, e.g. train.zip and train.7z
    archives = [archive for archive in reversed(first.values()) if not _is_unpacked(archive)]
    if not archives:
        return (folder,)
    stamp = [entry for archive in archives for entry in archive.stamp(folder)]

    def fill(draft: Path) -> None:
        for archive in archives:
            inside = draft / archive.path.relative_to(folder)
            inside.parent.mkdir(parents=True, exist_ok=True)
            _unpack_in_place(_Archive(archive.parts, inside), Source(archive.path))
        _unpack_inner(draft, Source(folder))
        _write_stamp(draft, stamp)

    return folder, _built(place, fill, stamp, folder)


def _built(folder: Path, fill: Callable[[Path], object], stamp: list[list[object]], source: Path) -> Path:
    try:
        return build_folder(folder, fill, lambda there: _stamp_of(there) == stamp)
    except OSError as error:
        remedy = f"check that there is free space and that {printable(folder.parent)} is writable"
        raise fault_in(source, f"cannot be unpacked ({printable(error.strerror or error)})", remedy) from error


def _write_stamp(folder: Path, stamp: list[list[object]]) -> None:
    (folder / _STAMP).write_text(json.dumps(stamp), encoding="utf-8")


def _stamp_of(folder: Path) -> object:
    try:
        return json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _unpack_inner(folder: Path, source: Source) -> None:
    """Replace each archive in and below a folder by what it holds, until none is left."""
    for _ in range(_DEPTH):
        archives = [archive for archive in _archives_in(folder, source) if not archive.place.exists()]
        if not archives:
            return
        for archive in archives:
            if _unpack_in_place(archive, source._replace(inner=archive.path.relative_to(folder).as_posix())):
                for part in archive.parts:
                    part.unlink()
    raise source.fault(f"archives inside each other, more than {_DEPTH} deep", BY_HAND)


def _unpack_in_place(archive: _Archive, source: Source) -> bool:
    """Unpack beside the archive. False if its place is taken, e.g. by what ``train.zip`` and ``train.7z`` both hold."""
    if archive.place.exists():
        return False
    draft = archive.path.with_name(f".{archive.path.name}.unpacked")
    draft.mkdir()
    unpack(archive.parts, draft, source)
    content, place = _content(draft, archive.place)
    if place.exists():
        content, place = draft, archive.place
    content.rename(place)
    shutil.rmtree(draft, ignore_errors=True)
    return True


def _content(draft: Path, place: Path) -> tuple[Path, Path]:
    """What to put where: the only file or folder of the archive's name, else the whole.

    ``train.zip`` may hold ``train/...`` or ``...``, ``train.csv.zip`` ``train.csv``, also in a folder of another name,
    ``solutions.zip`` ``solutions.csv``.
    """
    entry = draft
    while (entries := list(islice(entry.iterdir(), 2))) and len(entries) == 1:
        entry = entries[0]
        if entry.name == place.name:
            return entry, place
        if entry.is_file():
            return (entry, place.with_name(entry.name)) if entry.stem == place.name else (draft, place)
    return draft, place


def _archives_in(folder: Path, source: Source, deepest: int | None = None) -> list[_Archive]:
    """The archives in and below a folder, sorted; a subfolder of many files holds images and is passed over."""
    found = []
    for place, names in _listings(folder, deepest):
        for name in sorted(names):
            if _is_archive_name(name) and not is_junk(name):
                inner = (place / name).relative_to(folder).as_posix()
                found.append(_archive_of(place / name, names, source._replace(inner=inner)))
    return sorted(found, key=lambda archive: archive.path.suffix.lower() == ".7z")  # the others need no package


def _is_archive_name(name: str) -> bool:
    known = _SUFFIXES.search(name) or _FIRST_PART.search(name)
    return known is not None and not name.lower().endswith(_NOT_OPENED)


def _listings(folder: Path, deepest: int | None, most: int | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files."""
    with os.scandir(folder) as entries:
        listed = list(islice(entries, most))
    yield folder, [entry.name for entry in listed if not entry.is_dir(follow_symlinks=False)]
    if deepest == 0:
        return
    for entry in sorted(listed, key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            below = None if deepest is None else deepest - 1
            yield from _listings(Path(entry.path), below, None if deepest is None else _LISTED)


def _archive_of(path: Path, names: Sequence[str], source: Source) -> _Archive:
    """The archive that a file is, or whose first part it is. Raises UserError if a part is missing.

    names: those of all files in its folder.
    """
    here = {name.lower(): name for name in names}
    if path.suffix.lower() == ".zip" and f"{path.stem}.z01".lower() in here:
        fault = f"cut into parts with {printable(path.stem)}.z01, which cannot be read here"
        raise source.fault(fault, "join them with: zip -s 0 OLD.zip --out NEW.zip")
    if not _FIRST_PART.search(path.name):
        return _Archive((path,), path)
    stem, width = path.stem.lower(), len(path.suffix) - 1
    count = max(int(name[len(stem) + 1 :]) for name in here if re.fullmatch(re.escape(stem) + r"\.\d+", name))
    parts = [f"{stem}.{number:0{width}d}" for number in range(1, count + 1)]
    if missing := [part for part in parts if part not in here]:
        raise source.fault(f"part {printable(missing[0])} of {count} is missing", "download all parts again")
    return _Archive(tuple(path.with_name(here[part]) for part in parts), path.with_suffix(""))


def _is_unpacked(archive: _Archive) -> bool:
    """Whether the content lies beside the archive already."""
    if archive.place.exists():
        return True
    names = member_names(archive.parts, Source(archive.path))
    some: Sequence[str] = names[:: max(1, len(names) // _PROBED)]
    return bool(some) and all((archive.path.parent / name).exists() for name in some)
