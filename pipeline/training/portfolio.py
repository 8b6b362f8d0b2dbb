"""The portfolio: which models are trained, and in how many folds, where the command line does not say.

It follows the device, the budget and the data. Where ImageNet weights are at hand and there is time for enough epochs,
the time goes to a network that starts from them, and not to one from scratch. A small set is split into folds, so that
each of its few images validates.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from competition.metrics import ACCURACY
from competition.spec import Competition
from competition.splits import stratified_rows
from competition.task import strata
from pipeline.data.training_data import TrainingData
from pipeline.models.base import ModelContext
from pipeline.models.classical.features import bounded
from pipeline.models.networks.pretrained import LITE0_SIZE
from pipeline.models.networks.weights import LITE0, at_hand, weights_file
from pipeline.models.neural.network import NeuralNetwork
from pipeline.models.recipe import AnyRecipe, Named, NeuralRecipe, fingerprint
from pipeline.settings import MOST_FOLDS, Settings
from pipeline.training.kept import keep, read_kept
from pipeline.training.planning import CAUTION, products_a_second, workload_of
from pipeline.training.symmetries import KEPT, SymmetryCheck

BASELINES = ("dhc-gaussian-nb", "dhc-knn-sweep", "dhc-svm")
FROM_SCRATCH = "sprint"
FROZEN = "lite0-logreg"
FINE_TUNED = "efficientnet-lite0"
FINE_TUNED_ON_PHOTOGRAPHS = "efficientnet-lite0-photographs"
FINE_TUNED_SHORTLY = "efficientnet-lite0-short"
FINE_TUNED_SMALLER, SMALLER_SIZE = "efficientnet-lite0-96", 96  # pixels a side
BACKBONES = (  # of different kinds; on a GPU those whose weights are at hand are fine-tuned in place of lite0
    "timm/convnext_tiny.fb_in22k_ft_in1k",
    "timm/tf_efficientnetv2_s.in21k_ft_in1k",
    "timm/swin_tiny_patch4_window7_224.ms_in22k_ft_in1k",
)
ANOTHER, ALL_BACKBONES = 1800.0, 4 * 3600.0  # seconds of budget from which two of them are trained, and all three
LONG_TRAINING = 15_000  # images, counting repeats, from which batch norms are worth learning; see TRIALS.md
LONG = 1800.0  # seconds; from there on small pictures are fine-tuned beside sprint, however few epochs that are
SMALL_SET = 2_000  # training images below which folds are the default
FOLDS = (5, 4, 3)
FOLD_EPOCHS = 8.0  # of fine-tuning in each fold; with fewer, there are fewer folds
FEWEST_EPOCHS = 2.0  # of fine-tuning in each of the fewest folds; with fewer, there is none
ENOUGH_EPOCHS = 1.0  # of fine-tuning at lite0's size instead of sprint
ENOUGH_BESIDE = 0.6  # epochs of fine-tuning at the smaller size beside sprint
FOLDED_SECONDS = 60.0  # of budget; with less, a set is not split into folds
FINE_TUNING_SHARE = 0.85  # of the time after the features; the rest is for predicting and validating
FEATURES_SHARE = 0.15  # of the time, at most, for frozen features
FEATURES = (  # sizes and views of lite0's features of photographs, the best first
    ((160, 224, 256), "mirror"),
    ((160, 256), "mirror"),
    ((256,), "mirror"),
    ((224,), "mirror"),
    ((224,), "one"),
    ((192,), "one"),
    ((160,), "one"),
    ((128,), "one"),
)
GRID = [{"C": 0.001}, {"C": 0.003}, {"C": 0.01}, {"C": 0.03}]  # for photographs and small sets
PROBED, PROBED_VALIDATION = 1_500, 1_000  # images, at most, on which frozen features are tried
PROBE_C = 0.003


@dataclass(frozen=True)
class Portfolio:
    """recipes: of the models. folds: 1 for a single split. told: a line for the user; empty if there is none.

    fingerprint: of everything that the choice depends on except the speed of the machine.
    """

    recipes: tuple[AnyRecipe, ...]
    folds: Annotated[int, Field(ge=1, le=MOST_FOLDS)]
    told: str
    fingerprint: str


def candidates(settings: Settings, device: torch.device) -> tuple[str, ...]:
    """The names of the recipes that are trained if none are named; a run without --epochs chooses among them.

    If a long run could use ImageNet weights that are missing, print how to get them.
    """
    is_long = settings.budget is None or settings.budget >= LONG
    if not at_hand(LITE0, settings.weights):
        if is_long:
            print(f"no ImageNet weights found; to also fine-tune {FINE_TUNED}, {weights_file(LITE0).remedy}")
        return (*BASELINES, FROM_SCRATCH)
    if settings.epochs is not None:
        return (*BASELINES, FROM_SCRATCH, FINE_TUNED)
    larger = BACKBONES if device.type == "cuda" else ()
    folder = settings.weights if settings.weights is not None and settings.weights.is_dir() else None
    at_hand_too = [network for network in larger if at_hand(network, folder)]
    fine_tuned = (FINE_TUNED, FINE_TUNED_ON_PHOTOGRAPHS, FINE_TUNED_SHORTLY, FINE_TUNED_SMALLER)
    return (*BASELINES, FROM_SCRATCH, FROZEN, *fine_tuned, *at_hand_too)


def is_small(competition: Competition) -> bool:
    """Whether it has so few training images that each of them has to validate."""
    return len(competition.train) < SMALL_SET


def settle_portfolio(
    recipes: list[AnyRecipe],
    competition: Competition,
    training_data: TrainingData,
    settings: Settings,
    device: torch.device,
    end: float | None,
) -> Portfolio:
    """Choose among the candidates, once: the choice is kept in the folder of the competition's runs.

    So the same command goes on with the same models, however fast the machine is then.
    end: of the training, on the clock of ``time.monotonic``; None: no limit.
    """
    path = settings.runs_folder(competition.name) / "portfolio.json"
    asked = [recipe.model_dump() for recipe in recipes]
    wish = [settings.seed, settings.folds, settings.budget, device.type, competition.metric.name]
    key = fingerprint(training_data.fingerprint, competition.symmetries, asked, wish)
    if (kept := read_kept(path, Portfolio, key)) is not None:
        return kept
    choice = Choice({each.name: each for each in recipes}, competition, training_data, settings, device, end)
    portfolio = choice.portfolio(key)
    keep(path, portfolio)
    return portfolio


@dataclass(frozen=True, eq=False)
class Choice:
    """The choice of a portfolio. recipes: the candidates, by name. end: see ``settle_portfolio``."""

    recipes: dict[str, AnyRecipe]
    competition: Competition
    training_data: TrainingData
    settings: Settings
    device: torch.device
    end: float | None

    def portfolio(self, key: str) -> Portfolio:
        names, folds = self._chosen()
        told = f"few training images: {folds} folds, so that each of them validates (--folds 1 turns them off)"
        is_default = folds > 1 and self.settings.folds is None
        return Portfolio(tuple(map(self._recipe, names)), folds, told if is_default else "", key)

    def _chosen(self) -> tuple[tuple[str, ...], int]:
        """The names of the models, and the number of folds."""
        if FROZEN not in self.recipes:
            return (*BASELINES, FROM_SCRATCH), self._folds(lambda folds: self.seconds / folds >= FOLDED_SECONDS / 3)
        if is_small(self.competition):
            folds = self._folds(lambda folds: self.epochs(folds) >= FOLD_EPOCHS)
            if self.epochs(folds) >= FEWEST_EPOCHS:
                return (FROZEN, *self._fine_tuned(folds)), folds
            return (FROZEN,), self._folds(lambda folds: True)
        return self._of_many(), len(self.training_data.splits)

    def _of_many(self) -> tuple[str, ...]:
        """The names of the models for a set that is not small."""
        if not self.are_photographs and self.seconds_given >= LONG:
            return (*BASELINES, FROM_SCRATCH, FINE_TUNED)
        folds = len(self.training_data.splits)
        if self.epochs(folds) >= ENOUGH_EPOCHS and self.is_ahead:
            return (FROZEN, *self._fine_tuned(folds))
        if self._suits_smaller_size and self.is_ahead:
            return (FROM_SCRATCH, FINE_TUNED_SMALLER)
        return (*BASELINES, FROM_SCRATCH, FROZEN)

    @property
    def _suits_smaller_size(self) -> bool:
        """Whether there is time to fine-tune small pictures at the smaller size; a step's time follows the pixels."""
        epochs = self.epochs(len(self.training_data.splits)) * (LITE0_SIZE / SMALLER_SIZE) ** 2
        return epochs >= ENOUGH_BESIDE and not self.are_photographs

    def _fine_tuned(self, folds: int) -> tuple[str, ...]:
        """The names of the recipes that fine-tune: of larger networks if there are any, else of lite0.

        Which one of lite0 depends on the images and on how many of them each fold has time for.
        """
        larger = tuple(name for name in self.recipes if name.startswith("timm-"))
        if larger:
            return larger[: 1 + (self.seconds_given >= ANOTHER) + (self.seconds_given >= ALL_BACKBONES)]
        is_long = self.epochs(folds) * self._images(folds) >= LONG_TRAINING
        if not is_long:
            return (FINE_TUNED_SHORTLY,)
        return (FINE_TUNED_ON_PHOTOGRAPHS,) if self.are_photographs else (FINE_TUNED,)

    @property
    def are_photographs(self) -> bool:
        """Whether the images are larger than the small pictures that sprint is made for."""
        return max(self.training_data.images.shape[1:3]) > LITE0_SIZE

    @property
    def seconds_given(self) -> float:
        return math.inf if self.settings.budget is None else self.settings.budget

    @property
    def seconds(self) -> float:
        """The time that is left for training."""
        return math.inf if self.end is None else max(0.0, self.end - time.monotonic())

    def _folds(self, suits: Callable[[int], bool]) -> int:
        """The most folds that the data allow and that suit; if none do, the fewest. 1 if the set is not small."""
        if self.settings.folds is not None or not is_small(self.competition) or self.seconds < FOLDED_SECONDS:
            return len(self.training_data.splits)
        split = self.training_data.split.take(np.arange(self.training_data.own))
        most = len(split) if split.groups is None else len(set(split.groups))
        possible = [folds for folds in FOLDS if folds <= most] if len(set(split.ids)) == len(split) else []
        return next(filter(suits, possible), possible[-1] if possible else 1)

    def epochs(self, folds: int) -> float:
        """How many epochs of fine-tuning each of the folds has time for."""
        return FINE_TUNING_SHARE * self.seconds * self.images_a_second / (folds * self._images(folds))

    def _images(self, folds: int) -> float:
        """The training images of each fold."""
        if folds == 1:
            return len(self.training_data.splits[0][0])
        return self.training_data.own * (folds - 1) / folds + self.training_data.elsewhere

    @cached_property
    def images_a_second(self) -> float:
        """The measured speed of fine-tuning."""
        recipe = self.recipes[FINE_TUNED_SHORTLY]
        assert isinstance(recipe, NeuralRecipe)
        with TemporaryDirectory() as folder:
            context = ModelContext(
                classes=self.competition.task.choices,
                targets=self.competition.task.target_count,
                folder=Path(folder),
                device=self.device,
                sizes=self.training_data.sizes,
            )
            network = recipe.build(context)
            assert isinstance(network, NeuralNetwork)
            return network.images_a_second(self.training_data.images, round(self._images(1)))

    @cached_property
    def is_ahead(self) -> bool:
        """Whether frozen features tell the validation images apart at least as well as the trial of flips and turns.

        Without a trial they count as ahead.
        """
        check = read_kept(self.settings.runs_folder(self.competition.name) / KEPT, SymmetryCheck)
        return check is None or self._probed() >= check.upright

    def _probed(self) -> float:
        """The accuracy of a logistic regression on frozen features of some of the images, at lite0's smallest size."""
        recipe = self.recipes[FROZEN].model_copy(
            update={
                "features": Named.model_validate({"name": LITE0, "sizes": [LITE0_SIZE], "views": "one"}),
                "classifier": Named.model_validate({"name": "logreg", "grid": [{"C": PROBE_C}]}),
            }
        )
        task, labels = self.competition.task, self.training_data.labels
        train, validation = (
            rows[stratified_rows(strata(labels[rows]), min(most, len(rows)), self.settings.seed)]
            for rows, most in zip(self.training_data.splits[0], (PROBED, PROBED_VALIDATION), strict=True)
        )
        with TemporaryDirectory() as folder:
            model = recipe.build(ModelContext(task.choices, Path(folder), task.target_count, device=self.device))
            images = self.training_data.images
            seen, unseen = np.asarray(images.subset(train)), np.asarray(images.subset(validation))
            probabilities = model.fit(seen, labels[train], unseen, labels[validation]).predict_proba(unseen)
        return ACCURACY(probabilities.reshape(labels[validation].size, -1), labels[validation].ravel())

    def _recipe(self, name: str) -> AnyRecipe:
        """The recipe of that name; frozen features of photographs at as many sizes as there is time for."""
        recipe = self.recipes[name]
        if name != FROZEN or not (self.are_photographs or is_small(self.competition)):
            return recipe
        recipe = recipe.model_copy(update={"classifier": Named.model_validate({"name": "logreg", "grid": GRID})})
        if not self.are_photographs:
            return recipe
        side = max(self.training_data.images.shape[1:3])
        features = [
            Named.model_validate({"name": LITE0, "sizes": bounded(sizes, side), "views": views})
            for sizes, views in FEATURES
        ]
        tried = [recipe.model_copy(update={"features": each}) for each in features]
        workload, rate = workload_of(self.competition, self.training_data), products_a_second()
        costs = (CAUTION * each.cost(workload, workload.train_images) / rate for each in tried)
        fitting = (each for each, cost in zip(tried, costs, strict=True) if cost <= FEATURES_SHARE * self.seconds)
        return next(fitting, tried[-1])
