"""Several processes that torchrun starts train one network: as one process does, and through kills and errors."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from pipeline.models.recipe import RECIPES
from pipeline.runtime import distributed
from tests.commands import ROOT, Done, succeed
from tests.pipeline import on_ranks
from tests.pipeline.on_ranks import begun, forked
from tests.stand_in import wait_until

TRAIN = ROOT / "pipeline" / "train.py"
EPOCHS = 10
SPRINT = Path("runs", "insects", f"sprint~epochs={EPOCHS}")
HISTORY = SPRINT / "history.csv"


def torchrun(ranks: int, logs: Path, script: Path, *arguments: object) -> list[str]:
    """The command; what each rank prints goes to a file of its own below ``logs``."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    return [*launcher, f"--log-dir={logs}", "--redirects=3", str(script), *map(str, arguments)]


def printed(logs: Path, stream: str) -> list[str]:
    """What each rank has printed, in their order."""
    return [path.read_text() for path in sorted(logs.rglob(f"{stream}.log"), key=lambda path: path.parent.name)]


def on_many(ranks: int, logs: Path, script: Path, *arguments: object) -> str:
    """What the main rank prints, the others printing nothing."""
    done = subprocess.run(torchrun(ranks, logs, script, *arguments), capture_output=True, text=True)
    assert done.returncode == 0, [done.stderr, *printed(logs, "stderr")]
    main, *others = printed(logs, "stdout")
    assert len(others) == ranks - 1
    return main


def all_right(ranks: list[Done]) -> None:
    assert [rank.status for rank in ranks] == [0] * len(ranks), [rank.err for rank in ranks]


def refused(ranks: list[Done]) -> str:
    """The one line that all ranks together end with."""
    assert [rank.status for rank in ranks] == [2] * len(ranks)
    return one_error("".join(rank.err for rank in ranks))


def one_error(errors: str) -> str:
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    return line


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_torchrun_one_process_has_all_the_rows_and_makes_everything_itself():
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.share(5) == slice(0, 5)
    assert distributed.broadcast("mine") == distributed.from_main(lambda: "mine") == "mine"
    assert list(distributed.each_from_main([1, 2])) == [1, 2]
    assert distributed.from_each("mine") == ["mine"]
    network = object()
    assert distributed.wrap_ddp(network) is network


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 100])
def test_each_row_is_shared_out_to_one_rank_in_order_and_evenly(monkeypatch, ranks, count):
    monkeypatch.setattr(distributed, "world_size", lambda: ranks)
    parts = []
    for rank in range(ranks):
        monkeypatch.setattr(distributed, "rank", partial(int, rank))
        parts.append(list(range(count))[distributed.share(count)])
    assert [row for part in parts for row in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.fixture(scope="module")
def learnt(made_once: Callable[..., Path]) -> Path:
    """What three ranks saw of the helpers, and what they have trained."""
    return made_once("ranks", lambda place: all_right(forked(3, place / "logs", "learn", place)))


@pytest.fixture(scope="module")
def seen(learnt: Path) -> list[dict]:
    """What each of three ranks saw of the helpers."""
    return json.loads((learnt / "seen.json").read_text())


def test_every_rank_gets_what_the_main_rank_has(seen):
    assert [each["rank"] for each in seen] == [0, 1, 2]
    assert [each["broadcast"] for each in seen] == ["from 0"] * 3
    assert [each["each_from_main"] for each in seen] == [[0, 1, 2]] * 3


def test_the_main_rank_is_alone_in_what_it_does_for_all(seen):
    assert [each["from_main"] for each in seen] == [[0, 1, 7]] * 3


def test_the_others_find_what_the_main_rank_made_first(seen):
    assert [each["found"] for each in seen] == [False, True, True]


def test_what_the_ranks_computed_is_gathered_in_order(seen):
    for each in seen:
        assert each["summed"] == [0 + 1 + 2, 3]
        assert each["shared_out"]["10"] == [list(range(10)), [3, 3, 4]]
        assert each["shared_out"]["3"] == [[0, 1, 2], [1, 1, 1]]


def test_rows_that_are_fewer_than_the_ranks_are_computed_by_all(seen):
    assert [each["shared_out"]["1"] for each in seen] == [[[0], [1, 1, 1]]] * 3


def test_ranks_learn_from_parts_of_unequal_size_what_one_process_learns(learnt, tmp_path, native_bfloat16):
    native_bfloat16(False)
    alone = on_ranks.train(tmp_path, "none")
    with np.load(learnt / "none.npz") as distributed_main:
        for name, value in alone.network.state_dict().items():
            np.testing.assert_allclose(distributed_main[name], value.numpy(), rtol=1e-3, atol=1e-4)
    theirs = rows(learnt / "none" / "history.csv")
    assert [float(row["loss"]) for row in theirs] == pytest.approx(
        [record.loss for record in alone.history.records], rel=1e-3
    )


def test_the_group_leaves_no_thread_behind_that_could_abort_the_process_on_its_way_out(learnt):
    assert sorted(path.name for path in learnt.glob("ended-*")) == ["ended-0", "ended-1", "ended-2"]


@pytest.fixture(scope="module")
def insects(made_once: Callable[..., Path], make_competition: Callable[..., Path]) -> Path:
    numbers = {"train": 90, "val": 30, "test": 40}
    return made_once("for-ranks", lambda place: make_competition(place / "insects", **numbers)) / "insects"


@pytest.fixture(scope="module")
def command(insects: Path) -> tuple[object, ...]:
    models = ("--models", "dhc-gaussian-nb", "sprint")
    return "--competition", insects, "--epochs", EPOCHS, *models, "--work"


@pytest.fixture(scope="module")
def trained(made_once: Callable[..., Path], command: tuple[object, ...]) -> Path:
    """The work folder of two ranks that nobody disturbed."""
    return made_once("two-ranks", lambda place: all_right(forked(2, place / "logs", "train", *command, place)))


def validation_accuracy(work: Path) -> dict[str, float]:
    return {row["model"]: float(row["accuracy"]) for row in rows(work / "runs" / "insects" / "scores.csv")}


def test_of_the_ranks_that_torchrun_starts_the_main_one_alone_prints(insects, tmp_path):
    models = ("--models", "dhc-gaussian-nb", "cifar-cnn-base", "--epochs", 1)
    text = on_many(2, tmp_path / "logs", TRAIN, "--competition", insects, *models, "--work", tmp_path)
    assert "2 ranks train together" in text and "95 % interval" in text
    errors = printed(tmp_path / "logs", "stderr")
    assert "cifar-cnn-base" not in errors[1]  # nor shows progress


def test_two_ranks_are_as_accurate_on_validation_as_one_process(trained, command, tmp_path):
    succeed("train", *command, tmp_path)
    assert validation_accuracy(trained) == pytest.approx(validation_accuracy(tmp_path), abs=0.1)


def test_what_two_ranks_have_trained_predicts_in_one_process(trained, insects, tmp_path):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    succeed("predict", "--competition", insects, "--work", tmp_path, "--no-report")
    truth = {row["Image"]: row["Class"] for row in rows(insects.with_name("insects_answers.csv"))}
    answers = rows(tmp_path / "submissions" / "insects" / "submission.csv")
    assert len(answers) == 40
    assert sum(truth[row["Image"]] == row["Class"] for row in answers) > 36


@pytest.fixture(scope="module")
def killed(made_once: Callable[..., Path], command: tuple[object, ...]) -> Path:
    """The work folder of two ranks that were killed after some epochs."""

    def train(work: Path) -> None:
        history, ranks = work / HISTORY, begun(2, work / "logs", "train", *command, work)
        try:
            wait_until(lambda: history.is_file() and len(rows(history)) >= 2, seconds=300)
        finally:
            for rank in ranks:
                rank.kill()
                rank.join()
        assert not history.with_name("run.json").exists()
        assert 2 <= len(rows(history)) < EPOCHS

    return made_once("killed-ranks", train)


def test_ranks_that_were_killed_go_on_and_end_where_they_would_have_ended(killed, trained, command, tmp_path):
    shutil.copytree(killed / "runs", tmp_path / "runs")
    ranks = forked(2, tmp_path / "logs", "train", *command, tmp_path)
    all_right(ranks)
    assert "sprint: resumed after epoch" in ranks[0].out
    ours, theirs = (work / SPRINT / "model.safetensors" for work in (tmp_path, trained))
    assert ours.read_bytes() == theirs.read_bytes()


def test_one_process_goes_on_where_two_ranks_were_killed(killed, trained, command, tmp_path):
    shutil.copytree(killed / "runs", tmp_path / "runs")
    done = len(rows(killed / HISTORY))
    succeed("train", *command, tmp_path)
    clocks = {"images_per_second", "seconds"}
    ours, theirs = (
        [{k: v for k, v in row.items() if k not in clocks} for row in rows(work / HISTORY)]
        for work in (tmp_path, trained)
    )
    assert ours[: done - 1] == theirs[: done - 1]  # the last row may have been written before the checkpoint
    assert len(ours) == EPOCHS
    assert validation_accuracy(tmp_path) == pytest.approx(validation_accuracy(trained), abs=0.1)


def test_a_budget_is_kept_by_the_main_ranks_clock(insects, tmp_path):
    options = ("--competition", insects, "--work", tmp_path, "--models", "sprint")
    all_right(forked(2, tmp_path / "logs", "train", *options, "--budget", "6s"))
    (model,) = json.loads((tmp_path / "runs" / "insects" / "plan.json").read_text())["models"]
    (fit,) = model["fits"]
    assert fit["tier"] is not None
    assert fit["segments"][-1]["end"] == 1
    assert len(fit["segments"]) == len(rows(tmp_path / "runs" / "insects" / "sprint~budget=6s" / "history.csv"))


def test_folds_grids_and_features_are_trained_by_all_ranks(insects, tmp_path):
    options = ("--competition", insects, "--work", tmp_path, "--epochs", 1, "--size", 32, "--folds", 2)
    models = ("cifar-cnn-v3-grid", "fashion-feature-mlp")
    all_right(forked(2, tmp_path / "logs", "train", *options, "--models", *models))
    for model in models:
        folder = tmp_path / "runs" / "insects" / f"{model}~epochs=1,folds=2,size=32"
        assert {"fold-1", "fold-2", "validation.npz", "run.json"} <= {path.name for path in folder.iterdir()}


def test_an_error_of_the_main_rank_is_said_once(tmp_path):
    options = ("--competition", tmp_path / "nothing", "--work", tmp_path)
    line = refused(forked(2, tmp_path / "logs", "train", *options))
    assert "nothing: no such file or folder" in line


def test_an_error_of_all_ranks_is_said_once(insects, tmp_path):
    assert "sprnt" in refused(forked(2, tmp_path / "logs", "train", "--competition", insects, "--models", "sprnt"))


def test_an_error_of_one_rank_ends_the_ones_that_wait_for_it(tmp_path):
    done = subprocess.run(torchrun(2, tmp_path, Path(on_ranks.__file__), "fail", 1), capture_output=True, text=True)
    assert done.returncode != 0 and "exitcode  : 2 " in done.stderr
    assert one_error("".join(printed(tmp_path, "stderr"))) == "error: rank 1 is wrong; fix it"


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_rank_ends_all_with_status_two_also_without_torchrun(tmp_path, failing):
    ranks = forked(2, tmp_path / "logs", "fail", failing)
    assert refused(ranks) == f"error: rank {failing} is wrong; fix it"
    assert ranks[failing].err == f"error: rank {failing} is wrong; fix it\n"


def test_more_ranks_than_a_batch_has_images_for_are_an_error(make_competition, tmp_path):
    folder = make_competition(tmp_path / "insects", train=30)
    options = ("--competition", folder, "--work", tmp_path, "--epochs", 1, "--models", "cifar-cnn-base")
    line = refused(forked(5, tmp_path / "logs", "train", *options))
    assert "batches of 8 images" in line and "--nproc_per_node" in line


FOLDS = ("--epochs", 2, "--size", 16, "--folds", 3, "--models", "cifar-cnn-base", "dhc-gaussian-nb")
SEVERAL = ("--epochs", 2, "--models", "cifar-cnn-base", "fashion-cnn", "dhc-gaussian-nb")


def files(work: Path) -> list[str]:
    """The files of all runs, but for locks."""
    places = (path.relative_to(work / "runs") for path in (work / "runs").rglob("*") if path.is_file())
    return sorted(str(place) for place in places if place.suffix != ".lock")


def assert_same_networks(ours: Path, theirs: Path) -> None:
    """Their weights differ by no more than another number of threads makes."""
    places = sorted(path.relative_to(theirs) for path in theirs.rglob("model.safetensors"))
    assert places
    for place in places:
        one, other = (safetensors.numpy.load_file(work / place) for work in (ours, theirs))
        for name, value in other.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [FOLDS, SEVERAL], ids=["folds", "models"])
def test_side_by_side_the_ranks_train_what_one_process_trains_one_after_the_other(insects, tmp_path, options):
    arguments = ("--competition", insects, *options, "--work")
    ranks = forked(2, tmp_path / "logs", "train", *arguments, tmp_path / "ranks")
    all_right(ranks)
    said = [rank.out.count(" on validation, trained") for rank in ranks]
    assert said == ([2, 0] if options is FOLDS else [2, 1])  # each rank tells of the runs that it has finished
    succeed("train", *arguments, tmp_path / "alone")
    assert files(tmp_path / "ranks") == files(tmp_path / "alone")
    assert_same_networks(tmp_path / "ranks", tmp_path / "alone")
    assert validation_accuracy(tmp_path / "ranks") == pytest.approx(validation_accuracy(tmp_path / "alone"), abs=0.02)
    plans = [
        json.loads((tmp_path / work / "runs" / "insects" / "plan.json").read_text()) for work in ("ranks", "alone")
    ]
    assert plans[0] == plans[1]
    assert succeed("train", *arguments, tmp_path / "ranks").count(": trained before") == sum(said)


def hot_recipe(path: Path) -> Path:
    """A recipe whose loss is not finite after a step or two."""
    recipe = (RECIPES / "cifar-cnn-base.toml").read_text()
    path.write_text(recipe.replace('name = "adam"\nlr = 1e-3', 'name = "sgd"\nlr = 1e30'))
    return path


def test_a_model_that_a_rank_cannot_train_is_left_out_on_all_ranks(insects, tmp_path):
    models = ("--models", "cifar-cnn-base", hot_recipe(tmp_path / "diverges.toml"))
    ranks = forked(2, tmp_path / "logs", "train", "--competition", insects, "--epochs", 1, *models, "--work", tmp_path)
    all_right(ranks)
    assert "warning: left out: diverges: the " in ranks[0].out
    plan = json.loads((tmp_path / "runs" / "insects" / "plan.json").read_text())
    assert [model["recipe"]["name"] for model in plan["models"]] == ["cifar-cnn-base"]
    assert [*plan["left_out"]] == ["diverges"]


def test_side_by_side_all_ranks_learn_of_the_error_of_one(tmp_path):
    ranks = forked(2, tmp_path / "logs", "fail", "side-by-side")
    assert refused(ranks) == "error: number 1 is wrong; fix it"


def test_memory_that_one_rank_lacks_halves_the_batches_of_all_and_one_line_says_so(tmp_path):
    ranks = forked(2, tmp_path / "logs", "exhaust", tmp_path / "run")
    all_right(ranks)
    warning = "warning: small: memory ran out; going on with batches of 5 images and 1/2 of the learning rate"
    assert [line for rank in ranks for line in rank.out.splitlines() if "memory" in line] == [warning]
