"""The rehearsal: a competition drawn on the spot, that gives nothing away but its images."""

import csv
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition import rehearsal
from competition.errors import UserError
from competition.layouts import load_competition
from competition.metrics import find_metric
from competition.rehearsal import apportion, draw_rehearsal, main, plan_rehearsal
from competition.rehearsal_forms import FORMS, LABELS
from competition.scoring import score_submission

SCRIPT = Path(rehearsal.__file__)
SMALL = 400
IN_SPLITS = {"train": 267, "val": 22, "test": 111}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "rehearsal"
    draw_rehearsal(folder, folder.parent / "answers" / "rehearsal.csv", images=SMALL, seed=5)
    return folder


def answers_of(folder: Path) -> Path:
    return folder.parent / "answers" / f"{folder.name}.csv"


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(one)), other)[0, 1])


def test_the_whole_rehearsal_has_the_numbers_of_deep_hallucination_classification():
    splits, usages = plan_rehearsal(18_000, seed=0)
    sizes = sum(np.bincount(rows.labels, minlength=96) for rows in splits)
    assert [len(rows.names) for rows in splits] == [12_000, 1_000, 5_000]
    assert (len(sizes), sizes.min(), sizes.max(), sizes.sum()) == (96, 104, 350, 18_000)
    assert Counter(usages.tolist()) == {"Public": 1_500, "Private": 3_500}
    assert all(set(rows.labels.tolist()) == set(range(96)) for rows in splits)


def test_every_class_has_its_share_of_every_split():
    (train, val, test), _ = plan_rehearsal(18_000, seed=1)
    sizes = np.bincount(np.concatenate([train.labels, val.labels, test.labels]))
    for rows, share in ((train, 12 / 18), (val, 1 / 18), (test, 5 / 18)):
        assert np.abs(np.bincount(rows.labels, minlength=96) - share * sizes).max() <= 2


@pytest.mark.parametrize("images", [60, 61, 100, 383, 384, 400, 1_000])
def test_a_small_rehearsal_shows_every_class_in_train_and_keeps_the_proportions(images):
    (train, val, test), usages = plan_rehearsal(images, seed=2)
    classes = set(train.labels.tolist())
    assert classes == set(range(len(classes)))
    assert set(val.labels.tolist()) <= classes and set(test.labels.tolist()) <= classes
    assert (len(val.names), len(test.names)) == (images // 18, images * 5 // 18)
    assert len(train.names) + len(val.names) + len(test.names) == images
    assert len(classes) == 96 or images < 384
    assert set(usages.tolist()) == {"Public", "Private"}


def test_it_reads_as_a_competition_in_the_usual_form(drawn):
    competition = load_competition(drawn)
    assert (competition.image_column, competition.label_column) == ("Image", "Class")
    assert competition.classes == tuple(range(96))
    in_splits = {split.name: len(split) for split in (competition.train, competition.val, competition.test)}
    assert in_splits == IN_SPLITS
    assert competition.submission_ids == competition.test.ids
    assert read(drawn / "train.csv")[0] == read(drawn / "val.csv")[0] == ["Image", "Class"]
    assert read(drawn / "sample_submission.csv")[0] == ["Image", "Class"]
    assert read(drawn / "test.csv")[0] == ["Image"]


def test_names_are_five_digits_in_train_and_val_and_uuids_in_test(drawn):
    competition = load_competition(drawn)
    numbers = [*competition.train.ids, *competition.val.ids]
    assert all(re.fullmatch(r"\d{5}\.png", name) for name in numbers)
    assert len(set(numbers)) == len(numbers)
    assert all(str(uuid.UUID(name.removesuffix(".png"))) + ".png" == name for name in competition.test.ids)


def test_images_are_64_by_64_in_colour_and_vary_within_a_class(drawn):
    competition = load_competition(drawn)
    pictures = np.array([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in competition.train.paths])
    assert (pictures.shape, pictures.dtype) == ((267, 64, 64, 3), np.uint8)
    assert pictures.std(axis=(1, 2)).min() > 2
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_images_of_a_class_are_nearer_to_one_another_than_to_others(drawn):
    train = load_competition(drawn).train
    small = np.array([cv2.resize(cv2.imread(str(path)), (8, 8)).ravel() for path in train.paths], float)
    distances = np.linalg.norm(small[:, None] - small[None], axis=2)
    alike = train.labels[:, None] == train.labels[None]
    np.fill_diagonal(alike, False)
    assert distances[alike].mean() < 0.95 * distances[~alike].mean()


def test_neither_names_nor_rows_tell_a_class():
    (train, val, test), usages = plan_rehearsal(18_000, seed=3)
    for rows in (train, val, test):
        places = np.arange(len(rows.labels))
        names = np.argsort(np.argsort(rows.names))
        for clue in (places, names):
            assert abs(np.corrcoef(clue, rows.labels)[0, 1]) < 4 / np.sqrt(len(places))
        assert abs(np.corrcoef(places, names)[0, 1]) < 4 / np.sqrt(len(places))
    is_public = usages == "Public"
    assert abs(np.corrcoef(is_public, test.labels)[0, 1]) < 4 / np.sqrt(len(test.labels))


def test_all_files_have_one_size_and_one_time_stamp(drawn):
    assert len({path.stat().st_size for path in drawn.rglob("*.png")}) == 1
    assert len({path.stat().st_mtime_ns for path in drawn.rglob("*")}) == 1


def test_the_label_of_a_class_does_not_tell_its_size():
    splits, _ = plan_rehearsal(18_000, seed=4)
    sizes = np.bincount(np.concatenate([rows.labels for rows in splits]))
    assert abs(rank_correlation(sizes, np.arange(96))) < 0.4


def test_the_same_seed_draws_the_same_names_labels_and_bytes(drawn, tmp_path):
    again = tmp_path / "rehearsal"
    draw_rehearsal(again, answers_of(again), images=SMALL, seed=5)
    assert contents(again) == contents(drawn)
    assert answers_of(again).read_bytes() == answers_of(drawn).read_bytes()


def test_another_seed_draws_other_names_labels_and_images(drawn, tmp_path):
    other = tmp_path / "rehearsal"
    draw_rehearsal(other, answers_of(other), images=60, seed=6)
    here, there = load_competition(other), load_competition(drawn)
    assert set(here.test.ids).isdisjoint(there.test.ids)
    assert {path.read_bytes() for path in here.test.paths}.isdisjoint(path.read_bytes() for path in there.test.paths)


def test_names_and_labels_of_a_seed_never_change():
    (train, _, test), usages = plan_rehearsal(60, seed=0)
    assert (train.names[:3], train.labels[:5].tolist()) == (
        ("00030.png", "00026.png", "00025.png"),
        [7, 13, 10, 13, 11],
    )
    assert (test.names[0], test.labels[:5].tolist()) == (
        "beacee8c-f514-48f5-80b1-3002df51d7cc.png",
        [3, 11, 0, 2, 6],
    )
    assert usages[:3].tolist() == ["Private", "Private", "Private"]


def test_the_test_labels_stay_apart_from_the_folder(drawn):
    header, *rows = read(answers_of(drawn))
    assert header == ["Image", "Class", "Usage"]
    assert [row[0] for row in rows] == list(load_competition(drawn).test.ids)
    assert Counter(row[2] for row in rows) == {"Public": 33, "Private": 78}
    assert answers_of(drawn).parent not in drawn.parents and drawn not in answers_of(drawn).parents
    files = {path.name for path in drawn.iterdir()}
    images = {"train_images", "val_images", "test_images"}
    assert files == images | {"train.csv", "val.csv", "test.csv", "sample_submission.csv"}
    assert {row[1] for row in read(drawn / "sample_submission.csv")[1:]} == {"0"}


def test_an_interrupted_drawing_leaves_neither_folder_nor_answers(tmp_path):
    folder = tmp_path / "rehearsal"
    command = [sys.executable, str(SCRIPT), "draw", "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(tmp_path.glob(".rehearsal*/train_images/*.png")):
        time.sleep(0.05)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert not folder.exists()
    assert not answers_of(folder).exists()
    draw_rehearsal(folder, answers_of(folder), images=60)
    assert len(load_competition(folder).train) == 41


def test_a_folder_that_holds_something_is_left_alone(drawn):
    before = contents(drawn)
    with pytest.raises(UserError, match="the folder is not empty; remove it to draw the rehearsal again"):
        draw_rehearsal(drawn, answers_of(drawn), images=60)
    assert contents(drawn) == before


def test_an_empty_folder_is_drawn_into(tmp_path):
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    draw_rehearsal(folder, answers_of(folder), images=60)
    assert len(load_competition(folder).train) == 41


@pytest.mark.parametrize("images", [-1, 0, 59, 138_001])
def test_too_few_and_too_many_images_are_refused(tmp_path, images):
    with pytest.raises(UserError, match=f"{images} images cannot be drawn; ask for 60 to 138,000"):
        draw_rehearsal(tmp_path / "rehearsal", tmp_path / "answers.csv", images=images)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error_naming_it(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file: a file is in the place of this folder; move it away"):
        draw_rehearsal(tmp_path / "file" / "rehearsal", tmp_path / "answers.csv", images=60)


def test_apportioned_parts_follow_the_weights_and_add_up():
    parts = apportion(np.array([1.0, 2.0, 3.0, 4.0]), 101)
    assert parts.sum() == 101
    assert np.abs(parts - 10.1 * np.arange(1, 5)).max() <= 1


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_command_draws_and_scores_from_anywhere(tmp_path):
    done = run("draw", "--folder", "data/rehearsal", "--images", 60, "--seed", 1, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    folder = tmp_path / "data" / "rehearsal"
    _, *answers = read(answers_of(folder))
    rows = [f"{name},{label}" for name, label, _ in answers[:8]]
    rows += [f"{name},{int(label) + 1}" for name, label, _ in answers[8:]]
    submission = tmp_path / "submission.csv"
    submission.write_text("\n".join(["Image,Class", *rows]))
    scores = score_submission(submission, answers_of(folder))
    done = run("score", "submission.csv", "--data-folder", "data", cwd=tmp_path)
    assert done.stdout == (f"public   {scores.public:.4f}\nprivate  {scores.private:.4f}\noverall  0.5000\n")
    assert (done.returncode, done.stderr) == (0, "")
    by_file = run("score", "submission.csv", "--answers", "data/answers/rehearsal.csv", cwd=tmp_path)
    assert by_file.stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["draw", "--image", "60"], "unrecognized arguments: --image"),
        (["draw", "--images", "many"], "argument --images: invalid int value: 'many'"),
        (["draw", "--images", "3"], "3 images cannot be drawn"),
        (["draw", "--seed", "-1", "--images", "60"], "-1 is not a valid seed"),
        (["score"], "the following arguments are required: FILE.csv"),
        (["score", "a.csv", "--data-folder", "."], "answers/rehearsal.csv: the test labels are missing"),
        (["score", "a.csv", "--competition", "zoo", "--data-folder", "."], "answers/zoo.csv: the test labels"),
        (["paint"], "invalid choice: 'paint'"),
        ([], "the following arguments are required: draw|score"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_in_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, said = main(arguments), capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert re.fullmatch(r"error: .*\n", said.err) and words in said.err


def test_an_error_of_the_command_is_a_status_and_no_traceback(tmp_path):
    done = run("draw", "--images", 3, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: 3 images cannot be drawn; ask for 60 to 138,000\n"


@pytest.fixture(scope="module")
def in_forms(tmp_path_factory):
    """A folder with sixty images of each form."""
    data = tmp_path_factory.mktemp("forms")
    for form in FORMS:
        draw_rehearsal(data / form, data / "answers" / f"{form}.csv", images=60, form=form)
    return data


@pytest.mark.parametrize("form", FORMS)
def test_each_form_draws_44_images_to_learn_from_and_16_to_answer_for(in_forms, form):
    folder = in_forms / form
    header, *sample = read(folder / "sample_submission.csv")
    right_header, *right = read(answers_of(folder))
    assert right_header == [*header, "Usage"] and {row[-1] for row in right} == {"Public", "Private"}
    assert [row[0] for row in sample] == [row[0] for row in right]
    assert (len(list((folder / "train").rglob("*.png"))), len(list((folder / "test").iterdir()))) == (44, 16)
    assert (folder / "train.csv").exists() == (form != "folders")
    assert not any(answers_of(folder).stem in path.name for path in folder.rglob("*.csv"))


@pytest.mark.parametrize("form", FORMS)
def test_right_answers_score_better_than_the_sample_by_the_metric_of_the_form(in_forms, form, capsys, tmp_path):
    header, *rows = read(answers_of(in_forms / form))
    endings = {"confidences": " 0.9", "rankings": ""}
    right = tmp_path / "right.csv"
    with right.open("w", newline="") as file:
        csv.writer(file).writerows([header[:-1], *([*row[:-2], row[-2] + endings.get(form, "")] for row in rows)])
    values = []
    for path in (right, in_forms / form / "sample_submission.csv"):
        assert main(["score", str(path), "--competition", form, "--data-folder", str(in_forms)]) == 0
        values.append(capsys.readouterr().out.split())
    assert values[0] != values[1]
    assert float(values[0][-1]) == pytest.approx({"probabilities": 0, "several-labels": 0, "numbers": 0}.get(form, 1))


def test_several_labels_stand_in_a_column_each_and_grades_begin_at_the_lowest(in_forms):
    header, *rows = read(in_forms / "several-labels" / "train.csv")
    assert header == ["Image", *LABELS]
    assert {sum(map(int, row[1:])) for row in rows} == {1, 2, 3}
    grades = Counter(row[1] for row in read(in_forms / "grades" / "train.csv")[1:])
    assert set(grades) <= set("01234") and grades.most_common(1)[0][0] == "0"


def test_another_metric_of_the_same_form_may_be_asked_for(in_forms, capsys):
    sample = str(in_forms / "several-labels" / "sample_submission.csv")
    options = ["--competition", "several-labels", "--data-folder", str(in_forms), "--metric", "auc"]
    assert main(["score", sample, *options]) == 0
    assert capsys.readouterr().out == "metric   AUC\npublic   0.5000\nprivate  0.5000\noverall  0.5000\n"


def test_a_form_that_is_not_there_is_refused(capsys):
    assert main(["draw", "--form", "boxes"]) == 2
    assert "invalid choice: 'boxes' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read_as_what_it_was_drawn_as(in_forms, form):
    competition, rule = load_competition(in_forms / form), FORMS[form].rule
    assert (len(competition.train), len(competition.test)) == (44, 16)
    assert competition.form.kind == rule.form
    assert competition.task.targets == rule.targets
    find_metric(rule.metric).of(competition.task)
    unless_asked = {"grades": "accuracy", "targets": "accuracy"}
    assert competition.metric.name == unless_asked.get(form, rule.metric)
