"""Runs: how they are named, which are found, and which trained network a transfer starts from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from competition.errors import UserError
from competition.metrics import ACCURACY, LOG_LOSS
from competition.task import Task
from pipeline.command_lines import train_settings
from pipeline.data.data_record import DataRecord
from pipeline.data.predictions import Predictions
from pipeline.models.persistence import Saved
from pipeline.models.recipe import RECIPES, choose_recipes, load_recipe
from pipeline.training.planning import ModelPlan
from pipeline.training.runs import (
    Options,
    OtherVersion,
    Run,
    RunFolder,
    UnusableRun,
    begin_run,
    fold_folder,
    leave_out,
    newest_run,
    options_of,
    run_folders,
    run_name,
    stored_runs,
    transfer_source,
    unfinished_runs,
)
from pipeline.training.scores import Score

SCORE = Score("accuracy", "accuracy", True, 0.4, 0.6, {"accuracy": 0.5})
TRANSFER = load_recipe(RECIPES / "animals-transfer-head.toml")
IDS, LABELS = ("a.png", "b.png"), np.array([1, 1])
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def finish(
    runs: Path,
    competition: str,
    age: int,
    model: str = TRANSFER.transfer_from,
    folds: int = 1,
    options: Options | None = None,
    key: str = "key",
) -> Path:
    """A finished run, ``age`` seconds old."""
    (recipe,) = choose_recipes([model])
    at = NOON - timedelta(seconds=age)
    run = Run(
        options=options or {}, fingerprint=key, task=Task(("a", "b")), image_shape=(8, 8),
        fold_folders=tuple(fold_folder(number, folds) for number in range(folds)), model_files=(), score=SCORE,
        seconds=1.0, parameters=1, plan=ModelPlan(recipe), finished_at=at, requested_at=at,
    )  # fmt: skip
    folder, _, _ = begin_run(runs / competition, recipe.name, run.options, key, fresh=False)
    Predictions(IDS, np.array([[0.5, 0.5], [0.25, 0.75]]), LABELS, key).save(folder.validation)
    DataRecord.of(IDS, LABELS, np.array([7, 8], np.uint64)).save(folder.data)
    run.write(folder)
    return folder.path


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "sprint"),
        (("--budget", "300s", "--seed", "0"), "sprint"),
        (("--device", "cpu", "--compile", "--fresh", "--skip-unreadable"), "sprint"),
        (("--seed", "1", "--epochs", "30"), "sprint~epochs=30,seed=1"),
        (("--budget", "10m"), "sprint~budget=600s"),
        (("--budget", "none"), "sprint~budget=none"),
        (
            ("--size", "32", "--folds", "3", "--limit", "9", "--budget", "1.5s"),
            "sprint~budget=1.5s,limit=9,folds=3,size=32",
        ),
    ],
)
def test_a_run_is_named_by_its_recipe_and_by_the_options_that_shaped_it(arguments, name):
    assert run_name("sprint", options_of(train_settings(list(arguments)))) == name


def test_a_run_that_a_plan_repeats_is_named_by_what_the_plan_says(tmp_path):
    settings = replace(train_settings(["--seed", "2"]), plan=tmp_path, budget=None)
    assert options_of(settings, "0123456789abcdef") == {"plan": "01234567", "seed": "2"}


def test_a_run_comes_back_as_it_was_written(tmp_path):
    folder = RunFolder(finish(tmp_path, "dogs", age=0, model="sprint", options={"seed": "1"}))
    run = folder.finished()
    assert (run.name, run.options, run.score) == ("sprint~seed=1", {"seed": "1"}, SCORE)
    assert run.recipe == load_recipe(RECIPES / "sprint.toml")


def test_a_row_of_scores_csv_is_by_the_metric_asked_for_and_on_the_images_asked_for(tmp_path):
    stored = RunFolder(finish(tmp_path, "dogs", age=0, model="sprint", options={"seed": "1"})).load()
    row = stored.row(ACCURACY)
    assert (row.model, row.options, row.score) == ("sprint", "seed=1", SCORE)
    assert stored.row(LOG_LOSS).score.value == pytest.approx(np.log([2, 4 / 3]).mean())
    assert stored.row(ACCURACY, ["b.png"]).score.value == 1


@pytest.mark.parametrize(
    ("harm", "fault"), [(Path.unlink, "missing"), (partial(Path.write_bytes, data=b"cut"), "damaged")]
)
def test_a_run_with_a_damaged_model_cannot_be_used(tmp_path, harm, fault):
    folder = RunFolder(finish(tmp_path, "dogs", age=0, model="sprint"))
    Saved("Network", {}, {"weight": np.ones(3)}).write(folder.fold(".").weights)
    replace(folder.read(), model_files=folder.model_files()).write(folder)
    assert folder.load().run.model_files == ("model.safetensors",)
    harm(folder.fold(".").weights)
    with pytest.raises(UnusableRun, match=rf"model\.safetensors is {fault}"):
        folder.load()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"model": "sprint"}', b"[[" * 100_000, b"\xff\xfe\x00"])
def test_what_no_run_wrote_is_not_finished(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    assert RunFolder(tmp_path).finished() is None
    with pytest.raises(UnusableRun, match=r"run\.json is damaged"):
        RunFolder(tmp_path).read()


def test_a_run_of_an_older_version_is_called_that(tmp_path):
    (tmp_path / "run.json").write_text('{"options": {}, "fingerprint": "0", "validation": "1", "classes": ["a"]}')
    with pytest.raises(OtherVersion, match="an older version of the pipeline trained them"):
        RunFolder(tmp_path).read()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, become_a_folder, Path.unlink])
@pytest.mark.parametrize("name", ["run.json", "validation.npz", "data.npz", "fingerprint.json"])
def test_a_damaged_run_is_trained_again_in_its_folder_with_one_line(tmp_path, capsys, name, damage):
    path = finish(tmp_path, "dogs", age=0, model="sprint")
    damage(path / name)
    folder, options, run = begin_run(tmp_path / "dogs", "sprint", {}, "key", fresh=False)
    assert (folder.path, options) == (path, {})
    if name == "fingerprint.json" or (name, damage) == ("run.json", Path.unlink):  # the other one of the two tells
        assert capsys.readouterr().out == "" and (run is None) == (name == "run.json")
    else:
        fault = "missing" if damage == Path.unlink else "damaged"
        assert run is None and capsys.readouterr().out == f"warning: sprint: {name} is {fault}; training it again\n"
        assert [left.name for left in path.parent.iterdir()] == ["sprint"]
    assert begin_run(tmp_path / "dogs", "sprint", {}, "key", fresh=False)[0] == folder


def test_a_damaged_run_is_left_out_by_name_with_the_reason(tmp_path, capsys):
    for model in ("sprint", "dhc-svm", "dhc-gaussian-nb", "dhc-bernoulli-nb"):
        finish(tmp_path, "dogs", age=0, model=model)
    flip(tmp_path / "dogs" / "sprint" / "validation.npz")
    cut(tmp_path / "dogs" / "dhc-svm" / "validation.npz")
    (tmp_path / "dogs" / "dhc-gaussian-nb").rename(tmp_path / "dogs" / "mine")
    runs, reasons = stored_runs(run_folders(tmp_path / "dogs"))
    leave_out(reasons)
    assert list(runs) == ["dhc-bernoulli-nb"]
    assert capsys.readouterr().out.splitlines() == [
        "warning: left out, as validation.npz is damaged: dhc-svm, sprint",
        "warning: left out, as the folder was renamed: mine",
    ]


def test_predictions_of_another_training_are_not_taken_for_its_own(tmp_path):
    path = finish(tmp_path, "dogs", age=0, model="sprint")
    other = finish(tmp_path, "cats", age=0, model="sprint", key="other")
    (other / "validation.npz").replace(path / "validation.npz")
    with pytest.raises(UnusableRun, match=r"validation\.npz is that of another run"):
        RunFolder(path).load()


def test_the_same_training_finds_its_folder_again(tmp_path):
    first, options, _ = begin_run(tmp_path, "sprint", {"seed": "1"}, "key", fresh=False)
    (first.path / "something").touch()
    again, _, run = begin_run(tmp_path, "sprint", {"seed": "1"}, "key", fresh=False)
    assert (again, options, run) == (first, {"seed": "1"}, None) and (first.path / "something").exists()


def test_fresh_says_what_it_removes(tmp_path, capsys):
    begin_run(tmp_path / "dogs", "sprint", {}, "key", fresh=True)
    assert capsys.readouterr().out == ""
    (tmp_path / "dogs" / "sprint" / "checkpoint.pt").touch()
    begin_run(tmp_path / "dogs", "sprint", {}, "key", fresh=True)
    line = "warning: sprint: --fresh removes what an unfinished training left; training it again\n"
    assert capsys.readouterr().out == line
    path = finish(tmp_path, "dogs", age=0, model="sprint")
    folder, _, run = begin_run(tmp_path / "dogs", "sprint", {}, "key", fresh=True)
    was = "the run of 2026-05-04 12:00 UTC (accuracy 0.5000 on validation)"
    assert capsys.readouterr().out == f"warning: sprint: --fresh removes {was}; training it again\n"
    assert (folder.path, run) == (path, None)
    assert [left.name for left in path.iterdir()] == ["fingerprint.json"]


def test_a_run_that_is_being_removed_is_no_run_any_more(tmp_path):
    finish(tmp_path, "dogs", age=0, model="sprint").rename(tmp_path / "dogs" / ".sprint.0123")
    with pytest.raises(UserError, match="holds no trained model"):
        run_folders(tmp_path / "dogs")


def test_no_run_replaces_another_of_the_same_name(tmp_path):
    first, _, _ = begin_run(tmp_path, "sprint", {}, "first", fresh=False)
    (first.path / "something").touch()
    for fresh in (False, True):
        second, options, _ = begin_run(tmp_path, "sprint", {}, "second", fresh)
        assert (second.path.name, options) == ("sprint~run=2", {"run": "2"})
    third, _, _ = begin_run(tmp_path, "sprint", {}, "third", fresh=False)
    assert third.path.name == "sprint~run=3"
    assert (first.path / "something").exists()


def test_no_run_replaces_one_of_an_older_version(tmp_path):
    (tmp_path / "sprint").mkdir()
    (tmp_path / "sprint" / "run.json").write_text('{"options": {}, "fingerprint": "key", "classes": ["a"]}')
    folder, _, _ = begin_run(tmp_path, "sprint", {}, "key", fresh=False)
    assert folder.path.name == "sprint~run=2"


@pytest.mark.parametrize("pattern", ["timm/resnet18.a1_in1k", "timm/resnet18*", "timm-resnet18.a1_in1k"])
def test_the_run_of_a_network_of_a_library_is_found_by_the_name_that_it_was_trained_by(tmp_path, pattern):
    finish(tmp_path, "dogs", age=0, model="timm/resnet18.a1_in1k")
    finish(tmp_path, "dogs", age=0, model="sprint")
    assert [folder.path.name for folder in run_folders(tmp_path / "dogs", [pattern])] == ["timm-resnet18.a1_in1k"]


def test_runs_are_found_by_recipe_by_name_by_pattern_and_by_file(tmp_path):
    for options in ({}, {"seed": "1"}):
        finish(tmp_path, "dogs", age=0, model="sprint", options=options)
    finish(tmp_path, "dogs", age=0, model="dhc-svm")

    def found(*patterns: str) -> list[str]:
        return [folder.path.name for folder in run_folders(tmp_path / "dogs", patterns)]

    assert found() == ["dhc-svm", "sprint", "sprint~seed=1"]
    assert found("sprint") == found("my/sprint.toml") == ["sprint", "sprint~seed=1"]
    assert found("sprint~seed=1") == ["sprint~seed=1"]
    assert found("dhc-*", "sprint~*") == ["dhc-svm", "sprint~seed=1"]
    with pytest.raises(UserError, match=r"no trained model is called 'sprimt' in .*dogs; there are sprint"):
        found("sprint", "sprimt")


@pytest.mark.parametrize("name", ["validation.npz", "data.npz"])
def test_a_run_without_one_of_its_files_says_that_it_is_missing(tmp_path, name):
    folder = RunFolder(finish(tmp_path, "dogs", age=0, model="sprint"))
    (folder.path / name).unlink()
    with pytest.raises(UnusableRun, match=f"{name} is missing"):
        folder.load()


def test_a_run_that_was_begun_is_not_finished_until_it_has_a_record(tmp_path):
    finish(tmp_path, "dogs", age=0, model="dhc-svm")
    for model, options in (("sprint", {}), ("sprint", {"seed": "1"}), ("dhc-cnn32", {})):
        begin_run(tmp_path / "dogs", model, options, "key", fresh=False)
    assert unfinished_runs(tmp_path / "dogs") == ["dhc-cnn32", "sprint", "sprint~seed=1"]
    assert unfinished_runs(tmp_path / "dogs", ["sprint.toml"]) == ["sprint", "sprint~seed=1"]
    (tmp_path / "dogs" / "dhc-svm" / "run.json").unlink()
    with pytest.raises(UserError, match=r"dogs holds no trained model; dhc-cnn32 is not finished; run the same"):
        run_folders(tmp_path / "dogs")


def test_what_a_training_has_left_nothing_in_is_no_unfinished_run(tmp_path):
    folder, _, _ = begin_run(tmp_path, "sprint", {}, "key", fresh=False)
    (folder.path / "checkpoint.pt").touch()
    folder.remove_if_idle()
    assert unfinished_runs(tmp_path) == ["sprint"]
    (folder.path / "checkpoint.pt").unlink()
    folder.remove_if_idle()
    assert unfinished_runs(tmp_path) == [] and not folder.path.exists()


def test_a_folder_without_a_finished_run_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"holds no trained model; run pipeline/train\.py first"):
        run_folders(tmp_path)
    finish(tmp_path, "dogs", age=0)
    assert [folder.path.name for folder in run_folders(tmp_path / "dogs")] == [TRANSFER.transfer_from]
    with pytest.raises(UserError, match=r"dog holds no trained model \(did you mean 'dogs'\?\); run pipeline"):
        run_folders(tmp_path / "dog")


def test_the_newest_run_is_the_one_last_asked_for_whatever_the_times_of_its_files(tmp_path):
    for age in (0, 10, 20):
        finish(tmp_path, "dogs", age, "sprint", options={"limit": str(age)})
    runs, _ = stored_runs(run_folders(tmp_path / "dogs"))
    assert newest_run(stored.run for stored in runs.values()).name == "sprint~limit=0"
    asked = runs["sprint~limit=10"]
    asked.run.requested_again(asked.folder)
    runs, _ = stored_runs(run_folders(tmp_path / "dogs"))
    newest = newest_run(stored.run for stored in runs.values())
    assert newest.name == "sprint~limit=10" and newest.finished_at == NOON - timedelta(seconds=10)


def test_a_transfer_starts_from_the_newest_network_of_another_competition(tmp_path):
    finish(tmp_path, "dogs", age=20)
    newest = finish(tmp_path, "cats", age=10)
    finish(tmp_path, "birds", age=0)
    finish(tmp_path, "cows", age=0, model="animals-cnn")
    assert transfer_source(TRANSFER, tmp_path, "birds").path == newest


def test_a_transfer_looks_at_all_runs_of_the_recipe(tmp_path):
    finish(tmp_path, "cats", age=10)
    newest = finish(tmp_path, "cats", age=5, options={"epochs": "3"})
    assert transfer_source(TRANSFER, tmp_path, "birds").path == newest


def test_of_several_folds_it_is_the_first(tmp_path):
    folder = finish(tmp_path, "cats", age=0, folds=3)
    assert transfer_source(TRANSFER, tmp_path, "birds").path == folder / "fold-1"


def test_an_unfinished_run_is_no_source(tmp_path):
    finish(tmp_path, "birds", age=0)
    (tmp_path / "cats" / TRANSFER.transfer_from).mkdir(parents=True)
    with pytest.raises(
        UserError, match=r"animals-transfer-head starts from .*animals-cnn-regularised.*train one first"
    ):
        transfer_source(TRANSFER, tmp_path, "birds")
