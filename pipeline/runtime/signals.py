"""Signals that stop a command: it unwinds and keeps what is finished."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, Ctrl-C, SIGTERM and SIGHUP raise ``KeyboardInterrupt(number)``; a second one ends the process.

    Signals that are ignored, such as SIGHUP under nohup, stay ignored.
    """
    before = {number: signal.getsignal(number) for number in STOPPING}
    caught = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():  # no other thread may change handlers
        caught = {}

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for each in caught:
            signal.signal(each, end)
        raise KeyboardInterrupt(number)

    def end(number: int, frame: FrameType | None) -> NoReturn:
        os._exit(128 + number)

    for number in caught:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, old in caught.items():
            signal.signal(number, old)
