"""The interface that all models share: classifiers, networks and models on features."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch

from competition.errors import UserError
from competition.metrics import ACCURACY, Metric
from competition.spec import Symmetries
from pipeline.data.cache import Images
from pipeline.data.image_size import ImageSizes

if TYPE_CHECKING:  # these modules import this one
    from pipeline.models.neural.network import NetworkPlan
    from pipeline.models.neural.time_budget import OnEpoch, Segment
    from pipeline.models.recipe import Tier

CPU = torch.device("cpu")

# the files of a fitted model, in the folder it is saved to
WEIGHTS_FILE = "model.safetensors"
FEATURES_FILE = "features.safetensors"  # of a model on features
# the files that training a network writes
HISTORY_FILE = "history.csv"
GRID_FILE = "grid.csv"
TIER_FILE = "tier"
CHECKPOINT_FILE = "checkpoint.pt"


class NotTrained(UserError):  # noqa: N818 - the name says what has happened
    """The model cannot be trained, for a reason that does not concern the other models of the command."""


class Model(Protocol):
    """The interface of every kind of model.

    Images are uint8 ``[N, H, W, 3]``, or features float32 ``[N, 1, D, 1]``; labels int64 ``[N]`` in ``range(classes)``,
    or ``[N, targets]`` if there are several targets.
    """

    @property
    def tier(self) -> "Tier | None":
        """The tier that the time budget chose; None for a model without tiers."""

    @property
    def trained(self) -> "tuple[Segment, ...]":
        """The segments of its training; empty for a model that is not trained in epochs."""

    def fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray, /
    ) -> Self:
        """Fit the model to the training images; settings are chosen on the validation images."""

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Class probabilities, float32 ``[N, targets * classes]``; those of each target sum to 1.

        test_time_views: average over the views of each image that the recipe names; ignored by a model without views.
        title: of the progress bar, if predicting takes long enough to show one.
        """

    @property
    def parameters(self) -> int:
        """The number of values that the fitted model stores."""

    def save(self, folder: Path) -> None:
        """Write everything that ``load`` needs to ``folder``."""

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """The model that ``save`` wrote to ``folder``, with the same predictions. device: default CPU."""


@dataclass(frozen=True, eq=False)
class ModelContext:
    """What a model needs besides its recipe. Each kind of model uses only the fields that concern it.

    classes: the number of classes of each target. targets: how many choices among them are predicted for an image.
    ordered: whether neighbouring classes are alike, as intervals of a number are.
    folder: where training writes its checkpoint and history.
    symmetries: the flips and rotations that preserve the class.
    plan: how long a network trains; None for the recipe's own number of epochs.
    weights: the file or folder that is searched first for ImageNet weights.
    source: the folder of the saved network that a recipe with ``transfer_from`` starts from.
    on_epoch: called after every epoch; an exception it raises ends the training.
    compile: whether networks are compiled for training.
    metric: the metric by which settings are chosen on the validation images.
    soft: what networks learn in place of the labels of the training images, float32 ``[N, targets * classes]``: how
        likely each choice is; None if they learn the labels.
    fingerprint: of everything that the training depends on; an interrupted training with another one is not resumed.
    sizes: at which networks without an input size of their own train and predict; None: at the images' own size.
    """

    classes: int
    folder: Path
    targets: int = 1
    ordered: bool = False
    symmetries: Symmetries = "none"
    plan: "NetworkPlan | None" = None
    seed: int = 0
    device: torch.device = CPU
    weights: Path | None = None
    source: Path | None = None
    on_epoch: "OnEpoch | None" = None
    compile: bool = False
    metric: Metric = ACCURACY
    fingerprint: str = ""
    sizes: ImageSizes | None = None
    soft: np.ndarray | None = None


@dataclass(frozen=True)
class Workload:
    """The sizes that determine how long fitting a classifier takes. values: of one image, channels included.

    classes: of each target.
    """

    train_images: int
    validation_images: int
    values: int
    classes: int
    folds: int
    targets: int = 1
