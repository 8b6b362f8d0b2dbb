"""Run commands as a user types them: in the test's own process, or with ``start`` in a separate one."""

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
    """Exit status of a command and the text that it printed to stdout and stderr."""

    status: int
    out: str
    err: str


def run(command: str, *arguments: object, seconds_ago: float = 0.0) -> Done:
    """Run a command with ``/`` as the current folder, as if it had started ``seconds_ago`` seconds ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/")
        start_clock(patch, seconds_ago)
        return call(getattr(commands, command), *arguments)


def call(main: Callable[[list[str]], NoReturn], *arguments: object) -> Done:
    """Call a function that ends with SystemExit, and capture what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as leaving:
        main([str(argument) for argument in arguments])
    return Done(leaving.value.code, out.getvalue(), err.getvalue())


def start_clock(patch: pytest.MonkeyPatch, seconds_ago: float) -> None:
    """Count time budgets from ``seconds_ago`` seconds ago, not from the start of the tests."""
    patch.setattr("pipeline.settings.BEGUN", time.monotonic() - seconds_ago)


def succeed(command: str, *arguments: object) -> str:
    """The stdout of a command that must succeed."""
    done = run(command, *arguments)
    assert done.status == 0, done.out + done.err
    return done.out


def fail(command: str, *arguments: object) -> str:
    """The error message of a command that must fail: the last line of stderr, without ``error:``."""
    done = run(command, *arguments)
    assert done.status == 2, done.out + done.err
    assert "Traceback" not in done.err
    return done.err.splitlines()[-1].removeprefix("error: ")


def script(command: str, *arguments: object) -> list[str]:
    """The command line that runs the command's script."""
    return [sys.executable, str(ROOT / "pipeline" / f"{command}.py"), *map(str, arguments)]


def start(command: str, *arguments: object, cwd: Path | str = "/") -> Done:
    """Run a command's script in a separate process."""
    done = subprocess.run(script(command, *arguments), capture_output=True, text=True, cwd=cwd, check=False)
    return Done(done.returncode, done.stdout, done.stderr)
