"""What all classifiers share: the contract, standardised values, saving, calibration."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from competition.errors import UserError
from competition.metrics import ACCURACY, Metric
from pipeline.models.base import WEIGHTS_FILE
from pipeline.models.classical.pixels import (
    Images,
    chunks,
    flat_chunks,
    is_grey,
    mean_and_variance,
    pixel_sums,
)
from pipeline.models.neural.time_budget import Segment
from pipeline.models.persistence import load_state, save_state, size_of
from pipeline.models.recipe import Tier

DOUBT = 1e-6


class Classifier(ABC):
    """A classifier on the values of whole images: pixels, or features standing in a row.

    Images are uint8 ``[N, H, W, 3]``, or features float32 ``[N, 1, D, 1]``; labels int64 ``[N]`` in
    ``range(classes)``. A subclass keeps nothing but arrays and JSON's own types as attributes: they are what is
    saved, those apart whose names begin with an underscore.

    Its scores become probabilities by a temperature that ``fit`` finds on the validation images. It makes a
    model more or less sure of itself, and leaves the class that it predicts as it is.

    grey: whether the three channels of every training image are equal; one of them is used then, and
        ``copies`` is 3.
    mean, std: float64 ``[D]``, of those that standardise; the standard deviation of a value that never varies
        counts as 1.
    seen: the classes with training images, int64, ascending.
    temperature: what the scores are divided by before they become probabilities.
    grid_scores: of those that try several settings, a row each: the settings, and as ``score`` the metric's value on
        validation.
    """

    _metric: Metric = ACCURACY
    grey: bool
    mean: np.ndarray
    std: np.ndarray
    seen: np.ndarray
    temperature: float
    grid_scores: list[dict]
    tier: Tier | None = None
    trained: tuple[Segment, ...] = ()

    def __init__(self, classes: int):
        self.classes = classes

    def measured_by(self, metric: Metric) -> Self:
        """The classifier itself, what it chooses on validation being chosen by that metric instead of accuracy."""
        self._metric = metric
        return self

    @abstractmethod
    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Learn from the training images; what has to be chosen is chosen on the validation images."""

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Calibrated class probabilities, float32 ``[N, classes]``, none of them zero, rows summing to 1."""
        return soften(self._scores(images), self.temperature)

    @abstractmethod
    def _scores(self, images: Images) -> np.ndarray:
        """Log odds or the like, float64 ``[N, classes]``, the largest of the class predicted; -inf if never seen."""

    @abstractmethod
    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """Estimated work of a fit and of one prediction of the validation images.

        values: H * W * channels used. The unit is one floating-point operation of a large float32 matrix
        product on two cores, so that ``cost / (operations a second of such a product)`` is seconds; what
        runs on one core, or is bound by memory, counts as the operations that would take as long.
        """

    @property
    def parameters(self) -> int:
        """How many values the fitted model holds in its arrays, stored training pixels among them."""
        return size_of(self)

    def save(self, folder: Path) -> None:
        """Write the model to one file of ``folder``, in place of the one that may be there."""
        save_state(self, folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """The model that ``save`` wrote to ``folder``; it predicts what that one predicts, to the bit.

        device: a classifier always works on the CPU.
        """
        return load_state(cls, folder / WEIGHTS_FILE)

    @property
    def copies(self) -> int:
        """How many equal channels each value used stands for."""
        return 3 if self.grey else 1

    def _flat(self, images: Images, rows: np.ndarray | None = None) -> np.ndarray:
        """The images, or those at ``rows``, as ``[N, D]`` of their own type."""
        values = int(np.prod(images.shape[1:])) // self.copies
        flat = np.empty((len(images) if rows is None else len(rows), values), images.dtype)
        for piece, pixels in zip(
            chunks(len(flat), values * self.copies), flat_chunks(images, self.grey, rows), strict=True
        ):
            flat[piece] = pixels
        return flat

    def _measure(self, images: Images) -> None:
        """Keep ``grey``, and the mean and standard deviation of each value."""
        self.grey = is_grey(images)
        values = int(np.prod(images.shape[1:])) // self.copies
        self._keep_scale(*pixel_sums(flat_chunks(images, self.grey), values), len(images))

    def _keep_scale(self, total: np.ndarray, squares: np.ndarray, count: int) -> None:
        self.mean, variance = mean_and_variance(total, squares, count)
        self.std = np.sqrt(np.where(variance > 0, variance, 1.0))

    def _standardised(self, flat: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """``flat`` (``[N, D]``) standardised; nothing as large as the result is made beside it."""
        design = np.subtract(flat, self.mean.astype(dtype), dtype=dtype)
        design /= self.std.astype(dtype)
        return design

    def _measured(self, settings: dict, scores: np.ndarray, labels: np.ndarray) -> dict:
        """A row of ``grid_scores``, of validation scores as ``_scores`` gives them."""
        if self._metric.needs == "probabilities":  # else the largest score is enough
            scores = soften(scores, fit_temperature(scores, labels))
        return {**settings, "score": self._metric(scores, labels)}

    def _best_tried(self) -> int:
        """The row of ``grid_scores`` with the best score, the first of equals."""
        ranks = [self._metric.rank(row["score"]) for row in self.grid_scores]
        return int(np.argmax(ranks))

    def _over_all_classes(self, scores: np.ndarray) -> np.ndarray:
        """Scores of the classes seen, as ``[N, classes]``; -inf for a class never seen."""
        everything = np.full((len(scores), self.classes), -np.inf)
        everything[:, self.seen] = scores
        return everything

    def _seen_classes(self, labels: np.ndarray, name: str) -> np.ndarray:
        """The classes among ``labels``. Raises UserError where there are fewer than two."""
        seen = np.unique(labels)
        if len(seen) < 2:
            raise UserError(f"{name}: all training images show one class; give it two or more, or leave {name} out")
        return seen


def soften(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of ``scores / temperature``, float32 ``[N, C]``; a score of -inf is a class never seen.

    A millionth of doubt is spread over all classes, so that no probability is zero: the log loss is finite.
    """
    probabilities = softmax(scores / temperature, axis=1)
    return ((1 - DOUBT) * probabilities + DOUBT / scores.shape[1]).astype(np.float32)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which ``soften`` has the least log loss; it leaves each row's order as it is.

    Guo et al., On Calibration of Modern Neural Networks, 2017. One image more, of any class, counts among those of
    ``scores``, as with Platt (Probabilistic Outputs for Support Vector Machines, 1999): otherwise a model with all
    of them right would be sure of everything.
    """
    known = np.isfinite(scores)
    known_scores = np.where(known, scores, np.nan)
    spread = float(np.median(np.nanmax(known_scores, axis=1) - np.nanmedian(known_scores, axis=1))) or 1.0
    rows = np.flatnonzero(known[np.arange(len(labels)), labels])

    def log_loss(log_ratio: float) -> float:
        logs = log_softmax(scores / (spread * np.exp(log_ratio)), axis=1)
        return -(logs[rows, labels[rows]].sum() + logs[known].mean())

    return spread * float(np.exp(minimize_scalar(log_loss, bounds=(-8, 8), method="bounded").x))
