"""TensorBoard's event files hold the histories of networks, each row once."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.report import event_files
from pipeline.report.event_files import EventFiles
from tests.commands import fail, succeed

SCORE = "validation/accuracy"


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return [(each.step, pytest.approx(each.value)) for each in events.Scalars(tag)]


def history(epochs: int) -> pd.DataFrame:
    names = event_files.SCALARS.values()
    return pd.DataFrame([{"epoch": epoch} | dict.fromkeys(names, epoch / 10) for epoch in range(1, epochs + 1)])


def test_training_writes_them_beside_the_history(tmp_path, make_competition):
    pytest.importorskip("tensorboard")
    folder = make_competition(tmp_path / "insects")
    options = ("--competition", folder, "--work", tmp_path, "--models", "dhc-cnn-3x32", "--epochs", 2)
    succeed("train", *options, "--tensorboard")
    place = tmp_path / "runs" / "insects" / "dhc-cnn-3x32~epochs=2"
    written = pd.read_csv(place / "history.csv")
    assert scalars(place, SCORE) == list(zip(written["epoch"], written["validation_score"], strict=True))
    assert scalars(place, "train/loss") == list(zip(written["epoch"], written["loss"], strict=True))


def test_rows_are_added_as_they_come_and_a_training_that_begins_anew_replaces_them(tmp_path):
    pytest.importorskip("tensorboard")
    for states in ((1, 3), (3,), (3, 2)):
        files = EventFiles("accuracy")
        for epochs in states:
            files.write({tmp_path: {"fold-1": history(epochs)}})
        files.close()
        expected = [(epoch, epoch / 10) for epoch in range(1, states[-1] + 1)]
        assert scalars(tmp_path / "fold-1", SCORE) == expected


def test_without_the_package_one_line_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(event_files, "find_spec", lambda name: None)
    assert fail("train", "--work", tmp_path, "--tensorboard") == (
        "--tensorboard needs the package tensorboard; pip install tensorboard, or leave the option out"
    )
