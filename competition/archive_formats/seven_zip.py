"""7z."""

from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from competition.archive_formats.common import BY_HAND, Format, Source, is_junk, refuse_locked, refuse_unsafe, shown
from competition.images_on_disk import leaves_folder
from competition.optional import optional_package
from competition.progress import Progress
from competition.wording import printable


def _seven_zip_members(file: BinaryIO, source: Source) -> list[str]:
    with _open_7z(file, source) as archive:
        return [member.filename for member in archive.files if not member.is_directory and not is_junk(member.filename)]


def _unpack_7z(file: BinaryIO, folder: Path, source: Source) -> None:
    py7zr = _py7zr(source)
    try:
        with _open_7z(file, source) as archive:
            files = [member for member in archive.files if not member.is_directory and not is_junk(member.filename)]
            names = [member.filename for member in files]
            refuse_unsafe((member.filename for member in files if _is_unsafe_7z(member)), source)
            refuse_locked(names if archive.needs_password() else [], source)
            with Progress(total=1, desc=f"unpacking {shown(source)}", unit="archive"):
                archive.extract(folder, targets=set(names))
    except py7zr.UnsupportedCompressionMethodError as error:
        raise source.fault("a compression method that py7zr cannot read", BY_HAND) from error


def _is_unsafe_7z(member) -> bool:  # type: ignore[no-untyped-def]  # py7zr has no name for it
    return leaves_folder(member.filename) or member.is_symlink or member.is_junction or member.is_socket


@contextmanager
def _open_7z(file: BinaryIO, source: Source):  # type: ignore[no-untyped-def]  # of the package that may be missing
    py7zr = _py7zr(source)
    try:
        with py7zr.SevenZipFile(file) as archive:
            yield archive
    except py7zr.PasswordRequired:
        raise source.fault("the list of its members is locked by a password", BY_HAND) from None
    except py7zr.exceptions.ArchiveError as error:
        if isinstance(error, py7zr.UnsupportedCompressionMethodError):
            raise
        raise ValueError(str(error)) from error


def _py7zr(source: Source):  # type: ignore[no-untyped-def]
    return optional_package("py7zr", source.archive, f"{printable(source.inner or 'it')} is a 7z")


SEVEN_ZIP = Format("7z", (b"7z\xbc\xaf\x27\x1c",), _seven_zip_members, _unpack_7z)
