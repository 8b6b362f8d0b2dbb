"""Processes side by side: trainings of one folder, and commands that write one ledger."""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.attacks.contest import Contest, Finished, files_of
from benchmarks.attacks.forks import LEFT, RIGHT, WRONG, Outcome, begin, end, forked
from pipeline.kaggle.ledger import SCORED, Ledger, new_entry

PROCESSES, LINES = 4, 5


def two_trainings(finished: Finished, seed: int) -> Outcome:
    """Start the same training twice, the second a little later. Both end, as if one had followed the other."""
    delay = float(np.random.default_rng(seed).uniform(0, 1))
    with tempfile.TemporaryDirectory() as place:
        contest, logs = Contest(finished.source, Path(place) / "work"), [Path(place) / "1", Path(place) / "2"]
        first = begin(contest.train(), logs[0])
        time.sleep(delay)
        ends = [end(process, log) for process, log in zip((first, begin(contest.train(), logs[1])), logs, strict=True)]
        for done in (*ends, forked(contest.predict)):
            if (outcome := done.judged(True)) != RIGHT:
                return outcome, f"two trainings, {delay:.2f} s apart: {done}"
        if contest.csv != finished.csv:
            return WRONG, f"two trainings, {delay:.2f} s apart: another submission"
        left = sorted(files_of(contest.work) - finished.files)
        return (LEFT, f"two trainings, {delay:.2f} s apart: {left}") if left else (RIGHT, "")


def four_writers(seed: int) -> Outcome:
    """Several processes write lines into one ledger, all at once. Right is a ledger with all lines."""
    with tempfile.TemporaryDirectory() as place:
        ledger, logs = Path(place) / "ledger.csv", [Path(place) / str(number) for number in range(PROCESSES)]
        processes = [begin(partial(write_lines, ledger, number), log) for number, log in enumerate(logs)]
        ends = [end(process, log) for process, log in zip(processes, logs, strict=True)]
        if bad := [done for done in ends if done.status != 0]:
            return bad[0].judged(False), f"four writers: {bad[0]}"
        messages = sorted(entry.message for entry in Ledger(ledger).entries())
        kept = messages == sorted(f"{number}.{line}" for number in range(PROCESSES) for line in range(LINES))
        return (
            (RIGHT, "") if kept else (WRONG, f"four writers, seed {seed}: {len(messages)} of {PROCESSES * LINES} lines")
        )


def write_lines(path: Path, number: int) -> None:
    """Add entries to the ledger, and change each of them once."""
    ledger = Ledger(path)
    for line in range(LINES):
        entry = ledger.add(new_entry("pets", Path("submission.csv"), "0" * 64, f"{number}.{line}", None))
        ledger.change(entry, status=SCORED)
