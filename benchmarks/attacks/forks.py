"""Run commands in forks of this process, which has imported everything, and judge how they end."""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from tqdm import tqdm

from pipeline import commands

LONGEST = 120.0  # seconds; whatever takes longer hangs
RIGHT, REFUSED, TRACEBACK, WRONG, LEFT = "right", "refused with one line", "traceback", "wrong", "left behind"
OUTCOMES = (RIGHT, REFUSED, TRACEBACK, WRONG, LEFT)
GOOD = (RIGHT, REFUSED)

Outcome = tuple[str, str]  # one of OUTCOMES, and what was seen unless it is a good one

Task = Callable[[], object]


@dataclass(frozen=True)
class Done:
    """Exit status of a fork, or minus the signal that ended it, and the text that it printed."""

    status: int
    out: str
    err: str

    @property
    def refused(self) -> bool:
        """It ended with one line that says what is wrong."""
        return self.status == 2 and sum(line.startswith("error: ") for line in self.err.splitlines()) == 1

    @property
    def crashed(self) -> bool:
        """It printed a traceback or asks to report an error, or ended by a signal or a status that no command has."""
        unforeseen = ("Traceback (most recent call last)", "please report it")
        return any(text in self.err for text in unforeseen) or self.status not in (0, 2)

    def judged(self, right: bool) -> str:
        """The outcome. right: the answer is right, if it ended with one."""
        if self.crashed:
            return TRACEBACK
        if self.status == 0:
            return RIGHT if right else WRONG
        return REFUSED if self.refused else WRONG

    def __str__(self) -> str:
        return f"status {self.status}: {self.out[-300:]} {self.err[-1500:]}"


def begin(task: Task, log: Path) -> int:
    """Start the task in a fork with ``/`` as its current folder. Returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    if (process := os.fork()) == 0:
        os._exit(_status(task, log))
    return process


def _status(task: Task, log: Path) -> int:
    """Run the task in the fork, its output redirected to two files. Returns the exit status."""
    os.chdir("/")
    tqdm.set_lock(RLock())  # the inherited one is shared between processes, and stays locked if one is killed
    for stream, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(log.with_suffix(f".{suffix}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    try:
        task()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return status


def end(process: int, log: Path, seconds: float = LONGEST) -> Done:
    """Wait for the fork; after ``seconds`` it is killed."""
    deadline = time.monotonic() + seconds
    while (found := os.waitpid(process, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            found = os.waitpid(process, 0)
            break
        time.sleep(0.005)
    return Done(
        os.waitstatus_to_exitcode(found[1]), *(_printed(log.with_suffix(suffix)) for suffix in (".out", ".err"))
    )


def _printed(path: Path) -> str:
    """What a fork printed; empty if it died before it began."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def forked(task: Task, seconds: float = LONGEST) -> Done:
    """Run the task in a fork until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        return end(begin(task, log), log, seconds)


def typed(command: str, *arguments: object) -> Task:
    """A command as a user types it."""
    return lambda: getattr(commands, command)([str(argument) for argument in arguments])


def one_after_the_other(*tasks: Task) -> Task:
    """The tasks in turn; the first that fails ends them."""

    def run() -> None:
        for task in tasks:
            try:
                task()
            except SystemExit as leaving:
                if leaving.code:
                    raise

    return run
