"""The page ``runs/NAME/index.html``: what a training has done, does and plans.

A thread of the command writes it anew every few seconds, from the files that the training leaves anyway. Its figures
are true as of the time that it names; a time that is long past tells of a command that was killed. A browser that shows
the page loads it again by itself until the training has ended.
"""

import math
import time
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Literal, Self

from filelock import FileLock, Timeout
from jinja2 import Template

from competition.spec import Competition
from competition.storage import write_file
from competition.wording import printable
from pipeline.report.event_files import EventFiles
from pipeline.report.live_charts import HEIGHT, WIDTH, charts
from pipeline.report.live_models import LiveModel, WatchedModel
from pipeline.report.rendering import environment
from pipeline.runtime import distributed
from pipeline.runtime.faults import explained
from pipeline.settings import Settings
from pipeline.training.planning import Plan, clock
from pipeline.training.sessions import StageClock
from pipeline.training.trainer import Trainer

PAGE = "index.html"
SECONDS = 5.0  # between two states of the page, or more:
SHARE = 0.005  # of a processor's time, at most, is spent on writing it
Status = Literal["running", "finished", "interrupted", "failed"]


class LivePage:
    """The page of one command; as a context manager it keeps the page up to date during the block.

    The main rank writes it. If another command writes the page of that competition, this one begins when it has ended.
    command: as it was typed.
    """

    def __init__(
        self, path: Path, settings: Settings, competition: Competition, command: str, stages: StageClock
    ) -> None:
        self.path, self.settings, self.competition = path, settings, competition
        self.command, self.stages = command, stages
        self.status: Status = "running"
        self.reason = ""
        self.plan: Plan | None = None
        self.watched: list[WatchedModel] = []
        self.event_files = EventFiles(competition.metric.name) if settings.tensorboard else None
        self.pause, self.is_faulty = SECONDS, False
        self._news = Event()
        self._lock = FileLock(self.path.with_name(f".{PAGE}.lock"), thread_local=False)
        self._thread = Thread(target=self._keep_writing, daemon=True)

    def __enter__(self) -> Self:
        if distributed.is_main():
            print(f"watch it: {self.path}")
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.status, self.reason = _ended(error)
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()

    def show(self, plan: Plan, trainer: Trainer) -> None:
        """Show the models of the plan, and how far they are, from now on."""
        if distributed.is_main() and not self.watched:
            self.watched = [WatchedModel.of(model, trainer.folder_for(model)) for model in plan.models]
        self.plan = plan
        self._news.set()

    def _keep_writing(self) -> None:
        while self.status == "running":
            self._try_to_write()
            self._news.wait(self.pause)
            self._news.clear()
        self._try_to_write()
        if self.event_files:
            self.event_files.close()
        self._lock.release()

    def _try_to_write(self) -> None:
        """Write the page unless another command does. A fault is told once; it does not concern the training."""
        begun = time.thread_time()
        try:
            if self._is_ours():
                self._write()
        except Exception as error:
            if not self.is_faulty:
                print(f"warning: {self.path} is not up to date: {printable(explained(error), most=200)}")
            self.is_faulty = True
        self.pause = max(SECONDS, (time.thread_time() - begun) / SHARE)

    def _is_ours(self) -> bool:
        """Whether no other command writes the page, as far as the file system can tell."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except NotImplementedError:  # it has no locks
            pass
        return True

    def _write(self) -> None:
        models = [each.look() for each in self.watched]
        if self.event_files:
            self.event_files.write(
                {each.folder.path: model.histories for each, model in zip(self.watched, models, strict=True)}
            )
        write_file(self.path, _template().render(self._content(models)))

    def _content(self, models: list[LiveModel]) -> dict[str, object]:
        """What the template shows."""
        now, elapsed = datetime.now().astimezone(), time.monotonic() - self.settings.begun
        status, budget = self.status, self.settings.budget
        return {
            "competition": self.competition,
            "command": self.command,
            "status": status,
            "reason": self.reason,
            "stages": self.stages.seconds(),
            "refresh": math.ceil(self.pause) if status == "running" else None,
            "begun": _moment(now - timedelta(seconds=elapsed)),
            "written": _moment(now),
            "elapsed": elapsed,
            "budget": budget,
            "without_budget": _without_budget(self.settings),
            "ends": None if budget is None else _moment(now + timedelta(seconds=budget - elapsed)),
            "models": [(model, charts(model.histories, self.competition.metric.title)) for model in models],
            "left_out": self.plan.left_out if self.plan else {},
            "clock": clock,
            "size": (WIDTH, HEIGHT),
        }


@cache
def _template() -> Template:
    return environment().get_template("live.html.j2")


def _moment(moment: datetime) -> str:
    """The time with its offset from UTC, as the page has no script that could ask for the reader's own."""
    return moment.isoformat(sep=" ", timespec="seconds")


def _without_budget(settings: Settings) -> str:
    if settings.plan is not None:
        return f"the plan {settings.plan.name} is repeated"
    return f"networks train for {settings.epochs or 'all their'} epochs"


def _ended(error: BaseException | None) -> tuple[Status, str]:
    """How the command ended, and why or what to do."""
    if error is None:
        return "finished", ""
    if isinstance(error, Exception):
        return "failed", explained(error)
    return "interrupted", "finished work is kept; run the same command again to continue"
