"""The commands: how they end, and that a mistake is answered before anything heavy is imported."""

import re
import subprocess
import sys
import tomllib

import pytest

from competition.errors import UserError
from competition.storage import ROOT
from pipeline import commands
from pipeline.commands import run_main
from pipeline.settings import train_settings
from tests.commands import start

COMMANDS = ("train", "predict", "tune", "submit", "bundle")
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


def test_an_interruption_says_that_the_same_command_goes_on(capsys):
    def interrupted(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    assert status_of(interrupted, []) == 130
    assert "run the same command to continue" in capsys.readouterr().err


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
