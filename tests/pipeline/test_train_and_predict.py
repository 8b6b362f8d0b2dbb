"""The two commands, as a user types them, on small competitions."""

import csv
import html
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition.layouts import load_competition
from competition.splits import limit_train
from pipeline.data.predictions import Predictions
from pipeline.models.recipe import RECIPES
from pipeline.runtime import memory
from pipeline.training.sessions import read_sessions
from tests.commands import fail, run, start, succeed


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def accuracy(submission: Path, folder: Path) -> float:
    truth = {name: label for name, label, _ in rows(folder.with_name(f"{folder.name}_answers.csv"))[1:]}
    answers = rows(submission)[1:]
    return sum(truth[name] == label for name, label in answers) / len(answers)


MODELS = ("--models", "dhc-gaussian-nb", "dhc-knn-sweep", "sprint")


@pytest.fixture(scope="module")
def trained(made_once: Callable[..., Path], make_competition: Callable[..., Path]) -> dict:
    """Three models trained on one competition, and their blend handed in: for all tests that only look."""

    def train_and_predict(place: Path) -> None:
        folder = make_competition(place / "insects", train=90, val=30, test=40)
        options = ("--competition", folder, "--work", place)
        (place / "train.txt").write_text(succeed("train", *options, "--epochs", 8, *MODELS))
        (place / "predict.txt").write_text(succeed("predict", *options))

    place = made_once("trained", train_and_predict)
    printed = {command: (place / f"{command}.txt").read_text() for command in ("train", "predict")}
    return {"place": place, "folder": place / "insects"} | printed


@pytest.fixture
def copied(trained: dict, tmp_path: Path) -> tuple[object, ...]:
    """The options of a work folder of the test's own, with the same runs in it."""
    shutil.copytree(trained["place"] / "runs", tmp_path / "runs")
    return "--competition", trained["folder"], "--work", tmp_path


def test_training_ends_with_the_table_of_models(trained):
    table = trained["train"].splitlines()
    header = next(row for row, line in enumerate(table) if line.startswith("model"))
    assert "95 % interval" in table[header]
    assert {line.split()[0] for line in table[header + 1 : header + 4]} == {
        "dhc-gaussian-nb~epochs=8",
        "dhc-knn-sweep~epochs=8",
        "sprint~epochs=8",
    }


def test_a_run_leaves_what_later_commands_rely_on(trained):
    folder = trained["place"] / "runs" / "insects"
    header, *lines = rows(folder / "scores.csv")
    assert header == ["model", "accuracy", "low", "high", "f1_macro", "log_loss", "seconds", "parameters", "options"]
    assert {options for *_, options in lines} == {"epochs=8"}
    assert all(float(low) <= float(value) <= float(high) for _, value, low, high, *_ in lines)
    left = {path.name for path in (folder / "sprint~epochs=8").iterdir()}
    assert {"model.safetensors", "recipe.toml", "history.csv", "validation.npz", "run.json"} <= left
    assert len(rows(folder / "sprint~epochs=8" / "history.csv")) == 1 + 8
    assert "checkpoint.pt" not in left


def test_a_training_records_its_command_and_what_its_time_was_spent_on(trained):
    (session,) = read_sessions(trained["place"] / "runs" / "insects")
    assert {*MODELS, "--epochs", "8", "--competition", str(trained["folder"])} <= {*shlex.split(session.command)}
    assert list(session.stages)[:3] == ["start", "tables", "decoding images"]
    assert {*MODELS[1:]} <= session.stages.keys()
    page = (trained["place"] / "submissions" / "insects" / "report.html").read_text(encoding="utf-8")
    assert html.escape(session.command) in page


def test_validation_and_test_predictions_lie_in_the_runs_folder_for_a_stacking_of_ones_own(trained):
    folder, competition = trained["place"] / "runs" / "insects", load_competition(trained["folder"])
    blended = [path for path in folder.iterdir() if (path / "test.npz").is_file()]
    assert blended
    for path in blended:
        validation, test = (Predictions.load(path / f"{split}.npz") for split in ("validation", "test"))
        assert (validation.ids, test.ids) == (competition.val.ids, competition.test.ids)
        np.testing.assert_array_equal(validation.targets, competition.val.labels)
        assert test.targets is None


def test_the_size_of_photographs_is_chosen_and_test_images_are_seen_as_those_of_train(tmp_path, make_competition):
    folder = make_competition(tmp_path / "views", train=60, val=20, test=20, size=(320, 240), extension=".jpg")
    options = ("--competition", folder, "--work", tmp_path)
    printed = succeed("train", *options, "--epochs", 2, "--models", "dhc-gaussian-nb", "sprint")
    assert "photographs of 320 x 240: trained at 185 x 139, predicted at 222 x 166; --size decides" in printed
    path = Path(succeed("predict", *options, "--no-report").splitlines()[-1])
    assert accuracy(path, folder) > 0.8
    caches = [json.loads(path.read_text())["shape"] for path in tmp_path.glob("competition/data/cache/*/cache.json")]
    assert sorted(caches) == [[20, 222, 296, 3], [80, 222, 296, 3]]


def test_images_for_which_there_is_little_room_are_read_from_their_files_with_the_same_answer(
    tmp_path, make_competition
):
    folder = make_competition(tmp_path / "views", train=40, val=20, test=20, size=(80, 75))
    options = ("--competition", folder, "--work", tmp_path)
    training = ("--models", "sprint", "--epochs", 1)
    succeed("train", *options, *training)
    expected = Path(succeed("predict", *options, "--no-report").splitlines()[-1]).read_bytes()
    shutil.rmtree(tmp_path / "competition")
    assert "the cache keeps JPEGs, at most 0 bytes" in succeed("train", *options, *training, "--cache-size", "0K")
    path = Path(succeed("predict", *options, "--no-report").splitlines()[-1])
    assert path.read_bytes() == expected
    assert not list(tmp_path.glob("competition/data/cache/*/images.npy"))


def test_runs_of_other_options_stand_beside_each_other_and_are_blended(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60, with_val=False)
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--models", "dhc-gaussian-nb")
    for seed in (1, 2):
        said = succeed("train", *options, "--models", "sprint", "--epochs", 2, "--seed", seed)
        assert "left out" not in said
    runs = {path.parent.name for path in (tmp_path / "runs" / "insects").glob("*/run.json")}
    assert runs == {"dhc-gaussian-nb", "sprint~epochs=2,seed=1", "sprint~epochs=2,seed=2"}
    scored = {(row[0], row[-1]) for row in rows(tmp_path / "runs" / "insects" / "scores.csv")[1:]}
    assert scored == {("dhc-gaussian-nb", ""), ("sprint", "epochs=2,seed=1"), ("sprint", "epochs=2,seed=2")}
    assert "left out" not in succeed("predict", *options, "--no-report")
    assert "dhc-gaussian-nb" not in succeed("predict", *options, "--no-report", "--models", "sprint")


@pytest.mark.parametrize("table", ["val.csv", "train.csv"])
def test_runs_whose_labels_are_not_those_of_the_tables_any_more_are_left_out(tmp_path, make_competition, table):
    folder = make_competition(tmp_path / "insects", train=60, val=30)
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--models", "dhc-gaussian-nb")
    header, first, *others = (folder / table).read_text().splitlines()
    corrected = first.replace("ant", "bee") if "ant" in first else first.replace("bee", "ant").replace("cat", "ant")
    (folder / table).write_text("\n".join([header, corrected, *others]) + "\n")
    assert "no trained model fits the tables and images of insects as they are now" in fail("predict", *options)
    line = "left out, as the labels of their images have changed in the tables: dhc-gaussian-nb\n"
    said = succeed("train", *options, "--models", "dhc-multinomial-nb", "dhc-gaussian-nb")
    assert line in said and "dhc-gaussian-nb~run=2: accuracy" in said
    assert line in succeed("predict", *options, "--no-report")


@pytest.mark.parametrize("replaced", ["train_images", "val_images"])
@pytest.mark.parametrize("cached", [True, False])
def test_runs_of_other_images_under_the_same_ids_are_left_out(tmp_path, make_competition, replaced, cached):
    folder, other = (make_competition(tmp_path / name, train=60, val=30, seed=0) for name in ("insects", "new"))
    for path in (other / replaced).iterdir():
        path.write_bytes(cv2.imencode(".png", 255 - cv2.imread(str(path)))[1])
    options = ("--competition", "insects", "--work", tmp_path)
    succeed("train", *options, "--data", folder, "--models", "dhc-gaussian-nb")
    if not cached:
        shutil.rmtree(tmp_path / "competition")
    assert "left out" not in succeed("predict", *options, "--data", folder, "--no-report")
    done = run("predict", *options, "--data", other)
    assert done.status == 2 and "left out, as their images have changed: dhc-gaussian-nb\n" in done.out
    assert f"({tmp_path / 'submissions' / 'insects' / 'submission.csv'} answers earlier ones)" in done.err
    assert "have changed since it was made" in fail("submit", "--check", *options, "--data", other)
    assert "dhc-gaussian-nb~run=2: accuracy" in succeed(
        "train", *options, "--data", other, "--models", "dhc-gaussian-nb"
    )
    said = succeed("predict", *options, "--data", other, "--no-report")
    assert "left out, as their images have changed: dhc-gaussian-nb\n" in said


def test_copied_images_are_the_same_and_more_of_them_are_no_reason_to_leave_a_run_out(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60, val=30)
    options = ("--competition", "insects", "--work", tmp_path, "--models", "dhc-gaussian-nb")
    succeed("train", *options, "--data", folder)
    copy = tmp_path / "copies" / "other"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    assert "trained before" in succeed("train", *options, "--data", copy)
    shutil.copyfile(copy / "train_images" / "00000.png", copy / "train_images" / "more.png")
    with (copy / "train.csv").open("a") as table:
        table.write("more.png,ant\n")
    assert "left out" not in succeed("predict", *options, "--data", copy, "--no-report")


def test_folds_of_a_weak_model_do_not_push_better_ones_out(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=90, with_val=False, variety=6)
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--models", "dhc-gaussian-nb", "dhc-knn-sweep")
    said = succeed("train", *options, "--folds", 3, "--models", "dhc-bernoulli-nb")
    assert "left out" not in said and "scores on the 9 validation images that all of these share" in said
    assert {line.split()[0] for line in said.splitlines() if line.startswith("dhc")} >= {
        "dhc-gaussian-nb", "dhc-knn-sweep", "dhc-bernoulli-nb~folds=3"
    }  # fmt: skip
    said = succeed("predict", *options)
    assert "left out" not in said and "compared on the 9 images that all models were validated on" in said
    page = (tmp_path / "submissions" / "insects" / "report.html").read_text(encoding="utf-8")
    assert all(f"<td>{name}</td>" in page for name in ("dhc-gaussian-nb", "dhc-knn-sweep", "dhc-bernoulli-nb~folds=3"))
    assert "measured on 9 " in page


def test_of_runs_with_no_images_in_common_the_better_blend_answers(tmp_path, make_competition):
    """The run on few images was validated on others than the run on all of them."""
    folder = make_competition(tmp_path / "insects", train=200, with_val=False, variety=2)
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--models", "dhc-knn-sweep")
    assert "left out, as they were validated on other images: dhc-knn-sweep\n" in succeed(
        "train", *options, "--models", "dhc-bernoulli-nb", "--limit", 12
    )
    said = succeed("predict", *options, "--no-report")
    reason = "they share too few validation images with the others, whose blend is the safer choice"
    assert f"left out, as {reason}: dhc-bernoulli-nb~limit=12\n" in said


def test_thirty_epochs_are_not_outvoted_by_one(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=90, with_val=False)
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--models", "dhc-cnn32", "--epochs", 12)
    succeed("train", *options, "--models", "dhc-cnn32", "--epochs", 1, "--seed", 1)
    succeed("predict", *options, "--no-report")
    note = json.loads((tmp_path / "submissions" / "insects" / "submission.json").read_text())
    assert next(iter(note["recipes"])) == "dhc-cnn32~epochs=12"


def test_a_damaged_run_is_left_out_and_trained_again(copied, tmp_path):
    for name in ("dhc-gaussian-nb", "sprint"):
        path = tmp_path / "runs" / "insects" / f"{name}~epochs=8" / "validation.npz"
        path.write_bytes(path.read_bytes()[:-100])
    line = "left out, as validation.npz is damaged: dhc-gaussian-nb~epochs=8, sprint~epochs=8\n"
    assert line in succeed("predict", *copied, "--no-report")
    said = succeed("train", *copied, "--epochs", 8, "--models", "dhc-gaussian-nb", "dhc-knn-sweep")
    assert "warning: dhc-gaussian-nb~epochs=8: validation.npz is damaged; training it again\n" in said
    assert "dhc-knn-sweep~epochs=8: trained before" in said
    said = succeed("predict", *copied, "--no-report")
    assert "left out, as validation.npz is damaged: sprint~epochs=8\n" in said


def test_a_run_that_is_not_finished_is_named(copied, tmp_path):
    (tmp_path / "runs" / "insects" / "sprint~epochs=8" / "run.json").unlink()
    line = "warning: sprint~epochs=8 is not finished; run the same train.py command again to finish it\n"
    assert line in succeed("predict", *copied, "--no-report")


def test_runs_of_an_older_version_are_called_that(copied, tmp_path):
    record = tmp_path / "runs" / "insects" / "sprint~epochs=8" / "run.json"
    older = {key: value for key, value in json.loads(record.read_text()).items() if key not in ("sha256", "format")}
    record.write_text(json.dumps(older | {"classes": older.pop("task")["classes"]}))
    line = "left out, as an older version of the pipeline trained them: sprint~epochs=8\n"
    assert line in succeed("predict", *copied, "--no-report")
    done = run("predict", *copied, "--models", "sprint")
    assert line in done.out and "run pipeline/train.py" in done.err and done.status == 2


def test_a_recipe_of_ones_own_is_trained_from_its_file_and_from_the_work_folder(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects")
    options = ("--competition", folder, "--work", tmp_path)
    own = tmp_path / "own.toml"
    own.write_text('summary = "mine"\nkind = "classical"\n\n[classifier]\nname = "gaussian-nb"\n')
    assert "\nown " in succeed("train", *options, "--models", own)
    own.rename(tmp_path / "recipes.toml")
    assert "own" in fail("train", *options, "--models", "own")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes.toml").rename(tmp_path / "recipes" / "own.toml")
    assert "own: trained before" in succeed("train", *options, "--models", "own")


def test_the_submission_answers_every_test_image_and_is_named_last(trained):
    path = Path(trained["predict"].splitlines()[-1])
    assert path == trained["place"] / "submissions" / "insects" / "submission.csv"
    header, *answers = rows(path)
    assert header == ["Image", "Class"]
    assert [name for name, _ in answers] == [name for (name,) in rows(trained["folder"] / "test.csv")[1:]]
    assert accuracy(path, trained["folder"]) > 0.9


def test_the_report_beside_the_submission_shows_every_model(trained):
    assert "warning" not in trained["predict"]
    folder = trained["place"] / "submissions" / "insects"
    page = (folder / "report.html").read_text(encoding="utf-8")
    figures = {path.stem for path in (folder / "report").glob("*.png")}
    for model in ("dhc-gaussian-nb~epochs=8", "dhc-knn-sweep~epochs=8", "sprint~epochs=8"):
        assert f"<td>{model}</td>" in page
        assert {f"{model}-confusion", f"{model}-roc", f"{model}-images"} <= figures
    assert {
        "comparison",
        "sprint~epochs=8-training",
        "dhc-knn-sweep~epochs=8-grid",
        "class-images",
        "class-counts",
    } <= figures


def test_the_submission_stands_where_the_report_fails_and_where_none_is_wanted(copied, tmp_path):
    folder = tmp_path / "submissions" / "insects"
    folder.mkdir(parents=True)
    (folder / "report").write_text("in the way")
    for more in ((), ("--no-report",)):
        (folder / "report.html").write_text("a report on an earlier submission")
        *lines, last = succeed("predict", *copied, "--models", "dhc-gaussian-nb", *more).splitlines()
        assert last == str(folder / "submission.csv")
        assert any(line.startswith("warning: no report") for line in lines) == (more == ())
        assert not (folder / "report.html").exists()


def test_predictions_in_blocks_give_the_same_submission(copied, tmp_path, monkeypatch):
    options = (*copied, "--models", "dhc-gaussian-nb", "--no-report")
    run, answer = tmp_path / "runs" / "insects" / "dhc-gaussian-nb~epochs=8", tmp_path / "submissions" / "insects"
    files = (run / "test.npz", answer / "submission.csv")
    succeed("predict", *options)
    whole = [path.read_bytes() for path in files]
    monkeypatch.setattr(memory, "VALUES_AT_ONCE", 21)  # seven images of three classes
    succeed("predict", *options)
    assert [path.read_bytes() for path in files] == whole


def test_the_blend_and_the_class_counts_are_printed(trained):
    assert "weight" in trained["predict"]
    assert "best single model" in trained["predict"]
    assert all(name in trained["predict"] for name in ("ant", "bee", "cat"))


def test_the_submission_passes_the_check(trained):
    path = trained["place"] / "submissions" / "insects" / "submission.csv"
    said = succeed("submit", "--check", path, "--competition", trained["folder"], "--work", trained["place"])
    assert said.startswith("ok: 40 rows")


def test_the_same_command_does_not_train_twice(copied):
    assert succeed("train", *copied, "--epochs", 8, *MODELS).count("trained before") == 3


@pytest.mark.parametrize(
    ("metric", "title", "header"),
    [
        ("log-loss", "log loss", ["model", "log_loss", "low", "high", "accuracy", "f1_macro"]),
        ("f1-macro", "macro F1", ["model", "f1_macro", "low", "high", "accuracy", "log_loss"]),
    ],
)
def test_another_metric_chooses_orders_and_blends(tmp_path, make_competition, metric, title, header):
    folder = make_competition(tmp_path / "insects", train=90, val=30, test=20, variety=8)
    options = ("--competition", folder, "--work", tmp_path)
    models = ("--models", "dhc-gaussian-nb", "dhc-knn-sweep")
    succeed("train", *options, *models, "--epochs", 1)
    said = succeed("train", *options, *models, "--epochs", 1, "--metric", metric)
    assert "trained before" not in said and f"dhc-knn-sweep~epochs=1,metric={metric}: {title} " in said
    first, *scored = rows(tmp_path / "runs" / "insects" / "scores.csv")
    assert first[:6] == header
    values = [float(row[1]) for row in scored]
    assert values == sorted(values, reverse=metric != "log-loss")
    printed = succeed("predict", *options, "--no-report")
    assert f"blend: {title} " in printed and "warning" not in printed
    note = json.loads((tmp_path / "submissions" / "insects" / "submission.json").read_text())
    assert note["metric"] == metric


def test_models_trained_by_one_metric_are_measured_by_another(copied, tmp_path):
    """The models stay what they are; scores, blend and report go by what is asked for now."""
    models = ("--models", "dhc-gaussian-nb", "dhc-knn-sweep")
    assert "blend: log loss " in succeed("predict", *copied, "--metric", "log-loss", *models)
    page = (tmp_path / "submissions" / "insects" / "report.html").read_text(encoding="utf-8")
    assert "log loss of the blend on validation" in page


def test_an_unknown_metric_is_one_line_with_the_nearest_name(copied):
    for command in ("train", "predict"):
        said = fail(command, *copied, "--metric", "logloss")
        assert said.startswith("no metric is called 'logloss' (did you mean 'log-loss'?); use accuracy, log-loss, f1-")


def test_one_view_alone_can_be_asked_for(trained, copied, tmp_path):
    succeed("predict", *copied, "--models", "sprint", "--no-tta", "--no-report")
    assert accuracy(tmp_path / "submissions" / "insects" / "submission.csv", trained["folder"]) > 0.8


@pytest.mark.usefixtures("full_check")
def test_same_seed_same_bytes(tmp_path, make_competition):
    """Typed in this process, after whatever ran in it before, and as scripts that begin anew."""
    folder = make_competition(tmp_path / "insects", train=60)
    for work, ran in ((tmp_path / "first", run), (tmp_path / "second", start)):
        options = ("--competition", folder, "--work", work)
        assert ran("train", *options, "--epochs", 2, "--models", "sprint", "dhc-knn-sweep", "--seed", 3).status == 0
        assert ran("predict", *options, "--no-report").status == 0
    submissions = [tmp_path / work / "submissions" / "insects" / "submission.csv" for work in ("first", "second")]
    assert submissions[0].read_bytes() == submissions[1].read_bytes()


def test_a_budgeted_run_is_repeated_to_the_byte_by_its_plan(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60)
    first, second = tmp_path / "first", tmp_path / "second"
    models = ("--models", "sprint", "dhc-gaussian-nb")
    said = succeed("train", "--competition", folder, "--work", first, "--budget", "6s", *models)
    assert "plan for the" in said
    plan = first / "runs" / "insects" / "plan.json"
    succeed("train", "--competition", folder, "--work", second, "--plan", plan)
    for work in (first, second):
        succeed("predict", "--competition", folder, "--work", work, "--no-report")
    submissions = [work / "submissions" / "insects" / "submission.csv" for work in (first, second)]
    assert submissions[0].read_bytes() == submissions[1].read_bytes()
    networks = [json.loads((work / "runs/insects/plan.json").read_text())["models"][-1] for work in (first, second)]
    assert networks[0] == networks[1]


def test_what_a_budget_does_not_hold_is_left_out_with_the_reason(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=300, val=60, size=(96, 96))
    succeed("train", "--competition", folder, "--work", tmp_path / "before", "--models", "dhc-gaussian-nb")
    shutil.copytree(tmp_path / "before" / "competition", tmp_path / "competition")  # the images are decoded
    options = ("--competition", folder, "--work", tmp_path, "--models", "dhc-gaussian-nb", "dhc-svm", "sprint")
    said = succeed("train", *options, "--budget", "1s")
    assert re.search("plan for the remaining [01]s", said)
    assert "left out: fitting it to ten images" in said
    assert "warning: left out: sprint: too little of the budget is left for it" in said
    (run,) = (tmp_path / "runs" / "insects").glob("*/run.json")
    assert run.parent.name in ("dhc-gaussian-nb~budget=1s", "dhc-svm~budget=1s")


def test_a_network_alone_is_trained_however_little_time_there_is(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60)
    succeed("train", "--competition", folder, "--work", tmp_path, "--models", "sprint", "--budget", "3s")
    assert (tmp_path / "runs" / "insects" / "sprint~budget=3s" / "run.json").is_file()


def recipe_too_hot(tmp_path: Path) -> Path:
    """A recipe with a learning rate at which the loss is not finite after a step or two."""
    text = (RECIPES / "dhc-cnn32.toml").read_text(encoding="utf-8")
    path = tmp_path / "my-hot.toml"
    path.write_text(re.sub(r"(?m)^lr = .*", "lr = 1e30", text), encoding="utf-8")
    return path


def test_a_network_whose_loss_is_not_finite_is_left_out_and_the_others_are_trained(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60)
    options = ("--competition", folder, "--work", tmp_path, "--epochs", 2, "--models")
    said = succeed("train", *options, "dhc-gaussian-nb", recipe_too_hot(tmp_path))
    (warning,) = (line for line in said.splitlines() if line.startswith("warning: "))
    assert re.fullmatch(r"warning: left out: my-hot: the \w+ (is|are) not finite in epoch 1; lower the .*", warning)
    plan = json.loads((tmp_path / "runs" / "insects" / "plan.json").read_text())
    assert [model["recipe"]["name"] for model in plan["models"]] == ["dhc-gaussian-nb"]
    assert "my-hot" in plan["left_out"]
    assert "my-hot" not in succeed("predict", "--competition", folder, "--work", tmp_path, "--no-report")


def test_a_command_whose_only_network_is_not_finite_fails_in_one_line(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60)
    said = fail(
        "train", "--competition", folder, "--work", tmp_path, "--epochs", 2, "--models", recipe_too_hot(tmp_path)
    )
    assert said.startswith("my-hot: the ") and "not finite in epoch 1" in said


def test_a_budget_too_short_for_decoding_is_refused_with_what_took_the_time_and_one_that_would_do(
    tmp_path, make_competition
):
    folder = make_competition(tmp_path / "insects", train=60)
    options = ("--competition", folder, "--work", tmp_path, "--models", "dhc-gaussian-nb", "--budget", "10s")
    done = run("train", *options, seconds_ago=60)
    fault = r"decoding the images takes about \ds, after 1m 0\ds for the start"
    assert done.status == 2
    assert re.fullmatch(rf"error: --budget 10s: {fault}; give --budget 3m or more\n", done.err)


def test_a_budget_that_the_start_uses_up_before_a_cache_is_read_says_so(copied, trained, tmp_path):
    shutil.copytree(trained["place"] / "competition", tmp_path / "competition")
    done = run("train", *copied, "--models", "dhc-gaussian-nb", "--budget", "10s", seconds_ago=60)
    fault = r"the start took 1m 0\ds, which leaves too little time to read the images"
    assert re.fullmatch(rf"error: --budget 10s: {fault}; give --budget 3m or more\n", done.err)


def test_every_command_names_the_next_one(trained):
    line = f"--competition {trained['folder']} --work {trained['place']}"
    assert trained["train"].splitlines()[-1] == f"next: python pipeline/predict.py {line}"
    *_, report, following, _ = trained["predict"].splitlines()
    assert report == f"report: {trained['place'] / 'submissions' / 'insects' / 'report.html'}"
    assert following == f"next: python pipeline/submit.py {line}"


def test_quiet_prints_the_results_alone(copied, tmp_path):
    said = succeed("train", *copied, "--epochs", 8, *MODELS, "--quiet").splitlines()
    assert said[0].startswith("model") and len(said) == 1 + 3
    scores, path = succeed("predict", *copied, "--quiet", "--no-report").splitlines()
    assert scores.startswith("blend: accuracy ")
    assert path == str(tmp_path / "submissions" / "insects" / "submission.csv")


def test_without_a_validation_table_a_tenth_of_train_validates(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=100, with_val=False)
    succeed("train", "--competition", folder, "--work", tmp_path, "--epochs", 1, "--models", "dhc-gaussian-nb")
    succeed("predict", "--competition", folder, "--work", tmp_path, "--no-report")
    scored = rows(tmp_path / "runs" / "insects" / "scores.csv")[1]
    assert float(scored[1]) * 10 == pytest.approx(round(float(scored[1]) * 10))


def test_folds_validate_every_labelled_image_once(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60, val=30)
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--folds", 3, "--epochs", 2, "--models", "sprint", "dhc-gaussian-nb")
    succeed("predict", *options)
    run_folder = tmp_path / "runs" / "insects" / "sprint~epochs=2,folds=3"
    assert {path.name for path in run_folder.glob("fold-*")} == {"fold-1", "fold-2", "fold-3"}
    page = (tmp_path / "submissions" / "insects" / "report.html").read_text(encoding="utf-8")
    assert "measured on 90 labelled images. Each of them is predicted by models that were not trained on it" in page
    assert len(rows(tmp_path / "submissions" / "insects" / "submission.csv")) == 1 + 12


def test_with_refit_a_network_of_all_images_predicts_and_the_score_is_the_one_measured_before(
    tmp_path, make_competition
):
    folder = make_competition(tmp_path / "insects", train=60, with_val=False)
    options = ("--competition", folder, "--work", tmp_path)
    fit = (*options, "--models", "dhc-cnn32", "--epochs", 2)
    plain = succeed("train", *fit).splitlines()
    again = succeed("train", *fit, "--refit").splitlines()
    measured = [
        next(line for line in lines if " on validation" in line).partition("accuracy ")[2][:6]
        for lines in (plain, again)
    ]
    assert measured[0] == measured[1]
    run = tmp_path / "runs" / "insects" / "dhc-cnn32~epochs=2,refit=yes"
    models = [path.relative_to(run).as_posix() for path in run.rglob("model.safetensors")]
    assert models == ["refit/model.safetensors"]
    assert rows(run / "refit" / "history.csv") == rows(run / "history.csv")
    assert "dhc-cnn32~epochs=2,refit=yes: trained before" in succeed("train", *fit, "--refit")
    succeed("predict", *options, "--models", "dhc-cnn32~epochs=2,refit=yes", "--no-report")
    whole, part = (Predictions.load(each / "validation.npz") for each in (run, run.with_name("dhc-cnn32~epochs=2")))
    np.testing.assert_array_equal(whole.probabilities, part.probabilities)


def test_a_refit_network_is_repeated_to_the_byte_by_its_plan(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60, with_val=False)
    tests = []
    for work, how in (
        ("first", ("--models", "dhc-cnn32", "--budget", "5s")),
        ("again", ("--plan", tmp_path / "plan.json")),
    ):
        options = ("--competition", folder, "--work", tmp_path / work)
        succeed("train", *options, *how, "--refit")
        succeed("predict", *options, "--no-report")
        (found,) = (tmp_path / work / "runs" / "insects").glob("dhc-cnn32~*")
        shutil.copyfile(found.parent / "plan.json", tmp_path / "plan.json")
        tests.append(Predictions.load(found / "test.npz").probabilities)
    np.testing.assert_array_equal(*tests)


def test_pictures_from_elsewhere_make_a_run_of_their_own_that_is_blended_with_the_others(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects")
    shutil.copytree(make_competition(tmp_path / "more", seed=5) / "train_images", tmp_path / "elsewhere")
    shutil.copyfile(tmp_path / "more" / "train.csv", tmp_path / "elsewhere" / "labels.csv")
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--models", "dhc-gaussian-nb")
    extra = ("--models", "dhc-gaussian-nb", "--extra", tmp_path / "elsewhere" / "labels.csv")
    assert "30 pictures from elsewhere to train on" in succeed("train", *options, *extra)
    assert "dhc-gaussian-nb~extra=labels: trained before" in succeed("train", *options, *extra)
    assert "dhc-gaussian-nb~extra=labels" in succeed("predict", *options, "--no-report")
    table = tmp_path / "elsewhere" / "labels.csv"
    table.write_text(table.read_text().replace(",ant", ",aunt"))
    assert "no class of the competition (aunt) (did you mean 'ant'?) in 10 rows" in fail("train", *options, *extra)


def test_corrected_labels_make_a_run_of_their_own_that_is_measured_and_blended_with_the_others(
    tmp_path, make_competition
):
    folder, path = make_competition(tmp_path / "insects", with_val=False), tmp_path / "by-hand.csv"
    options = ("--competition", folder, "--work", tmp_path, "--models", "dhc-gaussian-nb")
    path.write_text("id,label\n00000.png,\n00001.png,ant\n00002.png,ant\n")
    succeed("train", *options, "--folds", 2)
    told = succeed("train", *options, "--folds", 2, "--relabel", path)
    assert re.search(rf"[12] corrected labels? to train on, 1 image left out, by {re.escape(str(path))}\n", told)
    assert "dhc-gaussian-nb~folds=2,relabel=by-hand: accuracy" in told and "left out, as" not in told
    assert "trained before" in succeed("train", *options, "--folds", 2, "--relabel", path)
    path.write_text("id,label\n00000.png,\n")
    assert "folds=2,relabel=by-hand,run=2: accuracy" in succeed("train", *options, "--folds", 2, "--relabel", path)
    assert "left out, as" not in succeed("predict", *options[:4], "--no-report")


def test_a_run_without_conflicting_images_has_a_name_of_its_own_and_is_blended_with_the_others(
    tmp_path, make_competition
):
    folder = make_competition(tmp_path / "insects")
    options = ("--competition", folder, "--work", tmp_path, "--models", "dhc-gaussian-nb")
    cells = dict(line.split(",") for line in (folder / "train.csv").read_text().splitlines()[1:])
    first, second = next((one, two) for one in cells for two in cells if cells[one] != cells[two])
    (folder / "train_images" / second).write_bytes((folder / "train_images" / first).read_bytes())
    told = succeed("train", *options)
    assert "data: 2 images have a copy with another label: --drop-conflicts leaves them out" in told
    told = succeed("train", *options, "--drop-conflicts")
    assert "2 images not trained on" in told and "dhc-gaussian-nb~drop_conflicts=yes: accuracy" in told
    assert "trained before" in succeed("train", *options, "--drop-conflicts")
    assert "dhc-gaussian-nb~drop_conflicts=yes" in succeed("predict", *options[:4], "--no-report")


def test_corrections_of_images_that_only_validate_are_an_error(tmp_path, make_competition):
    folder, path = make_competition(tmp_path / "insects"), tmp_path / "by-hand.csv"
    path.write_text("id,label\n50000.png,\n")
    options = ("--competition", folder, "--work", tmp_path, "--models", "dhc-gaussian-nb", "--relabel", path)
    told = fail("train", *options)
    assert "only validation images are corrected; give --folds 3" in told
    path.write_text("id,label\n50000.png,\n00000.png,\n")
    told = "0 corrected labels to train on, 1 image left out, 1 not used (they only validate), by"
    assert told in succeed("train", *options)


def test_corrections_of_images_that_limit_leaves_out_are_an_error(tmp_path, make_competition):
    folder, path = make_competition(tmp_path / "insects", train=40), tmp_path / "by-hand.csv"
    options = ("--competition", folder, "--work", tmp_path, "--models", "dhc-gaussian-nb")
    kept = limit_train(load_competition(folder), 20, 0).train.ids
    left_out = next(name for name in load_competition(folder).train.ids if name not in kept)
    path.write_text(f"id,label\n{left_out},\n")
    told = fail("train", *options, "--relabel", path, "--limit", 20)
    assert "by-hand.csv: no image that it corrects is used; leave out --limit, or correct others" in told


def test_an_unreadable_training_image_is_an_error_unless_it_may_be_skipped(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60)
    (folder / "train_images" / "00007.png").write_bytes(b"no image")
    options = ("--competition", folder, "--work", tmp_path, "--epochs", 1, "--models", "dhc-gaussian-nb")
    error = fail("train", *options)
    assert "00007.png" in error and "--skip-unreadable" in error
    assert "00007.png" in succeed("train", *options, "--skip-unreadable")


def test_an_unreadable_test_image_gets_the_most_frequent_class_and_a_warning(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=60)
    table = folder / "train.csv"
    kept = [line for place, line in enumerate(table.read_text().splitlines()) if "bee" in line or place % 3 == 0]
    table.write_text("\n".join(kept) + "\n")
    broken = next((folder / "test_images").iterdir())
    broken.write_bytes(b"")
    options = ("--competition", folder, "--work", tmp_path)
    succeed("train", *options, "--epochs", 1, "--models", "dhc-gaussian-nb")
    said = succeed("predict", *options, "--no-report")
    assert "warning: 1 test image" in said and broken.name in said
    answers = dict(rows(tmp_path / "submissions" / "insects" / "submission.csv"))
    assert answers[broken.name] == "bee"


def test_changed_images_are_trained_on_again(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects")
    options = ("--competition", folder, "--work", tmp_path, "--epochs", 1, "--models", "dhc-gaussian-nb")
    succeed("train", *options)
    shutil.copyfile(folder / "train_images" / "00001.png", folder / "train_images" / "00002.png")
    assert "trained before" not in succeed("train", *options)


def test_limit_keeps_that_many_training_images(tmp_path, make_competition):
    folder = make_competition(tmp_path / "insects", train=90)
    said = succeed("train", "--competition", folder, "--work", tmp_path, "--limit", 12, "--models", "dhc-gaussian-nb")
    assert "12 train" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--competition", "no/such/folder"], ["no/such/folder"]),
        (["--data", "no.zip"], ["no.zip", "does not exist"]),
        (["--modles", "sprint"], ["--modles", "--models"]),
        (["--models", "sprnt"], ["sprnt", "sprint"]),
        (["--budget", "soon"], ["soon", "10m", "5m"][:1]),
        (["--folds", "0"], ["--folds"]),
        (["--epochs", "0"], ["--epochs"]),
        (["--epochs", "1", "--budget", "5m"], ["--budget", "--epochs"]),
    ],
)
def test_a_mistake_on_the_command_line_gets_one_line(arguments, words):
    error = fail("train", *arguments)
    assert all(word in error for word in words)


@pytest.mark.parametrize("competition", ["insects", None])
def test_predicting_before_training_says_what_to_run_and_fetches_nothing(tmp_path, make_competition, competition):
    work = tmp_path / "work"
    source = ("--competition", make_competition(tmp_path / competition)) if competition else ()
    error = fail("predict", *source, "--work", work)
    assert "pipeline/train.py" in error and not work.exists()


def test_a_model_that_was_not_trained_gets_the_names_of_those_that_were(trained):
    error = fail("predict", "--competition", trained["folder"], "--work", trained["place"], "--models", "dhc-svm")
    assert "dhc-svm" in error and "dhc-gaussian-nb" in error
