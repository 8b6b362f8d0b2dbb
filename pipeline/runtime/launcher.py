"""Starts one process (rank) for each further GPU of this machine, as torchrun would, and looks after them.

The process that was started by hand is the main rank. The others run the same command with the variables that torchrun
sets; see ``distributed``. They end when it ends, however that happens, and Ctrl-C reaches them through it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from competition.errors import UserError
from pipeline.runtime import distributed
from pipeline.runtime.devices import usable_devices

PARENT = "IMAGE_PIPELINE_PARENT"  # variable of a rank that was started here: the process that started it
GRACE = 20.0  # seconds for ranks to end by themselves
MOMENT = 0.5  # seconds between two looks at other processes


@contextmanager
def other_ranks(script: Path, arguments: Sequence[str], wish: str) -> Iterator[None]:
    """In this block, this process is the main rank of one for each GPU. Nothing happens if there is at most one GPU.

    script, arguments: what the other ranks run. wish: see ``choose_device``.
    Raises UserError if another rank was killed.
    """
    if "WORLD_SIZE" in os.environ:  # started by torchrun or from here
        _end_with_parent()
        yield
        return
    count = usable_devices(wish)
    if count < 2:
        yield
        return
    with _variables(_meeting(count) | _place(0)):
        others = [_started(script, arguments, number) for number in range(1, count)]
        try:
            with _watched(others):
                yield
        except RuntimeError as error:
            if lost := _killed(others):
                raise UserError(lost) from error
            raise
        finally:
            _end(others)


def _meeting(count: int) -> dict[str, str]:
    """The variables by which ``count`` ranks find each other on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} | sizes


def _place(number: int) -> dict[str, str]:
    return {"RANK": str(number), "LOCAL_RANK": str(number)}


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _started(script: Path, arguments: Sequence[str], number: int) -> subprocess.Popen[bytes]:
    """One more rank, in a session of its own: this process passes Ctrl-C on."""
    variables = os.environ | _place(number) | {PARENT: str(os.getpid())}
    return subprocess.Popen([sys.executable, str(script), *arguments], env=variables, start_new_session=True)


def _end_with_parent() -> None:
    """End this process, if it was started from here, when the one that started it has ended."""
    parent = int(os.environ.get(PARENT, "0"))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(MOMENT)
        os._exit(1)

    if parent and hasattr(os, "getppid"):
        Thread(target=watch, daemon=True).start()


@contextmanager
def _watched(others: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End this process if another rank has failed and this one waits for it on the GPU, where no error reaches it."""
    is_over = Event()

    def watch() -> None:
        left = GRACE
        while left > 0 and not is_over.wait(MOMENT):
            if any(other.poll() for other in others) and distributed.waits_for_others():
                left -= MOMENT
        if left <= 0:
            print(f"error: {_killed(others) or 'another process of this command failed'}", file=sys.stderr, flush=True)
            os._exit(2)

    Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _killed(others: list[subprocess.Popen[bytes]]) -> str | None:
    """What to say if another rank has ended without a word; None if none has."""
    with suppress(subprocess.TimeoutExpired):
        for number, other in enumerate(others, start=2):
            if (status := other.wait(MOMENT)) < 0:
                name = signal.Signals(-status).name
                return f"the process of GPU {number} was ended by {name}; run the same command again to continue"
    return None


def _end(others: list[subprocess.Popen[bytes]]) -> None:
    """Wait until the other ranks have ended, and end those that do not end by themselves."""
    is_failing = sys.exc_info()[0] is not None
    for other in others:
        with suppress(subprocess.TimeoutExpired):
            other.wait(0 if is_failing else GRACE)
    for stop in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for other in (each for each in others if each.poll() is None):
            stop(other)
            with suppress(subprocess.TimeoutExpired):
                other.wait(GRACE)
