"""The attacks of torture.py: a slice of them, and that each bad end is seen as one."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import torture
from benchmarks.attacks import damage, kills
from benchmarks.attacks.contest import Contest, draw_contest, is_valid
from benchmarks.attacks.forks import LEFT, REFUSED, RIGHT, TRACEBACK, WRONG, Done, forked
from competition.errors import UserError
from pipeline.commands import run_main

ROOT = Path(__file__).resolve().parents[2]


def test_a_slice_of_all_attacks_ends_well():
    options = ["--kills=6", "--damages=22", "--rounds=1", "--seed=1"]  # one or more of every kind
    command = [sys.executable, "benchmarks/torture.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    tried, right, refused, *bad = map(int, last.removeprefix("sum").split())
    assert tried == right + refused >= 6 + 22 and bad == [0, 0, 0]


def raise_in(arguments: list[str], error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("task", "right", "outcome"),
    [
        (lambda: None, True, RIGHT),
        (lambda: None, False, WRONG),
        (lambda: run_main(lambda _: raise_in(_, UserError("no such file; give another")), []), True, REFUSED),
        (lambda: sys.exit(2), True, WRONG),  # no line says why
        (lambda: raise_in([], KeyError("missing")), True, TRACEBACK),
        (lambda: run_main(lambda _: raise_in(_, KeyError("missing")), []), True, TRACEBACK),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), True, TRACEBACK),
    ],
)
def test_the_end_of_a_command_is_judged(task, right, outcome):
    assert forked(task).judged(right) == outcome


def test_a_command_that_hangs_is_ended():
    done = forked(lambda: [None for _ in iter(int, 1)], seconds=0.2)
    assert done.judged(right=True) == TRACEBACK and done.status == -9


def test_the_process_dies_before_the_change_it_is_told(tmp_path):
    def write() -> None:
        for name in "abc":
            (tmp_path / name).write_text(name)

    assert forked(kills.killed(write, tmp_path, 3)).status == -9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("way", damage.WAYS)
def test_each_way_damages_the_file(tmp_path, way):
    path = tmp_path / "scores.csv"
    path.write_text("model,score\nsprint,0.81\n")
    before = path.read_bytes()
    way(path, np.random.default_rng(0))
    assert not path.is_file() or path.read_bytes() != before


def test_a_pickle_that_is_loaded_is_seen(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    damage.poisoned(path, np.random.default_rng(0))
    np.load(path, allow_pickle=True)
    assert damage.judged(Done(0, "", ""), lambda: True, "poisoned", path)[0] == WRONG


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        ("Image,Class\ntest000.png,cat\ntest001.png,dog\n", True),
        ("Image,Class\ntest001.png,cat\ntest000.png,dog\n", False),
        ("Image,Class\ntest000.png,cat\n", False),
        ("Image,Class\ntest000.png,cat\ntest001.png,whale\n", False),
    ],
)
def test_a_submission_is_valid_for_the_tables_as_they_are(tmp_path, answer, valid):
    contest = Contest(draw_contest(tmp_path / "pets"), tmp_path / "work")
    (contest.source / "test.csv").write_text("Image\ntest000.png\ntest001.png\n")
    contest.submission.parent.mkdir(parents=True)
    contest.submission.write_text(answer)
    assert is_valid(contest) == valid


def test_the_table_has_a_line_for_each_kind_and_their_sum():
    lines = torture.table({"kills": Counter({RIGHT: 1200}), "damages": Counter({REFUSED: 3, LEFT: 1})}).splitlines()
    assert [line.split()[-6:] for line in lines[1:]] == [
        ["1,200", "1,200", "0", "0", "0", "0"],
        ["4", "0", "3", "0", "0", "1"],
        ["1,204", "1,200", "3", "0", "0", "1"],
    ]
