"""Unpacks one ZIP, tar, 7z or compressed file, whole or in parts; every member is checked before it is written."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from competition.archive_formats.common import AGAIN, BY_HAND, DAMAGE, Format, Source, damage_named, is_junk
from competition.archive_formats.compressed import COMPRESSED, decompressed
from competition.archive_formats.parts import opened_parts
from competition.archive_formats.seven_zip import SEVEN_ZIP
from competition.archive_formats.tars import TAR, starts_tar
from competition.archive_formats.zips import ZIP

__all__ = ["BY_HAND", "Source", "is_archive_file", "is_junk", "member_names", "opened_parts", "unpack"]

_FORMATS = (ZIP, SEVEN_ZIP, COMPRESSED)


def is_archive_file(file: BinaryIO) -> bool:
    """Whether the content of a file is an archive that ``unpack`` knows."""
    return _format_of(file) is not None


def unpack(parts: Sequence[Path], folder: Path, source: Source) -> None:
    """Unpack one archive, given as the files that it is cut into, into an existing folder.

    Raises UserError if it is damaged, locked or of an unknown format, or if a member would be written outside the
    folder. What was written by then is left.
    """
    with opened_parts(parts) as file:
        form = _known_format(file, source)
        with damage_named(form, source):
            form.unpack(file, folder, source)


def member_names(parts: Sequence[Path], source: Source) -> Sequence[str]:
    """The names of an archive's files, without unpacking it; of a tar only the first. Raises as ``unpack`` does."""
    with opened_parts(parts) as file:
        form = _known_format(file, source)
        with damage_named(form, source):
            return form.members(file, source)


def _known_format(file: BinaryIO, source: Source) -> Format:
    form = _format_of(file)
    if form is None:
        raise source.fault("neither a ZIP, a tar, a 7z nor a compressed file", AGAIN)
    return form


def _format_of(file: BinaryIO) -> Format | None:
    start = file.read(512)
    file.seek(0)
    form = next((form for form in _FORMATS if start.startswith(form.starts)), None)
    if form is None and starts_tar(start):
        return TAR
    if form is COMPRESSED and _holds_tar(file):
        return TAR
    if form is None and zipfile.is_zipfile(file):  # behind a program that unpacks it
        return ZIP
    file.seek(0)
    return form


def _holds_tar(file: BinaryIO) -> bool:
    try:
        with decompressed(file) as content:
            return starts_tar(content.read(512))
    except (OSError, *DAMAGE):
        return False
    finally:
        file.seek(0)
