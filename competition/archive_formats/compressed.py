"""A single file that is compressed: gzip, bzip2 or xz."""

import bz2
import gzip
import lzma
from pathlib import Path
from typing import IO, BinaryIO, cast

from competition.archive_formats.common import Format, Source, write_member


def decompressed(file: BinaryIO) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    return bz2.BZ2File(file) if start.startswith(b"BZh") else lzma.LZMAFile(file)


def _compressed_members(file: BinaryIO, source: Source) -> list[str]:
    return [Path(source.inner or source.archive.name).stem]


def _unpack_compressed(file: BinaryIO, folder: Path, source: Source) -> None:
    with decompressed(file) as content:
        write_member(content, folder, _compressed_members(file, source)[0])


COMPRESSED = Format("compressed file", (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"), _compressed_members, _unpack_compressed)
