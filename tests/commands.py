"""The commands as a user types them, run in the test's own process; ``start`` gives one a process of its own."""

import io
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from pipeline import commands

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Done:
    """What a command has printed, and the status that it ended with."""

    status: int
    out: str
    err: str


def run(command: str, *arguments: object, seconds_ago: float = 0.0) -> Done:
    """Run a command from the root folder, as if it had been started that many seconds ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/")
        start_clock(patch, seconds_ago)
        return call(getattr(commands, command), *arguments)


def call(main: Callable[[list[str]], NoReturn], *arguments: object) -> Done:
    """Call what exits, and catch what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as leaving:
        main([str(argument) for argument in arguments])
    return Done(leaving.value.code, out.getvalue(), err.getvalue())


def start_clock(patch: pytest.MonkeyPatch, seconds_ago: float) -> None:
    """Have budgets counted from then on, not from when the tests began."""
    for module in ("settings", "train", "tune"):
        if f"pipeline.{module}" in sys.modules:
            patch.setattr(f"pipeline.{module}.BEGUN", time.monotonic() - seconds_ago)


def succeed(command: str, *arguments: object) -> str:
    """What the command prints."""
    done = run(command, *arguments)
    assert done.status == 0, done.out + done.err
    return done.out


def fail(command: str, *arguments: object) -> str:
    """The one line after ``error:``, which ends what is printed."""
    done = run(command, *arguments)
    assert done.status == 2, done.out + done.err
    assert "Traceback" not in done.err
    return done.err.splitlines()[-1].removeprefix("error: ")


def script(command: str, *arguments: object) -> list[str]:
    """The command line of the command's script."""
    return [sys.executable, str(ROOT / "pipeline" / f"{command}.py"), *map(str, arguments)]


def start(command: str, *arguments: object, cwd: Path | str = "/") -> Done:
    """Run a command's script in a process of its own."""
    done = subprocess.run(script(command, *arguments), capture_output=True, text=True, cwd=cwd, check=False)
    return Done(done.returncode, done.stdout, done.stderr)
