"""A plain command on a machine with two devices: two processes share its work and end together, whatever ends them."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.runtime import devices
from tests.commands import ROOT, script, succeed
from tests.stand_in import PATIENCE, wait_until

FOLDS = ("--folds", 2, "--models", "cifar-cnn-base")
EPOCHS = 40  # enough that a signal comes before the last
RUN = Path("runs", "insects", f"cifar-cnn-base~epochs={EPOCHS},folds=2")


@pytest.fixture(autouse=True)
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two devices; the processor stands in for them."""
    monkeypatch.setenv("STAND_IN_DEVICES", "2")


@pytest.fixture(scope="module")
def insects(made_once: Callable[..., Path], make_competition: Callable[..., Path]) -> Path:
    numbers = {"train": 90, "val": 30, "test": 10}
    return made_once("for-devices", lambda place: make_competition(place / "insects", **numbers)) / "insects"


@pytest.fixture
def arguments(insects: Path, tmp_path: Path) -> tuple[object, ...]:
    """Of a command that trains for a while."""
    return "--competition", insects, *FOLDS, "--epochs", EPOCHS, "--work", tmp_path


@pytest.fixture
def started(arguments: tuple[object, ...], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, while both of its processes train."""
    process = subprocess.Popen(script("train", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: all(len(rows(tmp_path / RUN / fold / "history.csv")) > 1 for fold in ("fold-1", "fold-2")))
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    process.communicate()


def rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def other_of(process: subprocess.Popen[str]) -> int:
    """The process that the command has started."""
    (other,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(other)


def is_running(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    return False


def test_a_command_uses_all_gpus_that_work_and_the_processor_once(monkeypatch):
    assert devices.usable_devices("mps") == 1
    monkeypatch.setenv("STAND_IN_DEVICES", "1")
    assert devices.usable_devices("auto") == devices.usable_devices("cpu") == 1
    monkeypatch.setattr(devices, "_fault_of", lambda name: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert (devices.usable_devices("auto"), devices.usable_devices("cuda"), devices.usable_devices("cpu")) == (4, 4, 1)


def test_the_plain_command_trains_folds_on_both_devices(insects, tmp_path, capfd):
    said = succeed("train", "--competition", insects, *FOLDS, "--epochs", 1, "--work", tmp_path)
    assert "2 ranks train together" in said and "95 % interval" in said
    (model,) = json.loads((tmp_path / "runs" / "insects" / "plan.json").read_text())["models"]
    assert len(model["fits"]) == 2
    assert "RANK" not in os.environ
    assert capfd.readouterr().out == ""  # of the other process, which has only trained


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not tell a process's children")
def test_an_interruption_ends_both_processes_and_one_goes_on_with_the_same_command(
    started, arguments, tmp_path, monkeypatch
):
    other = other_of(started)
    started.send_signal(signal.SIGTERM)  # as SIGINT, which a job in a shell's background ignores
    _, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 143
    assert errors.strip().splitlines()[-1].startswith("interrupted (SIGTERM): finished work is kept")
    assert errors.count("interrupted") == 1 and "Traceback" not in errors
    wait_until(lambda: not is_running(other))
    monkeypatch.setenv("STAND_IN_DEVICES", "1")
    said = succeed("train", *arguments)
    assert said.count("resumed after epoch") == 2
    assert (tmp_path / RUN / "run.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not tell a process's children")
def test_if_one_process_is_killed_the_other_finishes_its_own_and_one_line_says_what_to_do(started, tmp_path):
    os.kill(other_of(started), signal.SIGKILL)
    _, errors = started.communicate(timeout=PATIENCE)
    assert started.returncode == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert line == "error: the process of GPU 2 was ended by SIGKILL; run the same command again to continue"
    assert "Traceback" not in errors
    assert len(rows(tmp_path / RUN / "fold-1" / "history.csv")) == EPOCHS


SLEEPER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from pipeline.runtime.launcher import other_ranks
with other_ranks(Path(__file__), sys.argv[1:], "cpu"):
    Path(__file__).with_name(os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(600)
"""


def test_if_the_command_is_killed_its_other_process_ends_too(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    process = subprocess.Popen([sys.executable, tmp_path / "sleeper.py", ROOT])
    wait_until(lambda: all((tmp_path / rank).is_file() for rank in "01"))
    process.kill()
    process.wait()
    wait_until(lambda: not is_running(int((tmp_path / "1").read_text())))
