"""What lies under runs/: one folder a trained model, with all that a later command has to know."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from competition.errors import UserError
from competition.storage import atomic_write
from competition.task import Label
from pipeline.models.classical.features import OnFeatures
from pipeline.models.classical.registry import CLASSIFIERS, Classifier
from pipeline.models.neural.network import NeuralNetwork
from pipeline.models.neural.seed_ensemble import SeedEnsemble
from pipeline.models.recipe import NeuralRecipe
from pipeline.training.planning import ModelPlan
from pipeline.training.scores import ModelScore, Score

Model = Classifier | NeuralNetwork | OnFeatures


@dataclass(frozen=True)
class Run:
    """A trained model, as run.json keeps it.

    classifier: the classical one's name; None for a network.
    features: the name of what it sees of the images; None for the pixels.
    fingerprint: of all that shaped it; the same command finds it and does not train again.
    validation: fingerprint of the images that it was scored on.
    image_shape: (height, width) of the images it was trained on.
    fold_folders: the folders below this one that hold a fitted model each: one, or one a fold.
    seconds: of training and validation.
    plan: what it got, for a repetition.
    """

    model: str
    classifier: str | None
    features: str | None
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
    def row(self) -> ModelScore:
        return ModelScore(self.model, self.score, self.seconds, self.parameters)

    def write(self, folder: Path) -> None:
        """To be written last: a folder without run.json holds nothing finished."""
        with atomic_write(folder / "run.json") as path:
            path.write_bytes(TypeAdapter(Run).dump_json(self, indent=1))

    def models(self, folder: Path, device: torch.device) -> list[Model]:
        """The fitted models, to be averaged. folder: the run's own."""
        return [self._model(folder / member, device) for member in self.fold_folders]

    def _model(self, place: Path, device: torch.device) -> Model:
        if self.classifier is not None:
            model = CLASSIFIERS[self.classifier].load(place)
        else:
            model = SeedEnsemble.load(place, device)
        return model if self.features is None else OnFeatures.load(place, self.features, model, device)


def read_run(folder: Path) -> Run | None:
    """None where nothing was finished, or another version of the pipeline wrote it."""
    try:
        return TypeAdapter(Run).validate_json((folder / "run.json").read_bytes())
    except (OSError, ValidationError):
        return None


def begin_run(folder: Path, key: str, fresh: bool) -> None:
    """Make ``folder`` ready for the training of that fingerprint: what another one left there is removed."""
    mark = folder / "fingerprint"
    if fresh or not mark.is_file() or mark.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_write(mark) as path:
            path.write_text(key)


def finished_runs(folder: Path, patterns: Sequence[str] = ()) -> dict[str, Run]:
    """All finished runs in ``runs/<competition>``, or those that match a name or pattern, by model.

    Raises UserError where there is none, or none for one of the patterns.
    """
    runs = {run.model: run for place in sorted(folder.glob("*/")) if (run := read_run(place))}
    if not runs:
        raise UserError(f"{folder} holds no trained model; run pipeline/train.py first")
    if not patterns:
        return runs
    chosen: dict[str, Run] = {}
    for pattern in patterns:
        matching = {name: run for name, run in runs.items() if fnmatchcase(name, pattern)}
        if not matching:
            near = get_close_matches(pattern, runs, n=3, cutoff=0.4) or sorted(runs)
            raise UserError(f"no trained model is called {pattern!r} in {folder}; there are {', '.join(near)}")
        chosen |= matching
    return chosen


def transfer_source(recipe: NeuralRecipe, runs: Path, competition: str) -> Path:
    """The folder of the network that a recipe with ``transfer_from`` starts from.

    It is the newest that the named recipe has trained on another competition; of several folds, the first.
    runs: the folder runs/. Raises UserError where there is none.
    """
    places = [place for place in runs.glob(f"*/{recipe.transfer_from}") if place.parent.name != competition]
    finished = [(place, run) for place in places if (run := read_run(place))]
    if not finished:
        raise UserError(
            f"{recipe.name} starts from a network that {recipe.transfer_from} has trained on another competition, and "
            f"{runs}/*/{recipe.transfer_from} holds none; train one first: "
            f"train.py --competition OTHER --models {recipe.transfer_from}"
        )
    place, run = max(finished, key=lambda each: (each[0] / "run.json").stat().st_mtime_ns)
    return place / run.fold_folders[0]


def newest_run(folder: Path, runs: dict[str, Run]) -> Run:
    """The one that a command finished, or found finished, last. folder: where the runs lie."""
    return runs[max(runs, key=lambda name: (folder / name / "run.json").stat().st_mtime_ns)]


def same_validation(folder: Path, runs: dict[str, Run]) -> tuple[dict[str, Run], list[str]]:
    """The runs validated on the same images as the newest one, and the names of the others.

    folder: ``runs/<competition>``, where the runs lie.
    """
    validation = newest_run(folder, runs).validation
    same = {name: run for name, run in runs.items() if run.validation == validation}
    return same, [name for name in runs if name not in same]
