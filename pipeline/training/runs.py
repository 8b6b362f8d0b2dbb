"""The folder runs/: one folder per trained model, with everything that later commands need."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from competition.errors import UserError, first_few
from competition.metrics import Metric
from competition.storage import discard
from competition.task import Task
from competition.wording import did_you_mean, printable
from pipeline.data.data_record import DataRecord
from pipeline.data.fitting import Fit, Size
from pipeline.data.predictions import Predictions
from pipeline.models.base import CHECKPOINT_FILE, GRID_FILE, HISTORY_FILE, TIER_FILE, WEIGHTS_FILE, Model
from pipeline.models.persistence import Saved
from pipeline.models.recipe import AnyRecipe, recipe_name
from pipeline.runtime.sealed import DamagedFile, read_json, write_json
from pipeline.settings import DEFAULT_BUDGET, Settings
from pipeline.training.planning import ModelPlan
from pipeline.training.scores import ModelScore, Score, score_by

Options = dict[str, str]

# the options that affect a model, in the order in which they appear in a run's name
SHAPING = (
    *("epochs", "budget", "seed", "limit", "folds", "size"),
    *("extra", "relabel", "drop_conflicts", "pseudo_labels", "distil", "refit", "metric"),
)
TAUGHT = {"pseudo_labels": "test images with what earlier models said of them", "distil": "what earlier models said"}
DEFAULTS = {field.name: field.default for field in fields(Settings)} | {"budget": DEFAULT_BUDGET}
RECORD = "run.json"
REFIT = "refit"  # the subfolder of a model that was fitted to all labelled images, after its folds were validated
MARKS = MARK, RECIPE = "fingerprint.json", "recipe.toml"  # written when a run begins
FORMAT: Final = 3  # version of the files of a run


class UnusableRun(Exception):  # noqa: N818 - the name says what is wrong with the run
    """A finished run that cannot be used. The message is the reason; it continues ``left out, as``."""


class OtherVersion(UnusableRun):
    """The run of another version of the pipeline, whose files this one does not understand."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, and the files in it."""

    path: Path

    @property
    def record(self) -> Path:
        """The ``Run``; written last, so a folder without it holds no finished run."""
        return self.path / RECORD

    @property
    def mark(self) -> Path:
        """The fingerprint of everything that the run depends on; written first."""
        return self.path / MARK

    @property
    def recipe(self) -> Path:
        return self.path / RECIPE

    @property
    def validation(self) -> Path:
        """The predictions for the validation images, with their labels."""
        return self.path / "validation.npz"

    @property
    def data(self) -> Path:
        """The record of the labelled images."""
        return self.path / "data.npz"

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

    def remove_if_idle(self) -> None:
        """Remove the folder if the training has left nothing in it to go on with."""
        left = {path.name for path in self.path.rglob("*") if path.is_file()}
        if left <= {*MARKS, TIER_FILE}:
            discard(self.path)

    def read(self) -> "Run":
        """The run. Raises FileNotFoundError if none was finished here, and UnusableRun if its record is of no use."""
        try:
            run = TypeAdapter(Run).validate_json(json.dumps(read_json(self.record)))
        except DamagedFile as error:
            if isinstance(error.unsealed, dict) and "classes" in error.unsealed and "format" not in error.unsealed:
                raise OtherVersion("an older version of the pipeline trained them") from None
            raise UnusableRun(f"{error.path.name} is damaged") from None
        except ValidationError:
            raise OtherVersion("another version of the pipeline trained them") from None
        if run.name != self.path.name:
            raise UnusableRun("the folder was renamed")
        return run

    def load(self, check_models: bool = True) -> "StoredRun":
        """The run with what it was validated on. Raises the errors of ``read``.

        check_models: read the files of the fitted models too, to check them.
        """
        run = self.read()
        try:
            validated, data = Predictions.load(self.validation), DataRecord.load(self.data)
        except DamagedFile as error:
            raise UnusableRun(f"{error.path.name} is damaged") from None
        except UserError:
            raise UnusableRun(_fault_of(self.validation)) from None
        except FileNotFoundError:
            raise UnusableRun(_fault_of(self.data)) from None
        if validated.fingerprint != run.fingerprint or validated.targets is None:
            raise UnusableRun(f"{self.validation.name} is that of another run")
        if check_models:
            self._check(run.model_files)
        return StoredRun(self, run, validated, data)

    def _check(self, model_files: Iterable[str]) -> None:
        """Raises UnusableRun if a file of the fitted models cannot be used."""
        for name in model_files:
            try:
                Saved.read(self.path / name)
            except DamagedFile:
                raise UnusableRun(_fault_of(self.path / name)) from None

    def model_files(self) -> tuple[str, ...]:
        """The files of the fitted models, relative to the folder."""
        return tuple(sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*.safetensors")))

    def finished(self) -> "Run | None":
        """The run; None if it is not finished or cannot be used."""
        try:
            return self.read()
        except (FileNotFoundError, UnusableRun):
            return None

    def is_of_another(self, key: str) -> bool:
        """Whether the folder belongs to a training with another fingerprint, or to another version's."""
        try:
            return read_json(self.mark).get("fingerprint") != key
        except (FileNotFoundError, DamagedFile):
            pass
        try:
            return self.read().fingerprint != key
        except OtherVersion:
            return True
        except (FileNotFoundError, UnusableRun):
            return False


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
    image_shape: (height, width) in pixels of the cached images that it was trained on.
    image_fit: how images of another aspect ratio were brought to that size.
    cache_size: --cache-size of the training.
    fold_folders: the subfolders with one fitted model each: a single one, or one per fold. The single one of a model
        that was fitted to all images after its folds is ``REFIT``.
    model_files: the files of these models, relative to the run's folder.
    seconds: of training and validation.
    parameters: number of weights of one fitted model.
    plan: the recipe, with the images and time it was given; enough to repeat the run.
    finished_at: when it was finished. requested_at: when a command last finished it, or found it finished.
    """

    options: Options
    fingerprint: str
    task: Task
    image_shape: tuple[int, int]
    fold_folders: tuple[str, ...]
    model_files: tuple[str, ...]
    score: Score
    seconds: float
    parameters: int
    plan: ModelPlan
    finished_at: AwareDatetime
    requested_at: AwareDatetime
    image_fit: Fit = "squash"
    cache_size: int | None = None
    format: Literal[3] = FORMAT

    @property
    def recipe(self) -> AnyRecipe:
        return self.plan.recipe

    @property
    def splits(self) -> int:
        """The number of models that validated it, each of them some of the images."""
        is_trained_again = self.recipe.is_network and self.fold_folders == (REFIT,)
        return max(1, len(self.plan.fits) - is_trained_again)

    @property
    def shape(self) -> tuple[Size, Fit]:
        """The size of its images, and how others were brought to it."""
        return self.image_shape, self.image_fit

    @property
    def name(self) -> str:
        """The name of its folder; no other run of the competition has it."""
        return run_name(self.recipe.name, self.options)

    def write(self, folder: RunFolder) -> None:
        write_json(folder.record, TypeAdapter(Run).dump_python(self, mode="json"))

    def requested_again(self, folder: RunFolder, cache_size: int | None = None) -> "Run":
        """The run, requested now with that --cache-size, also in its record. folder: the run's own."""
        run = replace(self, requested_at=datetime.now(UTC), cache_size=cache_size)
        run.write(folder)
        return run

    def models(self, folder: RunFolder, device: torch.device) -> list[Model]:
        """The fitted models, whose predictions are to be averaged. folder: the run's own."""
        return [self.recipe.load(folder.fold(name).path, device) for name in self.fold_folders]


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A finished run and what its folder says about its validation and its data.

    validated: the predictions for the validation images, with their labels.
    data: the labelled images that it was trained and validated on.
    """

    folder: RunFolder
    run: Run
    validated: Predictions
    data: DataRecord

    def row(self, metric: Metric, ids: Sequence[str] = ()) -> ModelScore:
        """Its row of scores.csv, by the given metric. ids: measure on some of its validation images only."""
        run, predictions = self.run, self.validated.aligned_to(ids or self.validated.ids)
        known = run.score if len(predictions) == len(self.validated) else None
        found = score_by(metric, known, predictions.probabilities, predictions.known_targets)
        return ModelScore(run.recipe.name, found, run.seconds, run.parameters, options_text(run.options))


def ranked(runs: Iterable[StoredRun], metric: Metric, ids: Sequence[str] = ()) -> list[ModelScore]:
    """The rows of these runs, best first. metric, ids: see ``StoredRun.row``."""
    return sorted((run.row(metric, ids) for run in runs), key=lambda row: -row.score.rank)


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
    value = value.resolve().stem if isinstance(value, Path) else value
    value = "yes" if value is True else value
    text = "none" if value is None else f"{value:.12g}s" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w.-]+", "-", text)


def folder_for(runs: Path, recipe: str, options: Options, key: str) -> tuple[RunFolder, Options]:
    """The folder of a training, which need not exist yet, and the options in its name; see ``begin_run``."""
    numbered = (options if number == 1 else options | {"run": str(number)} for number in count(1))
    folders = ((RunFolder(runs / run_name(recipe, each)), each) for each in numbered)
    return next((folder, each) for folder, each in folders if not folder.is_of_another(key))


def begin_run(
    runs: Path, recipe: str, options: Options, key: str, fresh: bool
) -> tuple[RunFolder, Options, Run | None]:
    """Prepare the folder of a training. Returns the folder, the options in its name, and the run if it is finished.

    If a run of the same name has another fingerprint, as its images or its recipe were different, the new run gets a
    number in its options. No run replaces another. A finished run that is damaged is removed, with a line that says so.

    runs: the folder ``runs/<competition>``. key: fingerprint of the training.
    fresh: remove what the same training has written there before, also with a line.
    """
    folder, options = folder_for(runs, recipe, options, key)
    run, fault = _finished_before(folder)
    if fresh and not fault and os.path.lexists(folder.path):
        fault = f"--fresh removes {_described(run) if run else 'what an unfinished training left'}"
    if fault:
        print(f"warning: {folder.path.name}: {fault}; training it again")
        discard(folder.path)
        run = None
    if folder.mark.is_dir():
        discard(folder.mark)
    write_json(folder.mark, {"fingerprint": key})
    return folder, options, run


def _finished_before(folder: RunFolder) -> tuple[Run | None, str]:
    """The run that was finished in the folder, if it is sound, and what is wrong with the folder, if anything is."""
    try:
        return folder.load().run, ""
    except UnusableRun as error:
        return None, str(error)
    except FileNotFoundError:
        return None, _fault_of_unfinished(folder)


def _fault_of_unfinished(folder: RunFolder) -> str:
    try:
        read_json(folder.mark)
    except (FileNotFoundError, DamagedFile):
        holds_files = any(not path.name.startswith(".") for path in folder.path.glob("*"))
        return _fault_of(folder.mark) if holds_files else ""
    return ""


def _fault_of(path: Path) -> str:
    """What is wrong with a file that cannot be used."""
    return f"{path.name} is {'damaged' if path.exists() else 'missing'}"


def _described(run: Run) -> str:
    return f"the run of {run.finished_at:%Y-%m-%d %H:%M} UTC ({run.score} on validation)"


def run_folders(folder: Path, patterns: Sequence[str] = ()) -> list[RunFolder]:
    """The folders of finished runs in ``runs/<competition>``; with patterns, of those whose recipe or name matches one.

    patterns: as for ``choose_recipes``; a TOML file stands for the recipe of the same name, see ``recipe_name``.
    Raises UserError if there is no run, or none that matches one of the patterns.
    """
    names = sorted(place.parent.name for place in _records(folder))
    if not names and (begun := unfinished_runs(folder)):
        raise UserError(f"{folder} holds no trained model; {not_finished(begun[0])}")
    if not names:
        others = [place.name for place in folder.parent.glob("*") if any(_records(place))]
        hint = did_you_mean(folder.name, others)
        raise UserError(f"{folder} holds no trained model{hint}; run pipeline/train.py first")
    chosen = {name: None for pattern in patterns for name in _matching(names, pattern, folder)}
    return [RunFolder(folder / name) for name in (chosen if patterns else names)]


def unfinished_runs(folder: Path, patterns: Sequence[str] = ()) -> list[str]:
    """The names of the runs in ``runs/<competition>`` that were begun but not finished.

    patterns: see ``run_folders``.
    """
    begun = {place.parent.name for name in MARKS for place in folder.glob(f"*/{name}")}
    finished = {place.parent.name for place in _records(folder)}
    names = [name for name in sorted(begun - finished) if not name.startswith(".")]
    return [name for name in names if not patterns or any(_is_meant(name, pattern) for pattern in patterns)]


def not_finished(name: str) -> str:
    return f"{printable(name)} is not finished; run the same train.py command again to finish it"


def _records(folder: Path) -> Iterator[Path]:
    """The records of finished runs; hidden folders are being removed."""
    return (place for place in folder.glob(f"*/{RECORD}") if not place.parent.name.startswith("."))


def _matching(names: Sequence[str], pattern: str, folder: Path) -> list[str]:
    matching = [name for name in names if _is_meant(name, pattern)]
    if not matching:
        pattern = recipe_name(pattern)
        near = get_close_matches(pattern, names, n=3, cutoff=0.4) or names
        raise UserError(f"no trained model is called {pattern!r} in {folder}; there are {', '.join(near)}")
    return matching


def _is_meant(name: str, pattern: str) -> bool:
    """Whether a pattern matches the name of a run, or of its recipe."""
    pattern = recipe_name(pattern)
    return fnmatchcase(name, pattern) or fnmatchcase(name.split("~", maxsplit=1)[0], pattern)


def stored_runs(folders: Iterable[RunFolder], check_models: bool = True) -> tuple[dict[str, StoredRun], dict[str, str]]:
    """The runs in these folders by name, and the reasons why some of them cannot be used, also by name.

    check_models: see ``RunFolder.load``.
    """
    runs, reasons = {}, {}
    for folder in folders:
        try:
            runs[folder.path.name] = folder.load(check_models)
        except UnusableRun as error:
            reasons[folder.path.name] = str(error)
    return runs, reasons


def leave_out(reasons: dict[str, str]) -> None:
    """Print which runs are left out and why, one line for each reason. reasons: by the run's name."""
    for reason in dict.fromkeys(reasons.values()):
        names = [name for name, its_reason in reasons.items() if its_reason == reason]
        print(f"warning: left out, as {reason}: {first_few(names, 9)}")


def newest_run(runs: Iterable[Run]) -> Run:
    """The run that a command last finished, or last found finished."""
    return max(runs, key=lambda run: run.requested_at)


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
    folder, run = max(finished, key=lambda each: each[1].requested_at)
    return folder.fold(run.fold_folders[0])
