"""Progress bars: the one kind that all commands show, and plain lines if stderr is not a terminal."""

import os
import shutil
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TextIO

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # a notebook without ipywidgets gets plain lines
    from tqdm.auto import tqdm

IS_WIDGET = tqdm.__module__ == "tqdm.auto"  # whether bars are a notebook's; otherwise it is a class of another module
WIDTH = 80  # columns at most, so that a bar stays on one line of a usual terminal
NAME_WIDTH = 24  # of the text before the bar
RECENT = 60.0  # seconds over which the speed is measured
PLAIN_INTERVAL = 15.0  # seconds between two plain lines


class Progress(tqdm):
    """A progress bar on stderr that is removed when it is finished; the arguments are tqdm's.

    The remaining time follows from the speed of the last minute. Work that fits itself into a time limit gives its
    ``end``, on the clock of ``time.monotonic``; the remaining time is then never longer. In a notebook it is a widget;
    elsewhere, if stderr is not a terminal, a line is printed every 15 seconds instead.
    """

    SHARE: ClassVar[str] = "{desc} {percentage:3.0f}%|{bar:8}|{remaining}{postfix}"  # for a total that is not a count
    # Whether this process shows its bars; of the ranks that torchrun starts, only the first one does.
    shown: ClassVar[bool] = os.environ.get("RANK", "0") == "0"
    line: ClassVar[int | None] = None  # of this process, from 0, among those that show their bars side by side

    def __init__(
        self,
        *args: Any,
        desc: str | None = None,
        file: TextIO | None = None,
        end: float | None = None,
        **options: Any,
    ) -> None:
        target = file or sys.stderr
        self._end = end
        self._plain = not IS_WIDGET and (target is None or not target.isatty())
        self._seen: deque[tuple[float, float]] = deque()
        if self._plain:
            options |= {"delay": PLAIN_INTERVAL, "mininterval": PLAIN_INTERVAL}
        if self.line is not None:
            desc = f"{self.line + 1}: {desc or ''}"
            options["position"] = self.line
        options |= {
            "desc": desc and shortened(desc),
            "leave": False,
            "disable": options.get("disable", False) or not self.shown or target is None,
        }
        options |= self._of_widget(options) if IS_WIDGET else self._of_terminal(target)
        super().__init__(*args, **options)

    def _of_terminal(self, target: TextIO | None) -> dict[str, Any]:
        return {
            "file": _Lines(target) if self._plain and target else target,
            "ncols": min(WIDTH, shutil.get_terminal_size().columns) - 1,
            "miniters": 0,
        }

    @staticmethod
    def _of_widget(options: dict[str, Any]) -> dict[str, Any]:
        """A widget draws the bar itself, in its own width."""
        layout = options.get("bar_format")
        return {"bar_format": layout and layout.replace("{bar:8}", "{bar}")}

    def close(self) -> None:
        """Remove the bar. A widget of work that ended early, as its time was over, would stay and be red."""
        if IS_WIDGET and not self.disable:
            self.total = None
        super().close()

    @classmethod
    @contextmanager
    def line_of_its_own(cls, number: int, shown: bool) -> Iterator[None]:
        """In this block, bars stand in line ``number``, with that number counted from 1 before their names.

        shown: whether there are bars at all.
        """
        before, (cls.line, cls.shown) = (cls.line, cls.shown), (number, shown)
        try:
            yield
        finally:
            cls.line, cls.shown = before

    def advance_to(self, n: float) -> None:
        """Set how much is done, up to the total."""
        self.update(min(n, self.total or n) - self.n)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What tqdm's formats are filled with; the rate is recent, or what the end asks for."""
        values = dict(super().format_dict)
        if not self.disable:
            values |= {"rate": self._recent_rate() if self._end is None else self._rate_to(self._end)}
        if self._plain:
            values |= {"bar_format": self._plain_format}
        return values

    @property
    def _plain_format(self) -> str:
        if self.bar_format == self.SHARE:
            return "{desc}: {percentage:3.0f}%, {remaining} left{postfix}"
        if self.bar_format is not None:
            return self.bar_format
        if not self.total:
            return "{desc}: {n_fmt} {unit}, {elapsed}"
        return "{desc}: {percentage:3.0f}%, {n_fmt}/{total_fmt} {unit}, {remaining} left"

    def _recent_rate(self) -> float | None:
        """Units per second since the oldest look at the clock within the last minute; None before the second look."""
        self._seen.append((time.monotonic(), self.n))
        while len(self._seen) > 2 and self._seen[1][0] <= self._seen[-1][0] - RECENT:
            self._seen.popleft()
        (begun, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - begun) if done > before and now > begun else None

    def _rate_to(self, end: float) -> float:
        """Units per second: the recent rate, or a higher one if the rest would not be done before ``end``."""
        needed = ((self.total or self.n) - self.n) / max(1.0, end - time.monotonic())
        return max(needed, self._recent_rate() or 0.0)


class _Lines:
    """Prints each state of a bar as a line of its own, without tqdm's carriage returns."""

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def write(self, text: str) -> None:
        if line := text.strip():
            self._target.write(f"{line}\n")

    def flush(self) -> None:
        self._target.flush()


def shortened(name: str) -> str:
    """The name with its middle left out if it is too long for a bar."""
    if len(name) <= NAME_WIDTH:
        return name
    half = (NAME_WIDTH - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
