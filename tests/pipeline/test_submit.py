import csv
import subprocess
import sys
from pathlib import Path

import pytest

from competition.tables import load_competition

DOOR = Path(__file__).parents[2] / "pipeline" / "submit.py"


def submit(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The door as a user starts it, from a folder that is not the checkout."""
    command = [sys.executable, str(DOOR), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(arguments[1]).parent)


@pytest.fixture
def folder(make_competition, tmp_path) -> Path:
    return make_competition(tmp_path / "insects")


@pytest.fixture
def answer(folder, tmp_path) -> Path:
    """A submission with every test id and the class bee."""
    path = tmp_path / "answer.csv"
    with path.open("w", newline="") as file:
        rows = [(name, "bee") for name in load_competition(folder).submission_ids]
        csv.writer(file).writerows([("Image", "Class"), *rows])
    return path


def test_a_good_file_gets_one_line_and_status_0(folder, answer):
    done = submit("--check", answer, "--competition", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ok: 12 rows, 1 of 3 classes, order of test.csv\n"


def test_the_competition_may_go_by_a_name_with_its_files_in_data(folder, answer, tmp_path):
    done = submit("--check", answer, "--competition", "flies", "--data", folder, "--work", tmp_path / "work")
    assert (done.returncode, done.stdout[:4]) == (0, "ok: ")


def test_a_bad_file_gets_one_line_of_error_and_status_2(folder, answer):
    answer.write_text(answer.read_text().replace("bee", "wasp"))
    done = submit("--check", answer, "--competition", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {answer}: class that train.csv does not have (wasp) in 12 rows")
    assert len(done.stderr.splitlines()) == 1


def test_the_traceback_is_shown_only_with_debug(folder, tmp_path):
    done = submit("--check", tmp_path / "none.csv", "--competition", folder, "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_a_file_to_check_must_be_given(folder):
    done = submit("--competition", folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "--check" in done.stderr
