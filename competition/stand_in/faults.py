"""Faults that the stand-in simulates on request."""

import re
import threading
from dataclasses import dataclass
from typing import Literal, cast

from competition.errors import UserError

Kind = Literal["status", "hang", "drop", "lost"]


@dataclass(frozen=True)
class Fault:
    """What happens to the next ``times`` requests of one name.

    status: the HTTP error to answer with.
    kind: ``status``: answer the error instead of doing the work. ``lost``: do the work, then answer the error.
        ``hang``: do not answer until the server ends. ``drop``: close the connection, halfway through an upload or
        a download, else without an answer.
    """

    status: int = 500
    kind: Kind = "status"
    times: int = 1


class Faults:
    """Faults by the name of a method (``CreateSubmission``), or ``upload``, ``download``, ``output`` or ``logs``.

    >>> faults["CreateSubmission"] = Fault(status=429, times=2)
    """

    def __init__(self) -> None:
        self._left: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()

    def __setitem__(self, name: str, fault: Fault) -> None:
        with self._lock:
            self._left[name] = [fault] * fault.times

    def take(self, name: str) -> Fault | None:
        """The fault to inject into this request, or None. Each request that gets it reduces its ``times`` by one."""
        with self._lock:
            left = self._left.get(name)
            return left.pop() if left else None

    def clear(self) -> None:
        with self._lock:
            self._left.clear()


def parse_fault(text: str) -> tuple[str, Fault]:
    """Parse ``CreateSubmission=429``, ``upload=drop``, ``GetKernel=500x3``, ``CreateSubmission=lost``.

    Raises UserError for any other form.
    """
    match = re.fullmatch(r"(\w+)=(?:([45]\d\d)|(hang|drop|lost))(?:x(\d+))?", text)
    if not match:
        raise UserError(f"'{text}' is not a fault; write NAME=500, =hang, =drop or =lost, e.g. CreateSubmission=429x2")
    name, status, kind, times = match.groups()
    return name, Fault(int(status or 500), cast(Kind, kind or "status"), int(times or 1))
