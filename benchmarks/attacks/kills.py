"""Kill commands: before each change that they make to the file system, and at random times."""

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.attacks.contest import Contest, Finished, files_of
from benchmarks.attacks.forks import LEFT, RIGHT, Done, Outcome, Task, begin, end, forked
from pipeline.models.base import CHECKPOINT_FILE

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Changes:
    """Counts the changes below a folder as they are about to happen; at the n-th the process kills itself."""

    def __init__(self, folder: Path, last: int | None = None) -> None:
        self.folder, self.last, self.count = str(folder), last, 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._is_change(event, arguments):
            return
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_change(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            return isinstance(flags, int) and bool(flags & WRITING) and self._is_below(path)
        return event in CHANGES and self._is_below(arguments[0])

    def _is_below(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.folder)


def killed(task: Task, folder: Path, last: int) -> Task:
    """The task, which dies before its ``last``-th change below the folder."""

    def run() -> None:
        sys.addaudithook(Changes(folder, last))
        task()

    return run


def count_changes(finished: Finished, fresh: bool) -> int:
    """How many changes the commands make when nothing disturbs them."""
    with tempfile.TemporaryDirectory() as place:
        contest = prepared(finished, Path(place), fresh)
        tally = Path(place) / "tally"

        def run() -> None:
            changes = Changes(contest.work)
            sys.addaudithook(changes)
            try:
                attacked(contest, fresh)()
            finally:
                tally.write_text(str(changes.count), encoding="utf-8")

        forked(run)
        return int(tally.read_text(encoding="utf-8"))


def seconds_of(finished: Finished) -> float:
    """How long the commands take when nothing disturbs them."""
    with tempfile.TemporaryDirectory() as place:
        contest, begun = prepared(finished, Path(place), fresh=False), time.monotonic()
        forked(contest.answer)
        return time.monotonic() - begun


def prepared(finished: Finished, place: Path, fresh: bool) -> Contest:
    """The contest before the attack: not begun, or with ``fresh`` finished and to be trained anew."""
    work = place / "work"
    if fresh:
        shutil.copytree(finished.work, work)
    else:
        work.mkdir()
    return Contest(finished.source, work)


def attacked(contest: Contest, fresh: bool) -> Task:
    return contest.train("--fresh") if fresh else contest.answer


def interrupt(finished: Finished, place: Path) -> Path:
    """A work folder with a checkpoint, as a training leaves it that is killed late. Returns the folder."""
    contest = prepared(finished, place, fresh=False)

    def run() -> None:
        sys.addaudithook(die_before_a_checkpoint_goes)
        contest.answer()

    forked(run)
    if next(contest.work.rglob(CHECKPOINT_FILE), None) is None:
        raise RuntimeError("no training left a checkpoint")
    return contest.work


def die_before_a_checkpoint_goes(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.remove" and Path(str(arguments[0])).name == CHECKPOINT_FILE:
        os.kill(os.getpid(), signal.SIGKILL)


def at_change(finished: Finished, fresh: bool, last: int) -> Outcome:
    """Kill the commands before their ``last``-th change, then run them again undisturbed."""
    with tempfile.TemporaryDirectory() as place:
        contest = prepared(finished, Path(place), fresh)
        forked(killed(attacked(contest, fresh), contest.work, last))
        return repeated(contest, finished, f"killed before change {last}{' of --fresh' * fresh}")


def at_random(finished: Finished, seconds: float, seed: int) -> Outcome:
    """Kill the commands within their first ``seconds``, up to three times, then run them again undisturbed."""
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        contest = prepared(finished, Path(place), fresh=False)
        delays = generator.uniform(0, seconds, int(generator.integers(1, 4)))
        for delay in delays:
            killed_after(contest.answer, Path(place) / "log", delay)
        return repeated(contest, finished, f"killed after {', '.join(f'{delay:.3f} s' for delay in delays)}")


def killed_after(task: Task, log: Path, seconds: float) -> Done:
    process = begin(task, log)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return end(process, log)


def repeated(contest: Contest, finished: Finished, what: str) -> Outcome:
    """Run the commands again: right is the undisturbed submission, with no file more than it leaves."""
    done = forked(contest.answer)
    outcome = done.judged(contest.csv == finished.csv)
    if outcome != RIGHT:
        return outcome, f"{what}: {done}"
    left = sorted(files_of(contest.work) - finished.files)
    return (LEFT, f"{what}: {left}") if left else (RIGHT, "")
