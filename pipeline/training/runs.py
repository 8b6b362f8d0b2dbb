"""The folder runs/: one folder per trained model, with everything that later commands need."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from competition.errors import UserError
from competition.metrics import Metric
from competition.storage import atomic_write, discard
from competition.task import Label
from pipeline.data.predictions import Predictions
from pipeline.models.base import CHECKPOINT_FILE, GRID_FILE, HISTORY_FILE, WEIGHTS_FILE, Model
from pipeline.models.recipe import AnyRecipe
from pipeline.settings import DEFAULT_BUDGET, Settings
from pipeline.training.planning import ModelPlan
from pipeline.training.scores import ModelScore, Score, score_by

Options = dict[str, str]

# the options that affect a model, in the order in which they appear in a run's name
SHAPING = ("epochs", "budget", "seed", "limit", "folds", "size", "metric")
DEFAULTS = {field.name: field.default for field in fields(Settings)} | {"budget": DEFAULT_BUDGET}
RECORD = "run.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, and the files in it."""

    path: Path

    @property
    def record(self) -> Path:
        """The ``Run``; written last, so a folder without it holds no finished run."""
        return self.path / RECORD

    @property
    def fingerprint(self) -> Path:
        """The fingerprint of everything that the run depends on; written first."""
        return self.path / "fingerprint"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def validation(self) -> Path:
        """The predictions for the validation images, with their labels."""
        return self.path / "validation.npz"

    @property
    def test(self) -> Path:
        """The predictions for the test images, written by predict.py if the run is in the blend."""
        return self.path / "test.npz"

    def fold(self, name: str) -> "FoldFolder":
        """The folder of one of the run's ``fold_folders``."""
        return FoldFolder(self.path / name)

    def remove_checkpoints(self) -> None:
        """Delete the checkpoints, from which an interrupted training would resume."""
        for checkpoint in self.path.rglob(CHECKPOINT_FILE):
            checkpoint.unlink()

    def finished(self) -> "Run | None":
        """The run; None if it is not finished, or if another version of the pipeline wrote it."""
        try:
            return TypeAdapter(Run).validate_json(self.record.read_bytes())
        except (OSError, ValidationError):
            return None

    def finished_at(self) -> int:
        """When it was finished, or last requested again, in nanoseconds since 1970."""
        return self.record.stat().st_mtime_ns


@dataclass(frozen=True)
class FoldFolder:
    """The folder of one fitted model, and the files in it."""

    path: Path

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS_FILE

    @property
    def history(self) -> Path:
        """Of a network: one row per epoch."""
        return self.path / HISTORY_FILE

    @property
    def grid(self) -> Path:
        """Of a network whose recipe has a grid: one row per point."""
        return self.path / GRID_FILE


@dataclass(frozen=True)
class Run:
    """A trained model, as stored in run.json.

    options: the train.py options that affect the model and differ from the defaults; with the recipe's name they form
        the run's name.
    fingerprint: of everything that the run depends on; by it the same command finds the run instead of training again.
    validation: fingerprint of the images that it was scored on, and of their labels.
    image_shape: (height, width) in pixels of the images that it was trained on.
    fold_folders: the subfolders with one fitted model each: a single one, or one per fold.
    seconds: of training and validation.
    parameters: number of weights of one fitted model.
    plan: the recipe, with the images and time it was given; enough to repeat the run.
    """

    options: Options
    fingerprint: str
    validation: str
    classes: tuple[Label, ...]
    image_shape: tuple[int, int]
    fold_folders: tuple[str, ...]
    score: Score
    seconds: float
    parameters: int
    plan: ModelPlan

    @property
    def recipe(self) -> AnyRecipe:
        return self.plan.recipe

    @property
    def name(self) -> str:
        """The name of its folder; no other run of the competition has it."""
        return run_name(self.recipe.name, self.options)

    def row(self, folder: RunFolder, metric: Metric) -> ModelScore:
        """Its row of scores.csv, by the given metric even if the run was scored by another. folder: the run's own."""
        predictions = Predictions.load(folder.validation)
        found = score_by(metric, self.score, predictions.probabilities, predictions.known_targets)
        return ModelScore(self.recipe.name, found, self.seconds, self.parameters, options_text(self.options))

    def write(self, folder: RunFolder) -> None:
        with atomic_write(folder.record) as path:
            path.write_bytes(TypeAdapter(Run).dump_json(self, indent=1))

    def models(self, folder: RunFolder, device: torch.device) -> list[Model]:
        """The fitted models, whose predictions are to be averaged. folder: the run's own."""
        return [self.recipe.load(folder.fold(name).path, device) for name in self.fold_folders]


def fold_folder(number: int, splits: int) -> str:
    """The subfolder of a fitted model in its run's folder: ``.``, or ``fold-1``, ``fold-2``, ... if there are folds."""
    return f"fold-{number + 1}" if splits > 1 else "."


def options_text(options: Options) -> str:
    """``epochs=30,seed=1``."""
    return ",".join(f"{name}={value}" for name, value in options.items())


def run_name(recipe: str, options: Options) -> str:
    """``sprint``, or ``sprint~epochs=30,seed=1``."""
    return f"{recipe}~{options_text(options)}" if options else recipe


def options_of(settings: Settings, repeated: str | None = None) -> Options:
    """The options that affect a model and differ from train.py's defaults, with values that are safe in a folder name.

    repeated: if a plan is repeated, the fingerprint of what it sets for the model.
    """
    given = {name: getattr(settings, name) for name in SHAPING if getattr(settings, name) != DEFAULTS[name]}
    if settings.epochs is not None or repeated is not None:
        given.pop("budget", None)  # it is None only because --epochs or --plan was given
    options = {name: _safe(value) for name, value in given.items()}
    return options if repeated is None else {"plan": repeated[:8]} | options


def _safe(value: object) -> str:
    text = "none" if value is None else f"{value:g}s" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w.-]+", "-", text)


def begin_run(runs: Path, recipe: str, options: Options, key: str, fresh: bool) -> tuple[RunFolder, Options]:
    """Prepare the folder of a training. Returns the folder and the options in its name.

    If a run of the same name has another fingerprint, as its images or its recipe were different, the new run gets a
    number in its options. No run replaces another.

    runs: the folder ``runs/<competition>``. key: fingerprint of the training.
    fresh: delete what the same training has written there before.
    """
    numbered = ({} if number == 1 else {"run": str(number)} for number in count(1))
    for more in numbered:
        folder = RunFolder(runs / run_name(recipe, options | more))
        mark = folder.fingerprint.read_text() if folder.fingerprint.is_file() else None
        if mark in (None, key):
            break
    if fresh or mark is None:
        discard(folder.path)
        with atomic_write(folder.fingerprint) as path:
            path.write_text(key)
    return folder, options | more


def finished_runs(folder: Path, patterns: Sequence[str] = ()) -> dict[str, Run]:
    """The finished runs in ``runs/<competition>`` by name; with patterns, those whose recipe or name matches one.

    patterns: as for ``choose_recipes``; a TOML file stands for the recipe of the same name.
    Raises UserError if there is no run, or none that matches one of the patterns.
    """
    found = ((place.name, RunFolder(place).finished()) for place in sorted(folder.glob("*/")))
    runs = {name: run for name, run in found if run is not None}
    if not runs:
        raise UserError(f"{folder} holds no trained model; run pipeline/train.py first")
    if not patterns:
        return runs
    chosen: dict[str, Run] = {}
    for pattern in patterns:
        chosen |= _matching(runs, Path(pattern).stem if pattern.endswith(".toml") else pattern, folder)
    return chosen


def _matching(runs: dict[str, Run], pattern: str, folder: Path) -> dict[str, Run]:
    matching = {
        name: run for name, run in runs.items() if fnmatchcase(name, pattern) or fnmatchcase(run.recipe.name, pattern)
    }
    if not matching:
        near = get_close_matches(pattern, runs, n=3, cutoff=0.4) or sorted(runs)
        raise UserError(f"no trained model is called {pattern!r} in {folder}; there are {', '.join(near)}")
    return matching


def holds_runs(folder: Path) -> bool:
    """Whether the folder of a competition has a finished run in it."""
    return any(folder.glob(f"*/{RECORD}"))


def transfer_source(recipe: AnyRecipe, runs: Path, competition: str) -> FoldFolder:
    """The folder of the network that a recipe with ``transfer_from`` starts from.

    It is the newest network that the named recipe trained on another competition, with any options; if that run has
    folds, the first one's. runs: the folder runs/. Raises UserError if there is no such network.
    """
    named = (f"*/{recipe.transfer_from}", f"*/{recipe.transfer_from}~*")
    folders = [
        RunFolder(place) for pattern in named for place in runs.glob(pattern) if place.parent.name != competition
    ]
    finished = [(folder, run) for folder in folders if (run := folder.finished())]
    if not finished:
        raise UserError(
            f"{recipe.name} starts from a network that {recipe.transfer_from} trained on another competition, but "
            f"there is none in {runs}/*/{recipe.transfer_from}; train one first: "
            f"train.py --competition OTHER --models {recipe.transfer_from}"
        )
    folder, run = max(finished, key=lambda each: each[0].finished_at())
    return folder.fold(run.fold_folders[0])


def parted(runs: dict[str, Run], belongs: Callable[[str, Run], bool]) -> tuple[dict[str, Run], list[str]]:
    """Split the runs. Returns those for which ``belongs(name, run)`` is true, and the names of the others."""
    kept = {name: run for name, run in runs.items() if belongs(name, run)}
    return kept, [name for name in runs if name not in kept]


def newest_run(folder: Path, runs: dict[str, Run]) -> Run:
    """The run that a command last finished, or last found finished. folder: ``runs/<competition>``."""
    return runs[max(runs, key=lambda name: RunFolder(folder / name).finished_at())]


def same_validation(folder: Path, runs: dict[str, Run]) -> tuple[dict[str, Run], list[str]]:
    """The runs validated on the same images and labels as the newest run, and the names of the others.

    folder: ``runs/<competition>``.
    """
    newest = newest_run(folder, runs)
    return parted(runs, lambda _, run: run.validation == newest.validation)
