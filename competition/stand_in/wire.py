"""Parts of the protocol: dates, refusals, pages, and the kinds of answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Message = dict[str, Any]

ORIGIN = "http://localhost"  # where the client sends requests with KAGGLE_API_ENVIRONMENT=LOCALHOST
_PAGE = 20  # the client's own default
DATA, OUTPUT, UPLOAD = "data", "output", "upload"  # the first parts of all addresses outside /api
LOGS = "/api/v1/kernels/logs/stream/"


@dataclass(frozen=True)
class Redirect:
    """An answer that sends the client to another address."""

    url: str


@dataclass(frozen=True)
class Content:
    """An answer of bytes. kind: its media type."""

    body: bytes
    kind: str


@dataclass(frozen=True)
class Stream:
    """An answer of events, each sent as it happens."""

    events: Iterator[Message]


class RefusedError(Exception):
    """A request is answered with an HTTP error; the message is the stand-in's own, not Kaggle's.

    state: a word such as ``FAILED_PRECONDITION``; with it the message lies in the answer's ``error``.
    """

    def __init__(self, status: int, message: str, state: str | None = None) -> None:
        super().__init__(message)
        self.status, self.state = status, state

    @property
    def body(self) -> Message:
        described: Message = {"code": self.status, "message": str(self)}
        return {"error": described | {"status": self.state}} if self.state else described


def needed(request: Message, name: str) -> str:
    """A text field of the request. Raises RefusedError if it is missing or empty."""
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(400, f"the request lacks {name}")
    return value


def number(request: Message, name: str, default: int) -> int:
    """A whole number of the request; 0 counts as missing. Raises RefusedError if it is something else."""
    value = request.get(name) or default
    if not str(value).isdecimal():
        raise RefusedError(400, f"{name} is not a whole number")
    return int(value)


def iso(moment: datetime) -> str:
    """``2026-01-02T03:04:05.678Z``, in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def page_of(items: Sequence, request: Message) -> tuple[Sequence, str]:
    """The page of ``items`` that the request asks for (by token or page number), and the next page's token."""
    size = number(request, "pageSize", _PAGE)
    start = number(request, "pageToken", (number(request, "page", 1) - 1) * size)
    end = start + size
    return items[start:end], str(end) if end < len(items) else ""


def in_folder(folder: Path, name: str) -> Path:
    """The regular file of that relative name. Raises RefusedError if there is none, or it lies elsewhere."""
    path = folder / name
    is_inside = path.resolve() == folder.resolve() / name
    if not is_inside or not path.is_file():
        raise RefusedError(404, f"there is no file {name}")
    return path
