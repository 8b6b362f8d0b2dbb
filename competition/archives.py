"""The ZIP archives of competitions: every member is checked, and each archive is unpacked once."""

import json
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from competition.images_on_disk import leaves_folder
from competition.progress import Progress
from competition.storage import build_folder
from competition.wording import counted, fault_in, listed, printable

_STAMP = ".unpacked.json"  # inside the folder, so that one rename puts both in place


def unpacked(archive: Path, folder: Path, check: Callable[[Path], object]) -> Path:
    """Unpack an archive into ``folder``, unless the folder already comes from this archive, and return the folder.

    ZIPs inside it are unpacked too. ``check`` is called with the unpacked folder before it is put in place, and
    may raise. Raises UserError if the archive is broken or locked, or has a member that would be written outside
    the folder.
    """
    status = archive.stat()
    stamp = {"size": status.st_size, "modified_ns": status.st_mtime_ns}

    def fill(draft: Path) -> None:
        _unpack(archive, draft)
        for inner in sorted(draft.rglob("*.zip")):
            _unpack_in_place(inner)
        (draft / _STAMP).write_text(json.dumps(stamp), encoding="utf-8")
        check(draft)

    try:
        return build_folder(folder, fill, lambda there: _stamp_of(there) == stamp)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise fault_in(archive, f"not a complete ZIP ({printable(error)})", "download it again") from error
    except OSError as error:
        remedy = f"check that there is free space and that {printable(folder.parent)} is writable"
        raise fault_in(archive, f"cannot be unpacked ({printable(error)})", remedy) from error


def _stamp_of(folder: Path) -> dict[str, int] | None:
    try:
        return json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _unpack_in_place(archive: Path) -> None:
    """Replace ``train_images.zip`` by ``train_images/``, or ``train.csv.zip`` by ``train.csv``."""
    place = archive.with_suffix("")
    if place.exists():
        return
    draft = archive.with_name(f".{archive.name}.unpacked")
    draft.mkdir()
    _unpack(archive, draft)
    archive.unlink()
    same_name = draft / place.name
    if list(draft.iterdir()) == [same_name]:
        same_name.rename(place)
        draft.rmdir()
    else:
        draft.rename(place)


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = [member for member in opened.infolist() if not _is_needless(member)]
        _refuse_unsafe(archive, members)
        for member in Progress(members, desc=f"unpacking {printable(archive.name)}", unit="file"):
            _write_member(opened, member, folder)


def _is_needless(member: zipfile.ZipInfo) -> bool:
    """Whether to skip a member: a folder, or a file that macOS adds."""
    name = member.filename
    return member.is_dir() or name.startswith("__MACOSX/") or name.endswith(".DS_Store")


def _refuse_unsafe(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if unsafe := [name.filename for name in members if leaves_folder(name.filename) or _is_special(name)]:
        fault = f"{counted(len(unsafe), 'unsafe member')}, a link or a path out of the folder"
        remedy = "nothing was unpacked, download the ZIP from its source again"
        raise fault_in(archive, f"{fault}: {listed(unsafe)}", remedy)
    if locked := [member.filename for member in members if member.flag_bits & 1]:
        fault = f"{counted(len(locked), 'member')} locked by a password: {listed(locked)}"
        raise fault_in(archive, fault, "unpack it yourself and give the folder")


def _is_special(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a link, a device or the like, as Unix tools store them."""
    return stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG)


def _write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    # Some Windows tools separate folders with a backslash.
    target = folder / member.filename.replace("\\", "/")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output, archive.open(member) as content:
        shutil.copyfileobj(content, output, 1 << 20)
