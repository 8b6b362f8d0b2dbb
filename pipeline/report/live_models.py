"""What a training has done so far, model by model, read from the files that it writes anyway."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import pandas as pd

from pipeline.models.base import HISTORY_FILE
from pipeline.report.run_record import UNREADABLE
from pipeline.training.planning import ModelPlan
from pipeline.training.runs import REFIT, Run, RunFolder

State = Literal["planned", "at work", "done"]


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model of the plan as it is now.

    name: of its run.
    seconds: since its training began, or that its training took; None if it is planned.
    histories: of a network, the columns of each history.csv in its folder, by the path of the folder in the run's;
        that of a single network is called ``.``.
    """

    name: str
    plan: ModelPlan
    state: State
    run: Run | None = None
    seconds: float | None = None
    histories: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def epochs(self) -> int | None:
        """The epochs, or parts of the training, that were validated so far; None if it is no network at work."""
        return sum(map(len, self.histories.values())) or None


@dataclass
class WatchedModel:
    """Looks at the folder of a model's run.

    mark: when the run was last begun before this command, by the file that marks it; None if it never was.
    """

    plan: ModelPlan
    folder: RunFolder
    mark: int | None
    begun: float | None = None
    run: Run | None = None
    histories: dict[Path, tuple[int, pd.DataFrame]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: ModelPlan, folder: RunFolder) -> Self:
        return cls(plan, folder, _changed(folder.mark))

    def look(self) -> LiveModel:
        """The model as it is now."""
        if self.begun is None and _changed(self.folder.mark) not in (None, self.mark):
            self.begun = time.monotonic()
        name = self.folder.path.name
        if self.begun is None:
            return LiveModel(name, self.plan, "planned")
        self.run = self.run or self.folder.finished()
        seconds = self.run.seconds if self.run else time.monotonic() - self.begun
        state: State = "done" if self.run else "at work"
        return LiveModel(name, self.plan, state, self.run, seconds, dict(self._histories()))

    def _histories(self) -> Iterator[tuple[str, pd.DataFrame]]:
        for path in sorted(self.folder.path.rglob(HISTORY_FILE)):
            place = path.parent.relative_to(self.folder.path).as_posix()
            if place != REFIT and (history := self._history(path)) is not None:
                yield place, history

    def _history(self, path: Path) -> pd.DataFrame | None:
        """The table in a history.csv, read again if the file has changed; None if it is gone or damaged."""
        changed = _changed(path)
        before, table = self.histories.get(path, (None, None))
        if changed is not None and changed != before:
            with suppress(*UNREADABLE):
                table = pd.read_csv(path)
                self.histories[path] = changed, table
        return table


def _changed(path: Path) -> int | None:
    """When a file was last written, in nanoseconds; None if there is none."""
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return None
