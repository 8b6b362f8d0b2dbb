"""Finds out which flips and rotations preserve the class, by training a small trial network.

The trial network is trained on upright images only, and then predicts flipped and rotated validation images. If it
recognises them nearly as well as the upright ones, they look like other images of the same class, and training on
them helps. If it does not (digits, or most photographs upside down), a network would be trained on images that never
occur.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from competition.metrics import metrics_for
from competition.spec import Competition, Symmetries
from competition.splits import stratified_rows
from competition.task import Task, strata
from pipeline.data.cache import ImageCache, Images, rows_of
from pipeline.data.small_images import resized_rows
from pipeline.data.training_data import TrainingData
from pipeline.models.base import NotTrained
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork, Steps
from pipeline.models.recipe import RECIPES, AnyRecipe, NeuralRecipe, fingerprint, load_recipe
from pipeline.settings import Settings
from pipeline.training.kept import keep, read_kept

IMAGES, VALIDATION_IMAGES = 6_000, 2_000  # at most, drawn class by class
SIDE, WIDTH, BATCH = 32, 16, 64
STEPS = 250  # of the training: enough to distinguish shapes, in a few seconds
# Least accuracy above chance, as a fraction of that on upright images: on mirrored images, and on every kind of image.
MIRROR, ALL = 0.6, 0.9
TELLING = 0.1  # the least accuracy above chance for the trial network's result to be used
ENOUGH = 0.4  # the least share of its training after which the trial network's result is used

KEPT = "symmetries.json"  # in the folder of a competition's runs

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda images: images[:, :, ::-1],
    "upside down": lambda images: images[:, ::-1],
    "transposed": lambda images: images.swapaxes(1, 2),
}


@dataclass(frozen=True)
class SymmetryCheck:
    """The trial network's accuracy on validation images, each in [0, 1].

    upright: on the images as they are. turned: on transformed images, by the kind of flip or rotation.
    chance: the share of the most frequent class.
    fingerprint: of everything that the result depends on.
    trained: the share of its training that the trial network had time for, in [0, 1].
    """

    upright: float
    turned: dict[str, float]
    chance: float
    fingerprint: str
    trained: float = 1.0

    @property
    def symmetries(self) -> Symmetries:
        """All eight views if every kind is recognised, mirroring if most mirrored images are, else none.

        Mirroring is also the choice if the trial network has learnt too little to decide. Mirrored images need a lower
        accuracy than the others: if all shoes in the data point left, a network misses many that point right, although
        they are still shoes. A network that had too little time for its training decides nothing: none is safe.
        """
        if self.trained < ENOUGH:
            return "none"
        known = self.upright - self.chance
        if known < TELLING:
            return "mirror"
        recognised = {kind: (accuracy - self.chance) / known for kind, accuracy in self.turned.items()}
        if min(recognised.values()) >= ALL:
            return "all"
        return "mirror" if recognised["mirrored"] >= MIRROR else "none"

    def __str__(self) -> str:
        turned = ", ".join(f"{kind} {accuracy:.3f}" for kind, accuracy in self.turned.items())
        accuracies = f"upright {self.upright:.3f}, {turned}"
        if self.trained < 1:
            accuracies += f"; there was time for {self.trained:.0%} of its training"
        return f"flips and rotations: {self.symmetries} (a trial network's accuracy: {accuracies})"


def settle_symmetries(
    competition: Competition,
    recipes: Sequence[AnyRecipe],
    training_data: TrainingData,
    settings: Settings,
    device: torch.device,
    end: float | None = None,
) -> Competition:
    """The competition with its symmetries; if a recipe needs them and they are not set, a trial network finds them.

    The result is kept in the folder of the competition's runs, for the next command on the same images.
    end: when the trial has to end, on the clock of ``time.monotonic``; without time for it, the answer is "none".
    """
    if competition.symmetries is not None or not any(map(_wants_symmetries, recipes)):
        return competition
    folder = settings.runs_folder(competition.name)
    try:
        check = _checked_once(training_data, settings, device, folder, end)
    except NotTrained:
        print("flips and rotations: none (the trial network that looks for them could not be trained)")
        return replace(competition, symmetries="none")
    print(check)
    return replace(competition, symmetries=check.symmetries)


def _wants_symmetries(recipe: AnyRecipe) -> bool:
    return recipe.views != "one" or any(step.name == "Symmetries" for step in recipe.augment)


def _checked_once(
    training_data: TrainingData,
    settings: Settings,
    device: torch.device,
    folder: Path,
    end: float | None,
) -> SymmetryCheck:
    """The check kept in the folder if it is of the same images; otherwise a new one, which is kept if it is whole."""
    train, validation = training_data.splits[0]
    images, labels = training_data.images, training_data.labels
    key = fingerprint(training_data.fingerprint, settings.seed, _upright_recipe().model_dump())
    if (kept := read_kept(folder / KEPT, SymmetryCheck, key)) is not None:
        return kept
    seen, unseen = ((images.subset(rows), labels[rows]) for rows in (train, validation))
    check = check_symmetries(seen, unseen, training_data.task, settings.seed, device, key, end)
    if check.trained == 1:
        keep(folder / KEPT, check)
    return check


def check_symmetries(
    train: tuple[ImageCache, np.ndarray],
    validation: tuple[ImageCache, np.ndarray],
    task: Task,
    seed: int,
    device: torch.device,
    fingerprint: str = "",
    end: float | None = None,
) -> SymmetryCheck:
    """Train the trial network on upright images only, and measure its accuracy on flipped and rotated ones.

    train, validation: images uint8 ``[N, H, W, 3]`` and labels int64 ``[N]`` or ``[N, T]``.
    fingerprint: stored with the result.
    end: when the check has to end, on the clock of ``time.monotonic``; the training is then shorter if need be.
    Raises NotTrained if there is no time at all, or if the loss is not finite.
    """
    if end is not None and time.monotonic() >= end:
        raise NotTrained("no time is left for the trial of flips and rotations")
    images, labels = _small(*train, IMAGES, seed)
    seen, truth = _small(*validation, VALIDATION_IMAGES, seed)
    with tempfile.TemporaryDirectory() as folder:
        recipe = trial_recipe(len(labels))
        network = trial_network(recipe, task, Path(folder), "none", trial_plan(recipe.epochs, end), seed, device)
        network.fit(images, labels, seen, truth)
    steps = sum(segment.batches for segment in network.trained)
    return SymmetryCheck(
        upright=_accuracy(network, seen, truth),
        turned={kind: _accuracy(network, turn(seen), truth) for kind, turn in TURNS.items()},
        chance=float(np.mean([np.bincount(each).max() / len(each) for each in truth.reshape(len(truth), -1).T])),
        fingerprint=fingerprint,
        trained=min(1.0, steps / (recipe.epochs * Steps.of(len(labels), BATCH).steps_per_epoch)),
    )


def trial_plan(epochs: int, end: float | None) -> NetworkPlan:
    """How long a trial network is trained: until ``end``, on the clock of ``time.monotonic``, or all epochs."""
    if end is None:
        return NetworkPlan(epochs=epochs)
    return NetworkPlan(deadline=end, predictions_after=1 + len(TURNS), is_required=False)


def _small(images: Images, labels: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``most`` of the images and their labels, resized as by ``trial_images``."""
    rows = stratified_rows(strata(labels), min(most, len(labels)), seed)
    return trial_images(rows_of(images, rows)), labels[rows]


def trial_images(images: Images) -> np.ndarray:
    """The images, uint8 ``[N, H, W, 3]``, resized to squares of at most SIDE pixels a side."""
    side = min(SIDE, *images.shape[1:3])
    return resized_rows(images, np.arange(len(images)), (side, side))


def trial_recipe(images: int) -> NeuralRecipe:
    """The recipe of a trial network that learns from that many images, upright ones only."""
    epochs = max(1, round(STEPS / Steps.of(images, BATCH).steps_per_epoch))
    return _upright_recipe().model_copy(update={"epochs": epochs})


def trial_network(
    recipe: NeuralRecipe,
    task: Task,
    folder: Path,
    symmetries: Symmetries,
    plan: NetworkPlan,
    seed: int,
    device: torch.device,
) -> NeuralNetwork:
    """A network for the task that is only tried. folder: for its checkpoint. symmetries: that it is trained with."""
    metric, targets = metrics_for(task)[0], task.target_count
    return NeuralNetwork(recipe, task.choices, folder, symmetries, plan, seed, device, metric=metric, targets=targets)


def _upright_recipe() -> NeuralRecipe:
    """The sprint recipe with a small network, one image size, and no flips or rotations."""
    sprint = load_recipe(RECIPES / "sprint.toml")
    assert isinstance(sprint, NeuralRecipe)
    network = sprint.network.model_copy(update={"width": WIDTH})
    upright = tuple(step for step in sprint.augment if step.name != "Symmetries")
    changes = {"name": "flips and rotations", "network": network, "augment": upright, "batch_size": BATCH}
    return sprint.model_copy(update=changes | {"growing": (1.0,), "tiers": (), "views": "one"})


def _accuracy(network: NeuralNetwork, images: np.ndarray, labels: np.ndarray) -> float:
    choices = network.predict_proba(images).reshape(labels.size, -1)  # a row for each target of each image
    return float((choices.argmax(1) == labels.ravel()).mean())
