"""tar, compressed or not, read in one pass."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from competition.archive_formats.common import (
    CHUNK,
    Format,
    Source,
    decoded_names,
    is_junk,
    refuse_unsafe,
    shown,
    write_member,
)
from competition.images_on_disk import leaves_folder
from competition.progress import Progress


def starts_tar(data: bytes) -> bool:
    """Whether a file that begins so, with at least 512 bytes, is a tar that is not compressed."""
    return data[257:262] == b"ustar"


def _tar_members(file: BinaryIO, source: Source) -> list[str]:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        return [member.name for member, _ in zip(_tar_files(archive, source), range(1), strict=False)]


def _unpack_tar(file: BinaryIO, folder: Path, source: Source) -> None:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for member in Progress(_tar_files(archive, source), desc=f"unpacking {shown(source)}", unit="file"):
            content = archive.extractfile(member)
            assert content is not None
            with content:
                write_member(content, folder, _as_text(member.name))
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of a million
        _refuse_open_end(archive)


def _tar_files(archive: tarfile.TarFile, source: Source) -> Iterator[tarfile.TarInfo]:
    """The files of a tar in one pass, each checked before it is written."""
    for member in archive:
        if member.isdir() or is_junk(member.name):
            continue
        if leaves_folder(member.name) or not member.isreg():
            refuse_unsafe([member.name], source)
        yield member


def _refuse_open_end(archive: tarfile.TarFile) -> None:
    """Read a tar to its end, which checks the sum of a compressed one.

    Raises ReadError if the block of zeros that ends it is missing; tarfile is silent if it is cut between members.
    """
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    while archive.fileobj.read(CHUNK):
        pass


def _as_text(name: str) -> str:
    """A name whose bytes tarfile could not read as UTF-8, read as GBK or Latin-1."""
    raw = name.encode("utf-8", "surrogateescape")
    return next(names[0] for encoding in ("utf-8", "gb2312", "latin-1") if (names := decoded_names([raw], encoding)))


TAR = Format("tar", (), _tar_members, _unpack_tar)
