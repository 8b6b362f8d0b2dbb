"""Faults that a test, or someone who wants to see them, orders at the stand-in."""

import re
import threading
from dataclasses import dataclass
from typing import Literal

from competition.errors import UserError

Kind = Literal["status", "hang", "drop", "lost"]


@dataclass(frozen=True)
class Fault:
    """What happens to the next ``times`` requests of one name.

    status: the HTTP error that is answered; 500 where it is not said.
    kind: ``status``: the error instead of the work. ``lost``: the work is done, then the error answered.
        ``hang``: no answer until the server ends. ``drop``: the connection closed, halfway through an upload
        or a download, or without an answer.
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
        """The fault that this request of that name meets, None for none."""
        with self._lock:
            left = self._left.get(name)
            return left.pop() if left else None

    def clear(self) -> None:
        with self._lock:
            self._left.clear()


def parse_fault(text: str) -> tuple[str, Fault]:
    """``CreateSubmission=429``, ``upload=drop``, ``GetKernel=500x3``, ``CreateSubmission=lost``.

    Raises UserError where it is written otherwise.
    """
    match = re.fullmatch(r"(\w+)=(?:([45]\d\d)|(hang|drop|lost))(?:x(\d+))?", text)
    if not match:
        raise UserError(f"'{text}' is no fault; write NAME=500, =hang, =drop or =lost, e.g. CreateSubmission=429x2")
    name, status, kind, times = match.groups()
    return name, Fault(int(status or 500), kind or "status", int(times or 1))
