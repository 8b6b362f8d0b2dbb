"""The commands: how they end, and that a mistake is answered before anything heavy is imported."""

import errno
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from competition.errors import UserError
from competition.storage import ROOT, atomic_write
from pipeline import commands
from pipeline.command_lines import train_settings
from pipeline.commands import run_main
from tests.commands import start

COMMANDS = ("train", "predict", "compare", "tune", "submit", "bundle")
HEAVY = ("torch", "sklearn", "pandas", "cv2", "albumentations", "optuna", "kaggle", "matplotlib")
TYPO = f"""
import sys
from pipeline import commands
try:
    commands.{{command}}(["--hepl"])
finally:
    print([module for module in {HEAVY} if module in sys.modules])
"""


def status_of(main, arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as leaving:
        run_main(main, arguments)
    return leaving.value.code


def refuse(arguments: list[str]) -> None:
    raise UserError("train.csv: no column Image; name it with --image-column")


def test_a_command_that_ends_well_exits_with_0_and_passes_its_arguments_on(capsys):
    seen = []
    assert status_of(seen.extend, ["--seed", "3"]) == 0
    assert seen == ["--seed", "3"]
    assert capsys.readouterr().err == ""


def test_a_command_takes_the_command_line_by_itself(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["train.py", "--fresh"])
    with pytest.raises(SystemExit):
        run_main(seen.extend)
    assert seen == ["--fresh"]


def test_a_users_error_is_one_line_and_status_2(capsys):
    assert status_of(refuse, []) == 2
    output = capsys.readouterr()
    assert output.err == "error: train.csv: no column Image; name it with --image-column\n"
    assert output.out == ""


@pytest.mark.parametrize("policy", [None, "active"])
def test_threads_wait_without_spinning_unless_the_user_says_otherwise(policy):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = "import os; from pipeline import commands; print(os.environ['OMP_WAIT_POLICY'])"
    given = {"OMP_WAIT_POLICY": policy} if policy else {}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment | given
    )
    assert done.stdout == f"{policy or 'passive'}\n"


def test_debug_shows_the_traceback():
    with pytest.raises(UserError):
        run_main(refuse, ["--debug"])


def test_a_folder_that_cannot_be_written_is_one_line_and_status_2(tmp_path, capsys):
    def write(arguments: list[str]) -> None:
        (tmp_path / "file" / "runs").mkdir(parents=True)

    (tmp_path / "file").write_text("in the way")
    assert status_of(write, []) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and str(tmp_path / "file") in line and line.count("\n") == 1


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk with that many free bytes, a larger file cannot be written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


SAVES = {
    "text": lambda path: path.write_text("a" * 100_000),
    "PyTorch": lambda path: torch.save(torch.zeros(100_000), path),
    "safetensors": lambda path: save_file({"weights": np.zeros(100_000)}, path),
}


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_a_full_disk_is_one_line_with_the_file_and_the_remedy(tmp_path, capsys, save):
    def write(arguments: list[str]) -> None:
        with atomic_write(tmp_path / "model") as draft, files_of_at_most(50_000):
            save(draft)

    assert status_of(write, []) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path / 'model'}: ") and line.count("\n") == 1
    assert "free some space there, or choose another folder with --work" in line
    assert list(tmp_path.iterdir()) == []


def test_on_a_read_only_disk_no_space_is_to_be_freed(capsys):
    def write(arguments: list[str]) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "runs/sprint")

    assert status_of(write, []) == 2
    line = capsys.readouterr().err
    assert line == "error: runs/sprint: Read-only file system; choose a folder on another disk with --work\n"


def test_a_file_that_may_not_be_read_is_one_line_with_the_remedy(capsys):
    def read(arguments: list[str]) -> None:
        raise PermissionError(13, "Permission denied", "runs/sprint/model.safetensors")  # root may read everything

    assert status_of(read, []) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: runs/sprint/model.safetensors: Permission denied; change its permissions, or ")


@pytest.mark.parametrize("allocate", [np.zeros, torch.zeros], ids=["NumPy", "PyTorch"])
def test_memory_that_runs_out_is_one_line_that_says_what_to_lower(capsys, allocate):
    assert status_of(lambda _: allocate(10**14), []) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: memory ran out; ") and "lower --size" in line and line.count("\n") == 1


def test_a_fault_of_the_pipeline_is_one_line_too(capsys):
    assert status_of(lambda _: [][0], []) == 2
    line = capsys.readouterr().err
    assert line == "error: IndexError: list index out of range; --debug shows where; please report it\n"


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_is_one_line_that_says_that_the_same_command_goes_on(capsys, monkeypatch, name, status):
    before = signal.getsignal(number := getattr(signal, name))
    signal.signal(number, signal.default_int_handler)
    assert status_of(lambda _: signal.raise_signal(number), []) == status
    assert signal.getsignal(number) == signal.default_int_handler
    signal.signal(number, before)
    line = capsys.readouterr().err.strip()
    assert line == f"interrupted ({name}): finished work is kept; run the same command to continue"


STUBBORN = """
import signal
from pipeline.commands import run_main
def main(arguments):
    while True:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            print("cleaning up")
run_main(main)
"""
NOHUP = """
import signal
from pipeline.commands import run_main
signal.signal(signal.SIGHUP, signal.SIG_IGN)
run_main(lambda _: [signal.raise_signal(signal.SIGHUP), print("goes on")])
"""
CHATTY = """
import sys
from pathlib import Path
from pipeline.commands import run_main
def main(arguments):
    for number in range(100_000):
        print(number)
        print(number, file=sys.stderr)
    Path(arguments[0]).write_text("done")
run_main(main)
"""


def python(program: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, **options)


def test_a_second_signal_ends_a_command_at_once():
    done = python(STUBBORN, capture_output=True)
    assert (done.returncode, done.stdout) == (143, "cleaning up\n")


def test_a_command_under_nohup_survives_the_terminal():
    done = python(NOHUP, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_a_command_finishes_its_work_though_nobody_reads_its_output(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = python(CHATTY, tmp_path / "result", stdout=writing, stderr=writing)
    os.close(writing)
    assert done.returncode == 0
    assert (tmp_path / "result").read_text() == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_is_lost_on_a_full_disk_is_an_error():
    with Path("/dev/full").open("w") as full:
        done = python(NOHUP, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr


HANDS_IN = """
import sys
from pathlib import Path
from pipeline.commands import run_main
def main(arguments):
    print("the blend", flush=True)
    path = Path(arguments[0])
    path.write_text("Image,Class")
    print(path)
    return path
run_main(main)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_is_lost_stops_no_work_and_the_submission_is_named_on_stderr(tmp_path):
    path = tmp_path / "submission.csv"
    with Path("/dev/full").open("w") as full:
        done = python(HANDS_IN, path, stdout=full, stderr=subprocess.PIPE)
    fault = "all work is done, but its output could not be printed (No space left on device)"
    assert (done.returncode, done.stderr) == (2, f"error: {fault}; the submission is at {path}\n")
    assert path.read_text() == "Image,Class"


MIXES = """
import os
from pathlib import Path
from pipeline.commands import run_main
def main(arguments):
    with Path(arguments[0]).open("w") as file:
        os.write(1, b"a message of a library")
        file.write("Image,Class")
run_main(main)
"""


def test_a_file_never_gets_the_messages_for_an_output_that_is_closed(tmp_path):
    path = tmp_path / "submission.csv"
    command = shlex.join([sys.executable, "-c", MIXES, str(path)])
    done = subprocess.run(["sh", "-c", f"{command} >&- 2>&-"], cwd=ROOT, check=False)
    assert (done.returncode, path.read_text()) == (0, "Image,Class")


def test_a_name_that_the_terminal_cannot_show_is_escaped():
    done = python("from pipeline.commands import run_main; run_main(lambda _: print('кот'))", capture_output=True)
    assert (done.returncode, done.stdout) == (0, r"\u043a\u043e\u0442" + "\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_is_answered_before_anything_heavy_is_imported(command):
    done = subprocess.run(
        [sys.executable, "-c", TYPO.format(command=command)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == "[]\n"
    assert re.fullmatch("error: .*\n", done.stderr)


@pytest.mark.parametrize(
    ("this", "following", "rehearsal"),
    [
        ("image-train", "image-predict", "image-rehearsal"),
        ("pipeline/train.py", "python pipeline/predict.py", "python competition/rehearsal.py"),
        (
            str(ROOT / "pipeline/train.py"),
            f"python {ROOT}/pipeline/predict.py",
            f"python {ROOT}/competition/rehearsal.py",
        ),
        ("pytest", "python pipeline/predict.py", "python competition/rehearsal.py"),
    ],
)
def test_the_next_command_is_named_in_the_form_in_which_this_one_was_typed(monkeypatch, this, following, rehearsal):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [this])
    settings = train_settings(["--competition", "my zoo", "--label-column", "Class"])
    assert commands.typed("predict", settings) == f"{following} --competition 'my zoo' --label-column Class"
    assert commands.typed_rehearsal("score x.csv") == f"{rehearsal} score x.csv"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--competition", "my zoo", "--budget", "10m", "--models", "sprint", "dhc-*", "--cache-size", "2.5G"],
        ["--epochs", "3", "--refit", "--seed", "7", "--metric", "log-loss", "--device", "cpu"],
        ["--budget", "none", "--work", "/tmp", "--quiet"],
    ],
)
def test_the_command_of_a_training_can_be_typed_again_from_its_settings(monkeypatch, arguments):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["image-train"])
    name, *words = shlex.split(commands.retyped(train_settings(arguments)))
    assert name == "image-train"
    assert train_settings(words) == train_settings(arguments)
    assert len(words) <= len(arguments)


def test_a_script_shows_its_help_from_anywhere():
    done = start("train", "--help")
    assert (done.status, done.err) == (0, "")
    assert "--competition" in done.out


def test_of_several_ranks_the_first_one_alone_answers_a_mistake_and_shows_help(monkeypatch, capsys):
    for rank, shown in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        for arguments, status in ((["--hepl"], 2), (["--help"], 0)):
            with pytest.raises(SystemExit) as leaving:
                commands.train(arguments)
            assert leaving.value.code == status
            assert bool("".join(capsys.readouterr())) == shown


def test_every_command_is_installed_as_a_console_script():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {f"image-{command}": f"pipeline.commands:{command}" for command in COMMANDS}.items() <= scripts.items()
