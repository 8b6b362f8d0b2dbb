"""The journal of studies: a file to which several processes append, and whose damage is noticed."""

import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from filelock import FileLock
from optuna.storages.journal import BaseJournalBackend

from competition.wording import fault_in

LINE, CHECKSUM = "line", "crc"  # keys that are added to each log: the number of its line, and its checksum
POLL = 0.005  # seconds between attempts to get the lock, which is held for a few milliseconds
START = b'{"op_code":'  # of each line

Log = dict[str, Any]
Answer = SimpleQueue[Exception | None]
Jobs = SimpleQueue[tuple[Callable[[], None], Answer]]


class Journal(BaseJournalBackend):
    """Optuna's journal as a file, one JSON object a line.

    Whatever ends a process leaves whole lines, or part of a last one, which the next process to write removes. The
    lock is the operating system's and free when its holder ends. Ctrl-C is raised in the main thread, so another one
    writes: what is interrupted leaves no line half written and no lock held.

    Raises UserError if a line is not as it was written. Lines that Optuna wrote itself have no checksum and are read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        self._ends = [0]  # bytes before each line, as far as they are known
        self._jobs = _writer()
        path.open("ab").close()

    def read_logs(self, log_number_from: int) -> Iterator[Log]:
        with self.path.open("rb") as file:
            file.seek(self._ends[log_number_from])
            for number, line in enumerate(file, start=log_number_from):
                log = self._log(number, line)
                if log is None:
                    return
                if number + 1 == len(self._ends):
                    self._ends.append(self._ends[number] + len(line))
                yield log

    def append_logs(self, logs: list[Log]) -> None:
        answer: Answer = SimpleQueue()
        self._jobs.put((partial(self._append, logs), answer))
        if error := answer.get():
            raise error

    def _append(self, logs: list[Log]) -> None:
        number = len(self._ends) - 1
        with self._lock.acquire(poll_interval=POLL), self.path.open("r+b") as file:
            file.seek(self._ends[number])
            whole, ending, _ = file.read().rpartition(b"\n")  # what other processes have written since
            before = number + (whole + ending).count(b"\n")
            file.seek(self._ends[number] + len(whole + ending))
            file.truncate()
            file.write(b"".join(_line(before + place, log) for place, log in enumerate(logs)))
            file.flush()
            os.fsync(file.fileno())

    def _log(self, number: int, line: bytes) -> Log | None:
        """The log in a line; None if the line is still being written, or was when its process ended."""
        if not line.endswith(b"\n") and line.startswith(START[: len(line)]):
            return None
        try:
            log = json.loads(line)
            promised = log.pop(CHECKSUM, None)
            right = promised in (None, _checksum(log)) and log.pop(LINE, number) == number and "op_code" in log
        except (ValueError, TypeError, AttributeError, RecursionError):
            right = False
        if not right:
            fault = f"not a journal of tune.py, or damaged in line {number + 1}"
            raise fault_in(self.path, fault, "move it away to begin again, or give another file with --storage")
        return log


@cache
def _writer() -> Jobs:
    """The jobs of a thread that does one after the other and answers each with its error, if there is one.

    An executor would not do: Ctrl-C while a job is handed to it can leave its locks held.
    """
    jobs: Jobs = SimpleQueue()

    def work() -> None:
        while True:
            job, answer = jobs.get()
            try:
                job()
            except Exception as error:
                answer.put(error)
            else:
                answer.put(None)

    threading.Thread(target=work, daemon=True).start()
    return jobs


def _line(number: int, log: Log) -> bytes:
    numbered = {**log, LINE: number}
    return json.dumps({**numbered, CHECKSUM: _checksum(numbered)}, separators=(",", ":")).encode() + b"\n"


def _checksum(log: Log) -> int:
    return zlib.crc32(json.dumps(log, separators=(",", ":")).encode())
