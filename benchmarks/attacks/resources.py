"""Take away what commands need: space on the disk, memory."""

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.attacks.contest import Contest, Finished, files_of
from benchmarks.attacks.forks import LEFT, REFUSED, RIGHT, Outcome, Task, forked

ENOUGH = 64 << 20  # bytes of disk
PAGE = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes at ``place``. Raises OSError if this machine does not allow it."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip() or "mount failed")


def problem_with_disks() -> str:
    """Why no small disk can be made here; empty if one can."""
    try:
        with tempfile.TemporaryDirectory() as place, small_disk(Path(place) / "disk", ENOUGH):
            return ""
    except OSError as error:
        return str(error)


def full_disk(finished: Finished, seed: int) -> Outcome:
    """Run the commands on a disk that fills up, then again after there is space."""
    generator = np.random.default_rng(seed)
    needed = sum(path.stat().st_size for path in finished.work.rglob("*") if path.is_file())
    size = int(generator.integers(4, 1.3 * needed // PAGE)) * PAGE
    with tempfile.TemporaryDirectory() as place, small_disk(Path(place) / "disk", size) as disk:
        contest = Contest(finished.source, disk / "work")
        first = forked(contest.answer)
        outcome = first.judged(contest.csv == finished.csv)
        if outcome not in (RIGHT, REFUSED):
            return outcome, f"a disk of {size:,} bytes: {first}"
        _mount("-o", f"remount,size={ENOUGH}", str(disk))
        done = forked(contest.answer)
        outcome = done.judged(contest.csv == finished.csv)
        left = sorted(files_of(contest.work) - finished.files)
        if outcome == RIGHT and left:
            return LEFT, f"a disk of {size:,} bytes: {left}"
        return (RIGHT, "") if outcome == RIGHT else (outcome, f"a disk of {size:,} bytes, then enough: {done}")


def little_memory(finished: Finished, seed: int) -> Outcome:
    """Run the commands with a limit on their memory, and again without one."""
    more = int(np.random.default_rng(seed).integers(1, 400)) << 20
    with tempfile.TemporaryDirectory() as place:
        contest = Contest(finished.source, Path(place) / "work")
        first = forked(limited(contest.answer, more))
        outcome = first.judged(contest.csv == finished.csv)
        if outcome not in (RIGHT, REFUSED):
            return outcome, f"{more >> 20} MB more than at the start: {first}"
        done = forked(contest.answer)
        outcome = done.judged(contest.csv == finished.csv)
        return outcome, "" if outcome == RIGHT else f"{more >> 20} MB, then enough: {done}"


def limited(task: Task, more: int) -> Task:
    """The task, which can take ``more`` bytes of address space than its process has at the start."""

    def run() -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * PAGE + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        task()

    return run
