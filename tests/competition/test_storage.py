"""Files: whole or not there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from competition.errors import UserError
from competition.storage import (
    MACHINE,
    atomic_write,
    build_folder,
    discard,
    sweep,
    sweep_all,
    write_file,
)
from tests.commands import ROOT


def test_a_file_appears_under_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "scores.csv"
    with atomic_write(path) as temporary:
        temporary.write_text("model,accuracy\n")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "model,accuracy\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interruption_leaves_the_former_file_and_no_other(tmp_path, error):
    path = tmp_path / "plan.json"
    path.write_text("former")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_first_file_that_is_interrupted_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), atomic_write(tmp_path / "history.csv") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_the_former_file_is_replaced(tmp_path):
    path = tmp_path / "run.json"
    for text in ("former", "latter"):
        with atomic_write(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "latter"


def test_a_folder_in_the_place_of_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "plan.json").mkdir()
    words = r"plan\.json: a folder is in the place of this file; move it away"
    with pytest.raises(UserError, match=words), atomic_write(tmp_path / "plan.json"):
        pass


@pytest.mark.parametrize("name", ["audit/findings.csv", "audit/tables/findings.csv"])
def test_a_file_in_the_place_of_a_folder_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "audit").write_text("mine")
    with pytest.raises(UserError, match=r"audit: a file is in the place of this folder; move it away$"):
        write_file(tmp_path / name, "kind\n")
    assert (tmp_path / "audit").read_text() == "mine"


def killed_while(writing: str, folder: Path) -> None:
    """Run code in a process that is killed by it; ``folder`` is its first argument."""
    imports = "import os, sys; from pathlib import Path; from competition.storage import *; folder = Path(sys.argv[1])"
    kill = "os.kill(os.getpid(), 9)"
    code = "\n".join(
        [imports, f"def die(draft, **_): draft.mkdir(exist_ok=True); (draft / 'half').touch(); {kill}", writing]
    )
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert [path.name for path in folder.rglob("*.draft")]


@pytest.mark.parametrize(
    "writing",
    [
        "with atomic_write(folder / 'a') as draft: draft.write_text('half'); os.kill(os.getpid(), 9)",
        "build_folder(folder / 'a', die)",
        "(folder / 'a').mkdir(); import shutil; shutil.rmtree = die; discard(folder / 'a')",
    ],
    ids=["a file", "a folder", "a folder that is removed"],
)
def test_what_a_killed_process_leaves_is_swept_by_the_next_that_writes_there(tmp_path, writing):
    killed_while(writing, tmp_path)
    with atomic_write(tmp_path / "other") as draft:
        draft.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_the_folders_below_are_swept_too(tmp_path):
    below = tmp_path / "runs" / "sprint"
    below.mkdir(parents=True)
    killed_while("with atomic_write(folder / 'a') as draft: draft.touch(); os.kill(os.getpid(), 9)", below)
    sweep_all(tmp_path)
    assert list(below.iterdir()) == []
    sweep_all(tmp_path / "missing")


def test_drafts_of_living_processes_and_of_other_machines_stay(tmp_path):
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        names = [f".a.{MACHINE}.{living.pid}.01234567.draft", ".a.elsewhere.1.01234567.draft", ".mine.draft", "a.draft"]
        for name in names:
            (tmp_path / name).touch()
        with atomic_write(tmp_path / "b") as draft:
            draft.touch()
            sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {*names, "b"}
    finally:
        living.communicate()


INSTALLATION, BOOT, NUMBERS = MACHINE.split("-")


@pytest.mark.parametrize(
    ("machine", "days", "stays"),
    [
        (f"{INSTALLATION}-01234567-{NUMBERS}", 0, False),
        (f"{INSTALLATION}-{BOOT}-01234567", 0, True),
        (f"01234567-{BOOT}-{NUMBERS}", 0, True),
        ("elsewhere", 1, True),
        ("elsewhere", 3, False),
    ],
    ids=["before this machine was started again", "another container", "another machine", "its long work", "its last"],
)
def test_a_draft_of_a_process_that_cannot_be_asked_stays_as_long_as_it_may_be_written(tmp_path, machine, days, stays):
    draft = tmp_path / f".a.{machine}.{2**30}.01234567.draft"
    draft.touch()
    os.utime(draft, (time.time() - days * 86_400,) * 2)
    sweep(tmp_path)
    assert draft.exists() == stays


def test_a_name_of_any_length_can_be_written(tmp_path):
    path = tmp_path / ("ä" * 120)
    build_folder(path, lambda draft: (draft / "in it").touch())
    discard(path)
    with atomic_write(path) as draft:
        draft.touch()
    assert list(tmp_path.iterdir()) == [path]
