"""A competitor's day, each command as it is typed, with the real client and a server on this machine alone."""

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from competition.stand_in.server import StandIn
from tests.commands import script
from tests.stand_in import client_environment, hosted, kaggle

QUICK = ("--models", "dhc-gaussian-nb", "sprint", "--epochs", "1")


class Day:
    """Commands typed one after the other in one folder."""

    def __init__(self, server: StandIn, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.environment = client_environment(server, folder / "home")

    def run(self, command: str, *arguments: object, status: int = 0) -> str:
        place = ("--output", "push/kernel.py") if command == "bundle" else ("--work", self.folder / "work")
        line = script(command, "--competition", "insects", *arguments, *place)
        done = subprocess.run(line, env=self.environment, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return self._seen(done)

    def kaggle(self, *arguments: object) -> str:
        done = kaggle(self.environment, *arguments, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return self._seen(done)

    def _seen(self, done: subprocess.CompletedProcess[str]) -> str:
        assert self.server.key not in done.stdout + done.stderr
        return done.stdout + done.stderr


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def day(make_competition: Callable[..., Path], tmp_path: Path):
    with StandIn(hosted(make_competition(tmp_path / "hosted" / "insects", size=(8, 8))), tmp_path / "state") as server:
        (tmp_path / "day").mkdir()
        yield Day(server, tmp_path / "day")
        assert list(server.refused) == []


def test_the_whole_way(day):
    work = day.folder / "work"
    submission = work / "submissions" / "insects" / "submission.csv"

    day.run("train", *QUICK)
    assert (work / "competition" / "data" / "insects.zip").is_file()
    day.run("predict")
    assert "public score" in day.run("submit", "--message", "naive Bayes")
    (sent,) = csv_rows(work / "submissions" / "ledger.csv")
    assert (sent["recipes"], sent["status"]) == ("dhc-gaussian-nb~epochs=1 1.00", "scored")
    assert float(sent["low"]) <= float(sent["validation"]) <= float(sent["high"])
    day.kaggle("competitions", "submit", "-c", "insects", "-f", submission, "-m", "by hand")
    assert day.kaggle("competitions", "submissions", "insects").count("COMPLETE") == 2

    if problem := day.server.kernels.sandbox.problem:
        pytest.skip(f"no kernel can be run on this machine: {problem}")
    said = day.run("bundle", *QUICK)
    assert "kaggle kernels push -p" in said
    assert "successfully pushed" in day.kaggle("kernels", "push", "-p", "push")
    kernel = "rehearser/insects-pipeline"
    assert "error: " in day.run("submit", "--kernel", kernel, status=2)  # the same bytes as the checkout's
    assert "public score" in day.run("submit", "--kernel", kernel, "--again")
    assert "COMPLETE" in day.kaggle("kernels", "status", kernel)
    day.kaggle("kernels", "output", kernel, "-p", "output")
    assert (day.folder / "output" / "submission.csv").read_bytes() == submission.read_bytes()
    for model in ("dhc-gaussian-nb~epochs=1", "sprint~epochs=1"):
        predictions = Path("runs", "insects", model, "validation.npz")
        assert (day.folder / "output" / predictions).read_bytes() == (work / predictions).read_bytes()

    key = day.server.key.encode()
    assert not [path for path in day.folder.rglob("*") if path.is_file() and key in path.read_bytes()]
