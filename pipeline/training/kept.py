"""What was found out about a competition's images, kept in the folder of its runs for the next command."""

from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.runtime.sealed import DamagedFile, read_json, write_json


class Finding(Protocol):
    """Something to be kept. fingerprint: of everything that it depends on."""

    @property
    def fingerprint(self) -> str: ...


Kept = TypeVar("Kept", bound=Finding)


def read_kept(path: Path, kind: type[Kept], fingerprint: str | None = None) -> Kept | None:
    """What is kept in a file; None if that is nothing, of another kind, damaged, or has another fingerprint.

    fingerprint: None if it does not matter.
    """
    with suppress(OSError, DamagedFile, ValidationError):
        found = TypeAdapter(kind).validate_python(read_json(path))
        return found if fingerprint in (None, found.fingerprint) else None
    return None


def keep(path: Path, found: Finding) -> None:
    """Keep what was found in a file, for ``read_kept``."""
    write_json(path, TypeAdapter(type(found)).dump_python(found, mode="json"))
