"""The teacher: for each split only models answer that have not seen its validation images."""

import time
from pathlib import Path

import numpy as np
import pytest

from competition.errors import UserError
from competition.sources import open_competition
from competition.task import Task
from pipeline.command_lines import train_settings
from pipeline.data.training_data import TrainingData, open_training_data
from pipeline.ensemble import teacher as teaching
from pipeline.ensemble.teacher import Teacher, find_teacher, lessons
from pipeline.models.base import CPU
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.training.runs import run_folders, stored_runs
from tests.commands import fail, succeed


@pytest.fixture(scope="module")
def place(made_once, make_competition) -> Path:
    """Runs of a hold-out and of three folds, on a competition whose classes are easy to tell apart."""

    def train(folder: Path) -> None:
        options = ("--competition", make_competition(folder / "insects", with_val=False, variety=0.3), "--work", folder)
        succeed("train", *options, "--models", "dhc-gaussian-nb", "dhc-knn-sweep")
        succeed("train", *options, "--models", "dhc-gaussian-nb", "--folds", 3)

    return made_once("taught", train)


def opened(place: Path, *options: str) -> tuple[Teacher, TrainingData, Task]:
    settings = train_settings(["--competition", str(place / "insects"), "--work", str(place), *options])
    competition = open_competition(**settings.source)
    data = open_training_data(competition, settings)
    runs, _ = stored_runs(run_folders(settings.runs_folder("insects")))
    return find_teacher(runs, data, competition, CPU), data, competition.task


def test_those_teach_that_were_validated_on_the_same_splits(place, capsys):
    whole, *_ = opened(place)
    assert set(whole.runs) == {"dhc-gaussian-nb", "dhc-knn-sweep"}
    folded, *_ = opened(place, "--folds", "3")
    assert set(folded.runs) == {"dhc-gaussian-nb~folds=3"}
    assert "left out, as they were validated on other images: dhc-gaussian-nb~folds=3" in capsys.readouterr().out
    with pytest.raises(UserError, match="no trained model can teach others on these images; train some first"):
        opened(place, "--folds", "2")


def test_each_split_learns_from_the_models_of_its_own_fold(place):
    teacher, data, _ = opened(place, "--folds", "3")
    stored = teacher.runs["dhc-gaussian-nb~folds=3"]
    images, answers = data.images, stored.validated.probabilities
    at = 0
    for split, (_, validation) in enumerate(data.splits):
        said = teacher.answers(split, images.subset(validation), "validation")
        np.testing.assert_allclose(said.argmax(1), answers[at : at + len(validation)].argmax(1))
        at += len(validation)


@pytest.mark.parametrize("confident", [0.9, 0.6])
def test_pseudo_labels_add_the_test_images_of_which_the_teacher_is_sure_or_the_surest_half(
    place, monkeypatch, confident
):
    teacher, data, task = opened(place, "--pseudo-labels")
    (train, _), first = data.splits[0], len(data.split) - 12
    assert data.others == 12 and train.max() < first
    said = teacher.answers(0, data.images.subset(np.arange(first, first + 12)), "test")
    monkeypatch.setattr(teaching, "CONFIDENT", confident)
    (lesson,) = lessons(teacher, data, pseudo_labels=True, distil=False, task=task)
    sure = np.flatnonzero(said.max(1) >= min(confident, np.median(said.max(1))))
    assert len(sure) >= 6
    np.testing.assert_array_equal(lesson.rows, [*train, *(first + sure)])
    np.testing.assert_array_equal(lesson.soft[: len(train)], np.eye(3)[data.labels[train]])
    np.testing.assert_array_equal(lesson.soft[len(train) :], said[sure])
    np.testing.assert_array_equal(lesson.labels[len(train) :], said[sure].argmax(1))


def test_distillation_learns_the_mean_of_labels_and_answers(place):
    teacher, data, task = opened(place)
    (lesson,) = lessons(teacher, data, pseudo_labels=False, distil=True, task=task)
    train, _ = data.splits[0]
    said = teacher.answers(0, data.images.subset(train), "train")
    np.testing.assert_allclose(lesson.soft, (np.eye(3)[data.labels[train]] + said) / 2, atol=1e-6)


def test_what_was_taught_is_trained_on_and_the_validation_images_stay_the_same(place):
    teacher, data, task = opened(place, "--pseudo-labels")
    taught = data.taught(lessons(teacher, data, pseudo_labels=True, distil=True, task=task))
    (rows, validation), (before, validation_before) = taught.splits[0], data.splits[0]
    np.testing.assert_array_equal(validation, validation_before)
    assert not set(rows) & set(validation) and len(rows) == len(taught.soft[0]) > len(before)
    assert taught.split.ids[rows[0]] == data.split.ids[before[0]]
    np.testing.assert_array_equal(taught.images[rows[: len(before)]], data.images[before])
    assert taught.record.is_within(data.record) and len(taught.record) == len(data.record)
    assert taught.fingerprint != data.fingerprint


def test_labels_and_numbers_are_taught_as_they_are_learnt():
    several, numbers = Task(("a", "b"), "multilabel"), Task(("n",), "continuous", intervals=((0.0, 1.0, 2.0),))
    np.testing.assert_array_equal(teaching._certain(several, np.array([[0, 1]])), [[1, 0, 0, 1]])
    spread = teaching._certain(numbers, np.array([[1.1]]))
    assert spread.argmax() == 1 and 0 < spread[0, 0] == spread[0, 2] < spread[0, 1]


def test_a_time_limit_ends_the_answers_between_two_parts(place, monkeypatch):
    teacher, data, _ = opened(place)
    whole = teacher.answers(0, data.images, "all")
    monkeypatch.setattr(teaching, "AT_ONCE", 10)
    np.testing.assert_allclose(teacher.answers(0, data.images, "all"), whole, rtol=1e-5)
    with time_limit(time.monotonic() - 1), pytest.raises(OutOfTime):
        teacher.answers(0, data.images, "all")


def test_a_budget_that_is_too_short_to_teach_is_one_line(place, monkeypatch):
    monkeypatch.setattr(teaching, "in_time", out_of_time)
    options = ("--competition", place / "insects", "--work", place, "--models", "dhc-gaussian-nb")
    told = fail("train", *options, "--distil", "--budget", "30s")
    assert told.startswith("--budget 30s: it is too short for earlier models to teach; give more, or leave out")


def out_of_time(items: object) -> list[np.ndarray]:
    raise OutOfTime


def test_a_network_that_was_taught_predicts_is_named_in_the_report_and_teaches_no_other(place, tmp_path):
    options = ("--competition", place / "insects", "--work", tmp_path)
    taught = ("--pseudo-labels", "--distil", "--epochs", 2, "--models", "dhc-cnn32")
    assert "holds no trained model" in fail("train", *options, *taught)
    succeed("train", *options, "--models", "dhc-gaussian-nb")
    printed = succeed("train", *options, *taught)
    assert "pseudo-labels for " in printed and "taught by dhc-gaussian-nb" in printed
    name = "dhc-cnn32~epochs=2,pseudo_labels=yes,distil=yes"
    assert f"{name}: trained before" in succeed("train", *options, *taught)
    submission = Path(succeed("predict", *options).splitlines()[-1])
    page = submission.with_name("report.html").read_text(encoding="utf-8")
    assert f"Also trained on test images with what earlier models said of them: {name}." in page
