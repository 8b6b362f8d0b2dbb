"""What every run of train.py was asked for, on which machine, and what its time was spent on.

They lie in ``runs/NAME/sessions.json``, the oldest first.
"""

import os
import platform
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from competition.locks import locked
from competition.storage import ROOT
from pipeline.runtime.sealed import DamagedFile, read_json, write_json

SESSIONS = "sessions.json"
MOST_KEPT = 100


@dataclass(frozen=True)
class Session:
    """One run of train.py.

    command: as it was typed; commit: of the checkout, ``-dirty`` if files in it were changed; empty if unknown.
    machine: its processor, cores and GPU; budget: in seconds, None for no limit.
    stages: seconds of wall clock by what they were spent on, in the order of time.
    """

    command: str
    commit: str
    machine: str
    seed: int
    budget: float | None
    ended_at: AwareDatetime
    stages: dict[str, float]

    @property
    def seconds(self) -> float:
        return sum(self.stages.values())


class StageClock:
    """Measures stages that follow one another.

    stage: the present one. begun: when the first one began, on the clock of ``time.monotonic``.
    """

    def __init__(self, stage: str, begun: float) -> None:
        self.stage, self._begun = stage, begun
        self._ended: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        """End the present stage and begin the next one. A stage that is begun again goes on."""
        self._ended = self.seconds()
        self.stage, self._begun = stage, time.monotonic()

    def seconds(self) -> dict[str, float]:
        """The seconds of each stage so far."""
        present = time.monotonic() - self._begun
        return self._ended | {self.stage: self._ended.get(self.stage, 0.0) + present}


def record_session(folder: Path, command: str, stages: dict[str, float], seed: int, budget: float | None) -> None:
    """Add this run of train.py, which is about to end, to the sessions in ``folder``; see ``Session``."""
    session = Session(
        command=command,
        commit=commit(),
        machine=machine(),
        seed=seed,
        budget=budget,
        ended_at=datetime.now(UTC),
        stages={name: round(seconds, 2) for name, seconds in stages.items()},
    )
    with locked(folder / SESSIONS):
        kept = [*read_sessions(folder), session][-MOST_KEPT:]
        write_json(folder / SESSIONS, {"sessions": TypeAdapter(list[Session]).dump_python(kept, mode="json")})


def read_sessions(folder: Path) -> list[Session]:
    """The sessions in ``folder``, the oldest first; none if the file is missing or damaged."""
    with suppress(OSError, DamagedFile, ValidationError, LookupError):
        return TypeAdapter(list[Session]).validate_python(read_json(folder / SESSIONS)["sessions"])
    return []


def commit() -> str:
    """The commit of this checkout; empty if it is none, or without git."""
    if (ROOT / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            ask = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
            return subprocess.run(ask, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return ""


def machine() -> str:
    """The processor, the number of its cores, the GPUs and the operating system."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([_processor(), cores, *gpus, platform.system()])


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
