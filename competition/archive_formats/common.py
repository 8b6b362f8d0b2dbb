"""What the readers of all formats share: whose fault an error is, and how a member is checked and written."""

import gzip
import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from competition.errors import UserError
from competition.wording import counted, fault_in, listed, printable

CHUNK = 1 << 20  # bytes copied at once
BY_HAND = "unpack it yourself and give the folder"
AGAIN = "download it again"
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, gzip.BadGzipFile),
    *(EOFError, NotImplementedError, ValueError, OverflowError, RuntimeError, LookupError, TypeError, MemoryError),
)
_JUNK = {"thumbs.db", "desktop.ini", ".ds_store"}


class Source(NamedTuple):
    """What an error names: the user's archive, and the archive inside it that is being unpacked."""

    archive: Path
    inner: str = ""

    def fault(self, fault: str, remedy: str) -> UserError:
        where = f"{printable(self.inner)} in it: " if self.inner else ""
        return fault_in(self.archive, where + fault, remedy)


class Format(NamedTuple):
    name: str
    starts: tuple[bytes, ...]
    members: Callable[[BinaryIO, Source], Sequence[str]]
    unpack: Callable[[BinaryIO, Path, Source], None]


@contextmanager
def damage_named(form: Format, source: Source) -> Iterator[None]:
    """Raise UserError for whatever the readers raise when an archive is damaged."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not isinstance(error, gzip.BadGzipFile):  # a full disk or the like
            raise
        raise source.fault(f"not a complete {form.name} ({printable(error)})", AGAIN) from error
    except DAMAGE as error:
        raise source.fault(f"not a complete {form.name} ({printable(error)})", AGAIN) from error


def is_junk(name: str) -> bool:
    """Whether a system has added this file: previews, icons and settings of folders."""
    parts = name.replace("\\", "/").split("/")
    return "__MACOSX" in parts or parts[-1].lower() in _JUNK or parts[-1].startswith("._")


def refuse_unsafe(names: Iterable[str], source: Source) -> None:
    if unsafe := list(names):
        fault = f"{counted(len(unsafe), 'unsafe member')}, a link or a path out of the folder"
        remedy = "nothing was unpacked, download the archive from its source again"
        raise source.fault(f"{fault}: {listed(unsafe)}", remedy)


def refuse_locked(names: Sequence[str], source: Source) -> None:
    if names:
        raise source.fault(f"{counted(len(names), 'member')} locked by a password: {listed(names)}", BY_HAND)


def write_member(content: IO[bytes], folder: Path, name: str) -> None:
    # Some Windows tools separate folders with a backslash.
    target = folder / name.replace("\\", "/")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        shutil.copyfileobj(content, output, CHUNK)


def decoded_names(names: Sequence[bytes], encoding: str) -> list[str] | None:
    try:
        return [name.decode(encoding) for name in names]
    except UnicodeDecodeError:
        return None


def shown(source: Source) -> str:
    """The name of the archive that is being unpacked, for a bar of progress."""
    return printable(Path(source.inner).name or source.archive.name)
