"""Finds out for a small set of images whether training with flipped and rotated ones helps.

A network that has learnt from few images, none of them mirrored, misjudges many mirrored ones, although they are as
good examples of their class as any. So the question here is another than in symmetries.py: are images that a model has
not seen told apart better if it has also learnt from flipped and rotated ones? Models are trained with and without
them on parts of the images, and predict the others as they are. They are logistic regressions on frozen ImageNet
features or, where there are no weights, small networks.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from competition.spec import Competition, Symmetries
from competition.splits import stratified_folds, stratified_rows
from competition.task import Task, strata
from pipeline.data.training_data import TrainingData
from pipeline.models.base import NotTrained
from pipeline.models.classical.base import Classifier
from pipeline.models.classical.features import Lite0Features
from pipeline.models.classical.linear import LogisticRegression
from pipeline.models.classical.per_target import PerTarget
from pipeline.models.networks.pretrained import LITE0_SIZE
from pipeline.models.networks.weights import LITE0, at_hand
from pipeline.models.recipe import Named, fingerprint
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.settings import Settings
from pipeline.training.kept import keep, read_kept
from pipeline.training.symmetries import KEPT, TURNS, trial_images, trial_network, trial_plan, trial_recipe

IMAGES = 300  # at most, drawn class by class
PARTS = 3
C = 0.003  # of the regressions, divided by the number of views that one learns from
LEARNT: dict[Symmetries, int] = {"none": 0, "mirror": 1, "all": len(TURNS)}  # of the TURNS, besides the image as it is
DOUBT = 1.0  # standard errors by which the loss may be higher with mirrored images, and must be lower with all kinds

# symmetries, rows to learn from, rows to predict -> probabilities of these
Learn = Callable[[Symmetries, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ExamplesCheck:
    """The log loss on images that were not learnt from, by the flips and rotations that were.

    losses: the means. errors: of ``mirror`` and ``all``, the standard error of the difference to ``none`` and
        ``mirror``.
    """

    losses: dict[Symmetries, float]
    errors: dict[Symmetries, float]
    fingerprint: str

    @property
    def symmetries(self) -> Symmetries:
        """Mirroring unless it is clearly worse than none, all eight views if they are clearly better than mirroring."""
        losses, errors = self.losses, self.errors
        if losses["mirror"] - losses["none"] > DOUBT * errors["mirror"]:
            return "none"
        return "all" if losses["mirror"] - losses["all"] > DOUBT * errors["all"] else "mirror"

    def __str__(self) -> str:
        losses = ", ".join(f"{name} {self.losses[kind]:.3f}" for kind, name in NAMES.items())
        return f"flips and rotations: {self.symmetries} (log loss of small models: {losses})"


NAMES: dict[Symmetries, str] = {
    "none": "without",
    "mirror": "trained with mirrored images",
    "all": "with rotated ones too",
}


def settle_by_examples(
    competition: Competition, training_data: TrainingData, settings: Settings, device: torch.device, end: float | None
) -> Competition:
    """The competition with its symmetries; if they are not set, trial models find them.

    The result is kept as that of ``settle_symmetries`` is. end: see there; without time, photographs are mirrored.
    """
    if competition.symmetries is not None:
        return competition
    try:
        with time_limit(math.inf if end is None else end):
            check = _checked_once(training_data, settings, device, settings.runs_folder(competition.name), end)
    except (NotTrained, OutOfTime):
        usual: Symmetries = "mirror" if max(training_data.images.shape[1:3]) > LITE0_SIZE else "none"
        print(f"flips and rotations: {usual} (the trial models that look for them could not be trained)")
        return replace(competition, symmetries=usual)
    print(check)
    return replace(competition, symmetries=check.symmetries)


def _checked_once(
    training_data: TrainingData, settings: Settings, device: torch.device, folder: Path, end: float | None
) -> ExamplesCheck:
    key = fingerprint(training_data.fingerprint, settings.seed, at_hand(LITE0, settings.weights), IMAGES, PARTS, C)
    if (kept := read_kept(folder / KEPT, ExamplesCheck, key)) is not None:
        return kept
    labels, task = training_data.labels[: training_data.labelled], training_data.task
    rows = stratified_rows(strata(labels), min(IMAGES, len(labels)), settings.seed)
    images, labels = training_data.images[rows], labels[rows]
    if at_hand(LITE0, settings.weights):
        learn = learning_from_features(images, labels, task, device, settings.weights)
        check = check_examples(learn, labels, stratified_folds(strata(labels), PARTS, seed=0), key)
    else:
        learn = learning_by_networks(images, labels, task, device, settings.seed, end)
        check = check_examples(learn, labels, stratified_folds(strata(labels), 2, seed=0)[:1], key)
    keep(folder / KEPT, check)
    return check


def check_examples(
    learn: Learn, labels: np.ndarray, splits: list[tuple[np.ndarray, np.ndarray]], fingerprint: str = ""
) -> ExamplesCheck:
    """Compare models that have learnt with and without flipped and rotated images.

    labels: of the images, int64 ``[N]`` or ``[N, T]``. splits: pairs of rows, to learn from and to predict.
    fingerprint: stored with the result.
    """

    def losses_of(kind: Symmetries) -> np.ndarray:
        return np.concatenate([_losses(learn(kind, train, rows), labels[rows]) for train, rows in splits])

    found = {kind: losses_of(kind) for kind in LEARNT}
    differences: dict[Symmetries, np.ndarray]
    differences = {"mirror": found["mirror"] - found["none"], "all": found["all"] - found["mirror"]}
    return ExamplesCheck(
        losses={kind: float(losses.mean()) for kind, losses in found.items()},
        errors={kind: float(each.std() / len(each) ** 0.5) for kind, each in differences.items()},
        fingerprint=fingerprint,
    )


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The log loss of each image, summed over its targets."""
    choices = probabilities.reshape(labels.size, -1)
    likely = choices[np.arange(labels.size), labels.ravel()].clip(1e-7)
    return -np.log(likely).reshape(len(labels), -1).sum(axis=1)


def learning_from_features(
    images: np.ndarray, labels: np.ndarray, task: Task, device: torch.device, weights: Path | None
) -> Learn:
    """Logistic regressions on lite0's frozen features of the images and their flipped and rotated versions."""
    features = Lite0Features(sizes=[LITE0_SIZE], views="one").fit(images, labels, weights)
    turned = [features.transform(np.ascontiguousarray(images), device)]
    turned += [features.transform(np.ascontiguousarray(turn(images)), device) for turn in TURNS.values()]

    def learn(kind: Symmetries, train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        views = 1 + LEARNT[kind]

        def build() -> Classifier:
            return LogisticRegression(task.choices, [{"C": C / views}])

        model = build() if task.target_count == 1 else PerTarget(build, task.target_count)
        seen = np.concatenate([rows[train] for rows in turned[:views]])
        known = np.concatenate([labels[train]] * views)
        return model.fit(seen, known, turned[0][held_out], labels[held_out]).predict_proba(turned[0][held_out])

    return learn


def learning_by_networks(
    images: np.ndarray, labels: np.ndarray, task: Task, device: torch.device, seed: int, end: float | None
) -> Learn:
    """Trial networks, as in symmetries.py. end: of the trainings on one split, on the clock of ``time.monotonic``."""
    images, left = trial_images(images), len(LEARNT)

    def learn(kind: Symmetries, train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        nonlocal left
        now = time.monotonic()
        recipe = trial_recipe(len(train))
        recipe = recipe.model_copy(update={"augment": (*recipe.augment, Named(name="Symmetries"))})
        plan = trial_plan(recipe.epochs, None if end is None else now + (end - now) / left)
        left -= 1
        with TemporaryDirectory() as folder:
            network = trial_network(recipe, task, Path(folder), kind, plan, seed, device)
            network.fit(images[train], labels[train], images[held_out], labels[held_out])
        return network.predict_proba(images[held_out])

    return learn
