"""What a command prints with --quiet: warnings and its last lines, the results."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from competition.progress import Progress


class _OnlyWarnings(io.TextIOBase):
    """A stdout that passes on only the lines that begin with ``warning:``."""

    def __init__(self, target: TextIO) -> None:
        self.target = target
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line.startswith("warning:"):
                self.target.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self.target.flush()


def is_quiet(target: TextIO | None) -> bool:
    """Whether what is printed there is reduced to warnings and results."""
    return isinstance(target, _OnlyWarnings)


@contextmanager
def quiet() -> Iterator[None]:
    """In this block, only warnings and results are printed, and no progress bar is shown."""
    shown, Progress.shown = Progress.shown, False
    try:
        with redirect_stdout(_OnlyWarnings(sys.stdout)):
            yield
    finally:
        Progress.shown = shown


def print_result(text: object) -> None:
    """Print a result, also with --quiet."""
    print(text, file=getattr(sys.stdout, "target", sys.stdout))
