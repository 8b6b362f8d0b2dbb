"""Unpacks one ZIP, tar, 7z or compressed file, whole or in parts; every member is checked before it is written."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

from competition.errors import UserError
from competition.images_on_disk import leaves_folder
from competition.optional import optional_package
from competition.progress import Progress
from competition.wording import counted, fault_in, listed, printable

CHUNK = 1 << 20  # bytes copied at once
BY_HAND = "unpack it yourself and give the folder"
_AGAIN = "download it again"
_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}  # of ZIPs, that Python cannot read
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, gzip.BadGzipFile),
    *(EOFError, NotImplementedError, ValueError, OverflowError, RuntimeError, LookupError, TypeError, MemoryError),
)
_UTF_8 = 0x800  # the flag of a ZIP's member whose name is UTF-8
_LOCKED = 0x1  # that of one with a password
_READABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_NAMES_IN = ("utf-8", "gb2312", "cp437", "gb18030", "cp932", "big5", "cp949", "cp1252", "cp866", "cp1251")
_LONGEST_END = (1 << 16) + 22  # bytes of a ZIP's end with its comment
_PROBED = 100  # names looked up in the tables
_JUNK = {"thumbs.db", "desktop.ini", ".ds_store"}


class Source(NamedTuple):
    """What an error names: the user's archive, and the archive inside it that is being unpacked."""

    archive: Path
    inner: str = ""

    def fault(self, fault: str, remedy: str) -> UserError:
        where = f"{printable(self.inner)} in it: " if self.inner else ""
        return fault_in(self.archive, where + fault, remedy)


class _Format(NamedTuple):
    name: str
    starts: tuple[bytes, ...]
    members: Callable[[BinaryIO, Source], Sequence[str]]
    unpack: Callable[[BinaryIO, Path, Source], None]


class _Parts(io.RawIOBase):
    """Several files read as one: the parts into which a tool has cut an archive."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self._files = files
        self._sizes = [file.seek(0, io.SEEK_END) for file in files]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: sum(self._sizes)}[whence]
        if self._position < 0:
            raise ValueError("a position before the beginning")
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # no type for what has a buffer in 3.11
        begin = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            if self._position < begin + size:
                file.seek(self._position - begin)
                data = file.read(min(len(buffer), begin + size - self._position))
                buffer[: len(data)] = data
                self._position += len(data)
                return len(data)
            begin += size
        return 0


@contextmanager
def opened_parts(parts: Sequence[Path]) -> Iterator[BinaryIO]:
    """The parts of one archive as one binary file."""
    with ExitStack() as stack:
        files = [stack.enter_context(part.open("rb")) for part in parts]
        yield files[0] if len(files) == 1 else cast(BinaryIO, io.BufferedReader(_Parts(files)))


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


@contextmanager
def damage_named(form: _Format, source: Source) -> Iterator[None]:
    """Raise UserError for whatever the readers raise when an archive is damaged."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not isinstance(error, gzip.BadGzipFile):  # a full disk or the like
            raise
        raise source.fault(f"not a complete {form.name} ({printable(error)})", _AGAIN) from error
    except _DAMAGE as error:
        raise source.fault(f"not a complete {form.name} ({printable(error)})", _AGAIN) from error


def _known_format(file: BinaryIO, source: Source) -> _Format:
    form = _format_of(file)
    if form is None:
        raise source.fault("neither a ZIP, a tar, a 7z nor a compressed file", _AGAIN)
    return form


def _format_of(file: BinaryIO) -> _Format | None:
    start = file.read(512)
    file.seek(0)
    form = next((form for form in _FORMATS if start.startswith(form.starts)), None)
    if form is None and start[257:262] == b"ustar":
        return _TAR
    if form is _COMPRESSED and _holds_tar(file):
        return _TAR
    if form is None and zipfile.is_zipfile(file):  # behind a program that unpacks it
        return _ZIP
    file.seek(0)
    return form


def _holds_tar(file: BinaryIO) -> bool:
    try:
        with _decompressed(file) as content:
            return content.read(512)[257:262] == b"ustar"
    except (OSError, *_DAMAGE):
        return False
    finally:
        file.seek(0)


def is_junk(name: str) -> bool:
    """Whether a system has added this file: previews, icons and settings of folders."""
    parts = name.replace("\\", "/").split("/")
    return "__MACOSX" in parts or parts[-1].lower() in _JUNK or parts[-1].startswith("._")


def _refuse_unsafe(names: Iterable[str], source: Source) -> None:
    if unsafe := list(names):
        fault = f"{counted(len(unsafe), 'unsafe member')}, a link or a path out of the folder"
        remedy = "nothing was unpacked, download the archive from its source again"
        raise source.fault(f"{fault}: {listed(unsafe)}", remedy)


def _refuse_locked(names: Sequence[str], source: Source) -> None:
    if names:
        raise source.fault(f"{counted(len(names), 'member')} locked by a password: {listed(names)}", BY_HAND)


def _write(content: IO[bytes], folder: Path, name: str) -> None:
    # Some Windows tools separate folders with a backslash.
    target = folder / name.replace("\\", "/")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        shutil.copyfileobj(content, output, CHUNK)


# ZIP


def _zip_members(file: BinaryIO, source: Source) -> list[str]:
    with zipfile.ZipFile(file) as opened:
        return [member.filename for member in _wanted(opened)]


def _unpack_zip(file: BinaryIO, folder: Path, source: Source) -> None:
    with zipfile.ZipFile(file) as opened:
        _check_count(file, len(opened.infolist()))
        members = _wanted(opened)
        _check_zip(members, source)
        for member in Progress(members, desc=f"unpacking {_shown(source)}", unit="file"):
            with opened.open(member) as content:
                _write(content, folder, member.filename)


def _check_count(file: BinaryIO, count: int) -> None:
    """Raises BadZipFile if a ZIP's end tells of another number of members; zipfile is silent if it loses some."""
    file.seek(-min(_LONGEST_END, file.seek(0, io.SEEK_END)), io.SEEK_END)
    end = file.read()
    (told,) = struct.unpack_from("<H", end, end.rindex(b"PK\5\6") + 10)
    if told not in (count & 0xFFFF, 0xFFFF):  # which stands for more
        raise zipfile.BadZipFile(f"{counted(count, 'member')} of {told}")


def _wanted(opened: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members to write, with their names as the tool that made the ZIP meant them."""
    members = opened.infolist()
    doubtful = [member for member in members if not member.flag_bits & _UTF_8 and not member.filename.isascii()]
    if doubtful:
        _decode_names(doubtful, opened)
    return [member for member in members if not member.is_dir() and not is_junk(member.filename)]


def _decode_names(members: Sequence[zipfile.ZipInfo], opened: zipfile.ZipFile) -> None:
    """Correct names that are not marked as UTF-8, which zipfile takes for the cp437 of DOS.

    Tools on Linux write UTF-8 without the mark, those on Windows what it speaks. Of several readings that is taken
    which the tables in the ZIP spell, else the first; two bytes of GB 2312 are hardly ever part of a word in cp437.
    """
    raw = [member.filename.encode("cp437") for member in members]
    readings = [reading for encoding in _NAMES_IN if (reading := _decoded(raw, encoding))]
    if len(readings) > 1:
        tables = b"".join(opened.read(table) for table in opened.infolist() if _is_readable_table(table))
        readings.sort(key=lambda names: -sum(Path(name).stem.encode() in tables for name in names[:_PROBED]))
    for member, name in zip(members, readings[0], strict=True):
        member.filename = name


def _is_readable_table(member: zipfile.ZipInfo) -> bool:
    is_readable = not member.flag_bits & _LOCKED and member.compress_type in _READABLE
    return is_readable and member.filename.lower().endswith(".csv")


def _decoded(names: Sequence[bytes], encoding: str) -> list[str] | None:
    try:
        return [name.decode(encoding) for name in names]
    except UnicodeDecodeError:
        return None


def _check_zip(members: Sequence[zipfile.ZipInfo], source: Source) -> None:
    _refuse_unsafe((member.filename for member in members if _is_unsafe(member)), source)
    _refuse_locked([member.filename for member in members if member.flag_bits & _LOCKED], source)
    if strange := {member.compress_type for member in members} - _READABLE:
        method = min(strange)
        name = f" ({_METHODS[method]})" if method in _METHODS else ""
        raise source.fault(f"compression method {method}{name} cannot be read here", BY_HAND)


def _is_unsafe(member: zipfile.ZipInfo) -> bool:
    """Whether a member's place is outside the folder, or it is a link or a device, as Unix tools store them."""
    return leaves_folder(member.filename) or stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG)


# tar


def _tar_members(file: BinaryIO, source: Source) -> list[str]:
    with tarfile.open(fileobj=file, mode="r:*") as opened:
        return [member.name for member, _ in zip(_tar_files(opened, source), range(1), strict=False)]


def _unpack_tar(file: BinaryIO, folder: Path, source: Source) -> None:
    with tarfile.open(fileobj=file, mode="r:*") as opened:
        for member in Progress(_tar_files(opened, source), desc=f"unpacking {_shown(source)}", unit="file"):
            content = opened.extractfile(member)
            assert content is not None
            with content:
                _write(content, folder, _as_text(member.name))
            opened.members.clear()  # type: ignore[attr-defined]  # it would keep all of a million
        _refuse_open_end(opened)


def _tar_files(opened: tarfile.TarFile, source: Source) -> Iterator[tarfile.TarInfo]:
    """The files of a tar in one pass, each checked before it is written."""
    for member in opened:
        if member.isdir() or is_junk(member.name):
            continue
        if leaves_folder(member.name) or not member.isreg():
            _refuse_unsafe([member.name], source)
        yield member


def _refuse_open_end(opened: tarfile.TarFile) -> None:
    """Read a tar to its end, which checks the sum of a compressed one.

    Raises ReadError if the block of zeros that ends it is missing; tarfile is silent if it is cut between members.
    """
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    while opened.fileobj.read(CHUNK):
        pass


def _as_text(name: str) -> str:
    """A name whose bytes tarfile could not read as UTF-8, read as GBK or Latin-1."""
    raw = name.encode("utf-8", "surrogateescape")
    return next(names[0] for encoding in ("utf-8", "gb2312", "latin-1") if (names := _decoded([raw], encoding)))


# 7z


def _seven_zip_members(file: BinaryIO, source: Source) -> list[str]:
    with _open_7z(file, source) as opened:
        return [member.filename for member in opened.files if not member.is_directory and not is_junk(member.filename)]


def _unpack_7z(file: BinaryIO, folder: Path, source: Source) -> None:
    py7zr = _py7zr(source)
    try:
        with _open_7z(file, source) as opened:
            files = [member for member in opened.files if not member.is_directory and not is_junk(member.filename)]
            names = [member.filename for member in files]
            _refuse_unsafe((member.filename for member in files if _is_unsafe_7z(member)), source)
            _refuse_locked(names if opened.needs_password() else [], source)
            with Progress(total=1, desc=f"unpacking {_shown(source)}", unit="archive"):
                opened.extract(folder, targets=set(names))
    except py7zr.UnsupportedCompressionMethodError as error:
        raise source.fault("a compression method that py7zr cannot read", BY_HAND) from error


def _is_unsafe_7z(member) -> bool:  # type: ignore[no-untyped-def]  # py7zr has no name for it
    return leaves_folder(member.filename) or member.is_symlink or member.is_junction or member.is_socket


@contextmanager
def _open_7z(file: BinaryIO, source: Source):  # type: ignore[no-untyped-def]  # of the package that may be missing
    py7zr = _py7zr(source)
    try:
        with py7zr.SevenZipFile(file) as opened:
            yield opened
    except py7zr.PasswordRequired:
        raise source.fault("the list of its members is locked by a password", BY_HAND) from None
    except py7zr.exceptions.ArchiveError as error:
        if isinstance(error, py7zr.UnsupportedCompressionMethodError):
            raise
        raise ValueError(str(error)) from error


def _py7zr(source: Source):  # type: ignore[no-untyped-def]
    return optional_package("py7zr", source.archive, f"{printable(source.inner or 'it')} is a 7z")


# compressed files


def _decompressed(file: BinaryIO) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    return bz2.BZ2File(file) if start.startswith(b"BZh") else lzma.LZMAFile(file)


def _compressed_members(file: BinaryIO, source: Source) -> list[str]:
    return [Path(source.inner or source.archive.name).stem]


def _unpack_compressed(file: BinaryIO, folder: Path, source: Source) -> None:
    with _decompressed(file) as content:
        _write(content, folder, _compressed_members(file, source)[0])


def _shown(source: Source) -> str:
    return printable(Path(source.inner).name or source.archive.name)


_ZIP = _Format("ZIP", (b"PK\3\4", b"PK\5\6"), _zip_members, _unpack_zip)
_SEVEN_ZIP = _Format("7z", (b"7z\xbc\xaf\x27\x1c",), _seven_zip_members, _unpack_7z)
_COMPRESSED = _Format("compressed file", (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"), _compressed_members, _unpack_compressed)
_TAR = _Format("tar", (), _tar_members, _unpack_tar)
_FORMATS = (_ZIP, _SEVEN_ZIP, _COMPRESSED)
