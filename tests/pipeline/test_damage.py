"""Damage to what a training leaves: one line, never a traceback or a wrong answer; and no pickle is ever executed."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from competition import locks
from competition.locks import locked
from competition.storage import MACHINE
from pipeline.data.descriptors import computed_once
from pipeline.data.predictions import Predictions
from pipeline.models.networks.weights import load_weights
from pipeline.models.neural.checkpoint import Checkpoint
from pipeline.models.persistence import Saved
from pipeline.report.run_record import read_grid, read_history
from pipeline.runtime.sealed import seal
from pipeline.training.planning import Plan
from pipeline.training.runs import FoldFolder, RunFolder
from tests.commands import fail, run, succeed
from tests.damage import SPRUNG, damage

MODELS = ("dhc-gaussian-nb", "dhc-cnn32")
TRAIN = ("--epochs", 2, "--models")


@pytest.fixture(scope="module")
def trained(made_once: Callable[..., Path], make_competition: Callable[..., Path]) -> Path:
    def train(place: Path) -> None:
        options = ("--competition", make_competition(place / "insects", train=60, val=20, test=20), "--work", place)
        succeed("train", *options, *TRAIN, *MODELS)
        succeed("predict", *options, "--no-report")

    return made_once("damaged", train)


@pytest.fixture
def options(trained: Path, tmp_path: Path) -> tuple[object, ...]:
    """The options of a copy of the work folder."""
    for name in ("runs", "competition", "submissions"):
        shutil.copytree(trained / name, tmp_path / name)
    return "--competition", trained / "insects", "--work", tmp_path


@pytest.mark.parametrize("model", MODELS)
def test_a_damaged_model_does_not_predict_and_is_trained_again_to_the_same_bytes(options, tmp_path, model):
    submission = tmp_path / "submissions" / "insects" / "submission.csv"
    before = submission.read_bytes()
    damage(tmp_path / "runs" / "insects" / f"{model}~epochs=2" / "model.safetensors", "flipped")
    done = run("predict", *options, "--no-report", "--models", model)
    line = f"warning: left out, as model.safetensors is damaged: {model}~epochs=2\n"
    assert done.status == 2 and done.out == line and "run pipeline/train.py" in done.err
    again = f"warning: {model}~epochs=2: model.safetensors is damaged; training it again\n"
    assert again in succeed("train", *options, *TRAIN, model)
    succeed("predict", *options, "--no-report")
    assert submission.read_bytes() == before


def interrupted(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run train.py until the first checkpoint."""

    def save_and_stop(checkpoint: Checkpoint, training: object) -> None:
        save(checkpoint, training)
        raise KeyboardInterrupt

    save = Checkpoint.save
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        assert run("train", *arguments).status == 130


@pytest.mark.parametrize("way", [None, "flipped", "a pickle"])
def test_an_interrupted_training_ends_in_the_same_weights_whatever_became_of_its_checkpoint(
    trained, tmp_path, monkeypatch, way
):
    options = ("--competition", trained / "insects", "--work", tmp_path, *TRAIN, "dhc-cnn32")
    interrupted(monkeypatch, *options)
    place = Path("runs", "insects", "dhc-cnn32~epochs=2")
    damage(tmp_path / place / "checkpoint.pt", way)
    said = succeed("train", *options)
    assert ("checkpoint.pt: damaged or of another training; this training begins anew" in said) == (way is not None)
    expected, weights = (Saved.read(work / place / "model.safetensors").arrays for work in (trained, tmp_path))
    assert all(np.array_equal(expected[name], weights[name]) for name in expected)


def test_a_training_waits_for_the_one_that_writes_its_run_and_sweeps_what_a_killed_one_left(options, tmp_path):
    folder = tmp_path / "runs" / "insects" / "dhc-cnn32~epochs=2"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = folder / f".checkpoint.pt.{MACHINE}.{ended.pid}.01234567.draft"
    left.touch()
    hold = (
        "import sys; from pathlib import Path; from competition.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", hold, folder], stdin=pipe, stdout=pipe, text=True)
    assert holder.stdout.readline() == "held\n"

    def let_go(*_: object, **__: object) -> None:
        print(*_)
        holder.communicate("\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "PATIENCE", 0.0)
        patch.setattr(locks, "print", let_go, raising=False)
        said = succeed("train", *options, *TRAIN, "dhc-cnn32")
    assert f"(process {holder.pid}) writes this run; waiting\n" in said
    assert "trained before" in said and not left.exists()


def test_a_run_that_another_process_writes_until_the_budget_ends_is_left_out(options, tmp_path):
    models = ("--models", "dhc-gaussian-nb", "dhc-cnn32")
    with locked(tmp_path / "runs" / "insects" / "dhc-cnn32~budget=4s", "writes this run"):
        said = succeed("train", *options, *models, "--budget", "4s")
    assert re.search(r"warning: left out: dhc-cnn32: another .* still writes this run when the budget ends", said)
    assert (tmp_path / "runs" / "insects" / "dhc-gaussian-nb~budget=4s" / "run.json").is_file()


def test_a_plan_of_a_stranger_writes_nowhere_else(options, tmp_path):
    path = tmp_path / "runs" / "insects" / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    plan["models"][0]["recipe"]["name"] = "../../competition"
    path.write_text(json.dumps(plan), encoding="utf-8")
    assert "plan.json: not a plan.json of train.py" in fail("train", *options, "--plan", path)
    assert (tmp_path / "competition").is_dir()


def computed(path: Path) -> np.ndarray:
    cache = SimpleNamespace(folder=path.parent, whole=np.zeros((2, 1)), rows=np.arange(2))
    return computed_once(cache, path.stem, lambda images: images)


READERS: dict[str, Callable[[Path], object]] = {
    "checkpoint.pt": lambda path: Checkpoint(path).resume(SimpleNamespace()),
    "descriptors.npy": computed,
    "grid.csv": lambda path: read_grid(FoldFolder(path.parent)),
    "history.csv": read_history,
    "model.safetensors": Saved.read,
    "plan.json": Plan.read,
    "resnet18-f37072fd.pth": lambda path: load_weights("resnet18", path),
    "run.json": lambda path: RunFolder(path.parent).finished(),
    "validation.npz": Predictions.load,
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("way", ["a pickle", "an array of objects", "a pickle of torch"])
@pytest.mark.parametrize("name", READERS)
def test_no_pickle_is_executed_in_the_place_of_any_file(tmp_path, monkeypatch, name, way, sealed):
    monkeypatch.setattr("pipeline.data.descriptors.ImageCache", SimpleNamespace)
    monkeypatch.setattr("pipeline.models.networks.weights._verify", lambda path: None)
    path = tmp_path / name
    path.touch()
    damage(path, way)
    if sealed:
        seal(path, f"{tmp_path.name}/{name}" if name == "descriptors.npy" else "")
    try:
        READERS[name](path)
    except Exception as error:
        assert str(error)
    assert not (tmp_path / SPRUNG).exists()


def test_the_trap_springs_where_a_pickle_is_executed(tmp_path):
    path = tmp_path / "state.pt"
    path.touch()
    damage(path, "a pickle of torch")
    torch.load(path, weights_only=False)
    assert (tmp_path / SPRUNG).is_dir()
