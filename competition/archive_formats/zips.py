"""ZIP."""

import io
import stat
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from competition.archive_formats.common import (
    BY_HAND,
    Format,
    Source,
    decoded_names,
    is_junk,
    refuse_locked,
    refuse_unsafe,
    shown,
    write_member,
)
from competition.images_on_disk import leaves_folder
from competition.progress import Progress
from competition.wording import counted

_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}  # that Python cannot read
_UTF_8 = 0x800  # the flag of a member whose name is UTF-8
_LOCKED = 0x1  # that of one with a password
_READABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_NAMES_IN = ("utf-8", "gb2312", "cp437", "gb18030", "cp932", "big5", "cp949", "cp1252", "cp866", "cp1251")
_LONGEST_END = (1 << 16) + 22  # bytes of a ZIP's end with its comment
_PROBED = 100  # names looked up in the tables


def _zip_members(file: BinaryIO, source: Source) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        return [member.filename for member in _wanted(archive)]


def _unpack_zip(file: BinaryIO, folder: Path, source: Source) -> None:
    with zipfile.ZipFile(file) as archive:
        _check_count(file, len(archive.infolist()))
        members = _wanted(archive)
        _check_zip(members, source)
        for member in Progress(members, desc=f"unpacking {shown(source)}", unit="file"):
            with archive.open(member) as content:
                write_member(content, folder, member.filename)


def _check_count(file: BinaryIO, count: int) -> None:
    """Raises BadZipFile if a ZIP's end tells of another number of members; zipfile is silent if it loses some."""
    file.seek(-min(_LONGEST_END, file.seek(0, io.SEEK_END)), io.SEEK_END)
    end = file.read()
    (told,) = struct.unpack_from("<H", end, end.rindex(b"PK\5\6") + 10)
    if told not in (count & 0xFFFF, 0xFFFF):  # which stands for more
        raise zipfile.BadZipFile(f"{counted(count, 'member')} of {told}")


def _wanted(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members to write, with their names as the tool that made the ZIP meant them."""
    members = archive.infolist()
    doubtful = [member for member in members if not member.flag_bits & _UTF_8 and not member.filename.isascii()]
    if doubtful:
        _decode_names(doubtful, archive)
    return [member for member in members if not member.is_dir() and not is_junk(member.filename)]


def _decode_names(members: Sequence[zipfile.ZipInfo], archive: zipfile.ZipFile) -> None:
    """Correct names that are not marked as UTF-8, which zipfile takes for the cp437 of DOS.

    Tools on Linux write UTF-8 without the mark, those on Windows what it speaks. Of several readings that is taken
    which the tables in the ZIP spell, else the first; two bytes of GB 2312 are hardly ever part of a word in cp437.
    """
    raw = [member.filename.encode("cp437") for member in members]
    readings = [reading for encoding in _NAMES_IN if (reading := decoded_names(raw, encoding))]
    if len(readings) > 1:
        tables = b"".join(archive.read(table) for table in archive.infolist() if _is_readable_table(table))
        readings.sort(key=lambda names: -sum(Path(name).stem.encode() in tables for name in names[:_PROBED]))
    for member, name in zip(members, readings[0], strict=True):
        member.filename = name


def _is_readable_table(member: zipfile.ZipInfo) -> bool:
    is_readable = not member.flag_bits & _LOCKED and member.compress_type in _READABLE
    return is_readable and member.filename.lower().endswith(".csv")


def _check_zip(members: Sequence[zipfile.ZipInfo], source: Source) -> None:
    refuse_unsafe((member.filename for member in members if _is_unsafe(member)), source)
    refuse_locked([member.filename for member in members if member.flag_bits & _LOCKED], source)
    if strange := {member.compress_type for member in members} - _READABLE:
        method = min(strange)
        name = f" ({_METHODS[method]})" if method in _METHODS else ""
        raise source.fault(f"compression method {method}{name} cannot be read here", BY_HAND)


def _is_unsafe(member: zipfile.ZipInfo) -> bool:
    """Whether a member's place is outside the folder, or it is a link or a device, as Unix tools store them."""
    return leaves_folder(member.filename) or stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG)


ZIP = Format("ZIP", (b"PK\3\4", b"PK\5\6"), _zip_members, _unpack_zip)
