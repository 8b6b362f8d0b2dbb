"""A competitor's day, each command as it is typed, with the real client and a server on this machine alone."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from competition.stand_in.server import StandIn
from tests.commands import run
from tests.stand_in import client_environment, hosted, kaggle

QUICK = ("--models", "dhc-gaussian-nb", "dhc-cnn32", "--epochs", "1")


class Day:
    """Commands typed one after the other, the client's in processes of their own."""

    def __init__(self, server: StandIn, folder: Path, environment: dict[str, str]) -> None:
        self.server, self.folder, self.environment = server, folder, environment

    def run(self, command: str, *arguments: object, status: int = 0) -> str:
        output = ("--output", self.folder / "push" / "kernel.py")
        place = output if command == "bundle" else ("--work", self.folder / "work")
        done = run(command, "--competition", "insects", *arguments, *place)
        assert done.status == status, done.out + done.err
        return self._seen(done.out + done.err)

    def kaggle(self, *arguments: object) -> str:
        done = kaggle(self.environment, *arguments, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return self._seen(done.stdout + done.stderr)

    def _seen(self, printed: str) -> str:
        assert self.server.key not in printed
        return printed


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def day(make_competition: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    with StandIn(hosted(make_competition(tmp_path / "hosted" / "insects", size=(8, 8))), tmp_path / "state") as server:
        (tmp_path / "day").mkdir()
        environment = client_environment(server, tmp_path / "day" / "home")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Day(server, tmp_path / "day", environment)
        assert list(server.refused) == []


def test_the_whole_way(day):
    work = day.folder / "work"
    submission = work / "submissions" / "insects" / "submission.csv"

    day.run("train", *QUICK)
    assert (work / "competition" / "data" / "insects.zip").is_file()
    day.run("predict", "--no-report")
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
    for model in ("dhc-gaussian-nb~epochs=1", "dhc-cnn32~epochs=1"):
        predictions = Path("runs", "insects", model, "validation.npz")
        assert (day.folder / "output" / predictions).read_bytes() == (work / predictions).read_bytes()

    key = day.server.key.encode()
    assert not [path for path in day.folder.rglob("*") if path.is_file() and key in path.read_bytes()]
