"""Time limits: work that takes longer than its share of a time budget ends itself.

The long loops of the work call ``check_time``, as tasks pass checkpoints under trio's ``fail_at``. Nothing is stopped
in the middle of a step, so no file and no object is left half changed.
"""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from competition.errors import UserError

Item = TypeVar("Item")

_end: ContextVar[float] = ContextVar("end", default=math.inf)


class OutOfTime(UserError):  # noqa: N818 - the name says what has happened
    """The time limit has passed. done: the part of the work that was done, in [0, 1); 0 if it is not known."""

    def __init__(self, done: float = 0.0) -> None:
        super().__init__("the time is over; give more with --budget")
        self.done = done


@contextmanager
def time_limit(end: float) -> Iterator[None]:
    """In this block, ``check_time`` raises OutOfTime after ``end``, or after an outer block's end if it is earlier.

    end: on the clock of ``time.monotonic``.
    """
    token = _end.set(min(end, _end.get()))
    try:
        yield
    finally:
        _end.reset(token)


def check_time(done: float = 0.0) -> None:
    """Raises OutOfTime if the time limit has passed; without a limit it does nothing. done: see ``OutOfTime``."""
    if time.monotonic() > _end.get():
        raise OutOfTime(done)


def in_time(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, and check the time before each."""
    for item in items:
        check_time()
        yield item
