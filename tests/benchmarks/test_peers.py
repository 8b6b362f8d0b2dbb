"""This pipeline beside its peers: what they read, how their answers are scored, and the table; nothing is installed."""

import os
import sys
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.peers import Answer, Peer, Row, markdown, run_peer, validation_accuracy, written_contest, written_lines
from competition.errors import UserError
from competition.sources import open_competition
from competition.tables import read_table, write_table
from pipeline.commands import run_main
from tests.commands import call

MINUTES = 1
ALL_ANTS = """
import sys
from pathlib import Path
contest, output = map(Path, sys.argv[1:3])
for part, answer in (("val", "validation.csv"), ("test", "submission.csv")):
    images = [line.split(",")[0] for line in (contest / f"{part}.csv").read_text().splitlines()[1:]]
    (output / answer).write_text("image,label\\n" + "".join(f"{image},ant\\n" for image in images))
"""


@pytest.fixture(scope="module")
def contest(make_competition, made_once):
    """The folder that all systems read: 30 images, of which 3 validate, and 12 of the test."""

    def fill(folder: Path) -> None:
        make_competition(folder / "insects", with_val=False)
        written_contest(Namespace(competition=str(folder / "insects"), data=None), folder)

    return made_once("peers", fill) / "contests" / "insects"


@pytest.fixture
def competition(contest):
    return open_competition(str(contest), None, contest.parent)


def write_script(folder: Path, text: str) -> Path:
    script = folder / "with_peer.py"
    script.write_text(text)
    return script


def answer_of(script: str, contest: Path, competition, tmp_path: Path) -> Answer:
    return run_peer(
        Path(sys.executable), write_script(tmp_path, script), contest, competition, tmp_path / "out", MINUTES
    )


def test_peers_read_the_pipelines_own_split_as_tables_and_folders(contest, competition):
    train, val, test = (read_table(contest / f"{name}.csv").frame for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (27, 3, 12)
    assert sorted(val["label"]) == ["ant", "bee", "cat"]  # stratified
    assert list(test.columns) == ["image"]
    assert {path.name for path in (contest / "train_images").iterdir()} == set(train["image"])
    assert competition.form.header == ("image", "label")


def test_the_images_of_a_row_are_those_of_the_contest(contest, make_competition, tmp_path):
    source = open_competition(str(make_competition(tmp_path / "insects", with_val=False)), None, tmp_path)
    truth = zip(source.train.paths, source.train.labels, strict=True)
    labels = {path.read_bytes(): source.classes[label] for path, label in truth}
    for name in ("train", "val"):
        rows = read_table(contest / f"{name}.csv").frame.itertuples(index=False)
        assert all(labels[(contest / f"{name}_images" / image).read_bytes()] == label for image, label in rows)


def test_a_contest_without_one_class_an_image_is_refused(tmp_path, make_competition):
    folder = make_competition(tmp_path / "heights", with_val=False, with_sample=False)
    images = read_table(folder / "train.csv").frame["Image"]
    write_table(folder / "train.csv", {"Image": images, "Height": [place / 7 for place in range(len(images))]})
    done = call(partial(run_main, peers.main), "--folder", tmp_path / "work", "--competition", folder)
    assert done.status == 2 and "not one class an image; choose another --competition" in done.err


def test_a_peer_is_scored_by_the_csvs_that_it_writes(contest, competition, tmp_path):
    answer = answer_of(ALL_ANTS, contest, competition, tmp_path)
    assert answer.accuracy == pytest.approx(1 / 3)
    assert answer.seconds > 0 and answer.cores > 0


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("raise ImportError('no such library')", "ImportError: no such library"),
        ("pass", "validation.csv: no such file"),
        (ALL_ANTS.replace("[1:]]", "[2:]]"), "not a row image,label for each validation image"),
        (ALL_ANTS.replace('("test", "submission.csv")', ""), "no submission was written"),
    ],
)
def test_a_peer_that_fails_or_answers_too_little_is_told_of(script, fault, contest, competition, tmp_path):
    with pytest.raises(UserError, match=fault):
        answer_of(script, contest, competition, tmp_path)


def test_a_label_that_looks_like_a_number_is_compared_as_it_is_spelled(make_competition, tmp_path):
    folder = make_competition(tmp_path / "numbers", classes=(3, 10))
    contest = written_contest(Namespace(competition=str(folder), data=None), tmp_path / "work")
    numbers = open_competition(str(contest), None, contest.parent)
    labels = [numbers.classes[label] for label in numbers.val.labels]
    write_table(tmp_path / "answers.csv", {"image": numbers.val.ids, "label": labels})
    assert validation_accuracy(tmp_path / "answers.csv", numbers) == 1


def test_a_peer_that_cannot_be_installed_becomes_a_row(contest, competition, tmp_path, monkeypatch):
    def fail(peer: Peer, folder: Path) -> Path:
        raise UserError("ERROR: No matching distribution found | for fastai")

    monkeypatch.setattr(peers, "environment", fail)
    row = peers.measured("fastai", contest, competition, tmp_path, MINUTES)
    assert row.system == "fastai" and row.lines > 10
    assert row.answer == "none: ERROR: No matching distribution found | for fastai"
    *_, line = markdown([row.cells]).splitlines()
    assert line.startswith("| fastai | none: ERROR: No matching distribution found / for fastai |  |  |")


def test_our_side_is_two_commands_without_weights(contest):
    train, predict = peers.our_commands(contest, 10)
    assert train[:5] == ["train.py", "--competition", str(contest), "--budget", "10m"]
    assert "sprint" in train and not [word for word in train if "lite0" in word]
    assert predict == ["predict.py", "--competition", str(contest)]


def test_the_table_has_a_row_for_each_system():
    rows = [
        Row("this pipeline", Answer(0.9012, 640.4, 1.96), 2, ""),
        Row("fastai 2", Answer(0.5, 700, 0.6), 40, "CSV out"),
    ]
    assert markdown([row.cells for row in rows]).splitlines() == [
        f"| {' | '.join(peers.HEADER)} |",
        "| --- | --- | --- | --- | --- | --- |",
        "| this pipeline | 0.901 | 640 | 2.0 | 2 |  |",
        "| fastai 2 | 0.500 | 700 | 0.6 | 40 | CSV out |",
    ]


def test_lines_count_without_comments_and_docstrings():
    assert written_lines('"""What it does."""\n\nimport sys  # why\n# more\nprint(sys.argv)\n') == 2


def test_every_peer_has_a_script_that_is_python_and_no_other_script_is_there():
    assert {path.stem for path in peers.SCRIPTS.glob("*.py")} == {f"with_{name}" for name in peers.PEERS}
    for path in peers.SCRIPTS.glob("*.py"):
        compile(path.read_text(encoding="utf-8"), path, "exec")


def test_seconds_end_where_the_submission_is_written(contest, competition, tmp_path):
    submission = tmp_path / "submission.csv"
    write_table(submission, {"image": competition.submission_ids, "label": ["bee"] * 12})
    begun = time.time()
    os.utime(submission, (begun + 30, begun + 30))
    assert peers.seconds_to(submission, begun, competition) == pytest.approx(30, abs=0.01)
