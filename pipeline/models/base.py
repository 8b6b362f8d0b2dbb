"""The contract of a model, which classifiers, networks and models on features all satisfy."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch

from competition.metrics import ACCURACY, Metric
from competition.spec import Symmetries
from pipeline.data.descriptors import Images

if TYPE_CHECKING:  # these come from rooms below, which import this one
    from pipeline.models.neural.network import NetworkPlan
    from pipeline.models.neural.time_budget import OnEpoch, Segment
    from pipeline.models.recipe import Tier

CPU = torch.device("cpu")

# the files of a fitted model, in the folder that it is saved to
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"  # of a network
FEATURES_FILE = "features.safetensors"  # of a model on features
# the files of a network's training
HISTORY_FILE = "history.csv"
GRID_FILE = "grid.csv"
TIER_FILE = "tier.json"
CHECKPOINT_FILE = "checkpoint.pt"


class Model(Protocol):
    """What every caller may ask of a model, whatever its kind.

    Images are uint8 ``[N, H, W, 3]``, or features float32 ``[N, 1, D, 1]``; labels int64 ``[N]`` in ``range(classes)``.
    """

    @property
    def tier(self) -> "Tier | None":
        """What a time budget chose; None for a model without tiers."""

    @property
    def trained(self) -> "tuple[Segment, ...]":
        """The segments of its training; none for a model that is not trained epoch by epoch."""

    def fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray, /
    ) -> Self:
        """Learn from the training images; what has to be chosen is chosen on the validation images."""

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Class probabilities, float32 ``[N, classes]``.

        test_time_views: average over the views of each image that the recipe names; a model without views ignores it.
        title: of a progress bar, where predicting takes long enough for one.
        """

    @property
    def parameters(self) -> int:
        """How many values the fitted model holds."""

    def save(self, folder: Path) -> None:
        """Write all that ``load`` needs to ``folder``."""

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """The model that ``save`` wrote to ``folder``; it predicts what that one predicts. device: default CPU."""


@dataclass(frozen=True, eq=False)
class ModelContext:
    """What a recipe's model needs besides the recipe. A model takes of it what concerns its kind.

    classes: how many there are.
    folder: where a training leaves its checkpoint and history.
    symmetries: the flips and turns that leave a class what it is.
    plan: how long a network trains; None for the recipe's own epochs.
    weights: a file or folder where ImageNet weights are looked for first.
    source: the folder of the saved network that a recipe with ``transfer_from`` starts from.
    on_epoch: called after every epoch; what it raises ends the training.
    compile: networks are compiled for their training.
    metric: what choices on validation images are made by.
    """

    classes: int
    folder: Path
    symmetries: Symmetries = "none"
    plan: "NetworkPlan | None" = None
    seed: int = 0
    device: torch.device = CPU
    weights: Path | None = None
    source: Path | None = None
    on_epoch: "OnEpoch | None" = None
    compile: bool = False
    metric: Metric = ACCURACY


@dataclass(frozen=True)
class Workload:
    """What decides how long fitting a classifier takes. values: of one image, channels included."""

    train_images: int
    validation_images: int
    values: int
    classes: int
    folds: int
