"""What all classifiers share: the interface, standardised values, saving and calibration."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from competition.errors import UserError
from competition.metrics import ACCURACY, Metric
from pipeline.data.cache import Images
from pipeline.data.small_images import small
from pipeline.models.base import WEIGHTS_FILE
from pipeline.models.classical.pixels import (
    chunks,
    flat_chunks,
    is_grey,
    mean_and_variance,
    pixel_sums,
)
from pipeline.models.neural.time_budget import Segment
from pipeline.models.persistence import load_state, save_state, size_of
from pipeline.models.recipe import Tier

DOUBT = 1e-6  # probability that is spread over all classes


class Classifier(ABC):
    """A classifier on the values of whole images, either pixels or a row of features; large images are shrunk.

    Images are uint8 ``[N, H, W, 3]``, or features float32 ``[N, 1, D, 1]``; labels int64 ``[N]`` in
    ``range(classes)``. The attributes of a subclass must be arrays or JSON types: they are saved, except those whose
    names begin with an underscore.

    The scores become probabilities by temperature scaling. ``fit`` chooses the temperature on the validation images;
    it changes the confidence of the predictions, but not the predicted labels.

    grey: whether the three channels are equal in every training image; only one of them is then used, and
        ``copies`` is 3.
    mean, std: float64 ``[D]``, of classifiers that standardise; the std of a constant value counts as 1.
    seen: the classes with training images, int64, ascending.
    temperature: the number that the scores are divided by before the softmax.
    grid_scores: of classifiers that try several settings, one row for each: the settings, and ``score``, the metric's
        value on the validation set.
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
        """Choose settings on the validation images by that metric, not by accuracy. Returns the classifier itself."""
        self._metric = metric
        return self

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Fit the classifier to the training images; settings are chosen on the validation images."""
        return self._fit(small(images), labels, small(validation_images), validation_labels)

    @abstractmethod
    def _fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray
    ) -> Self:
        """``fit`` for images that are small."""

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Calibrated class probabilities, float32 ``[N, classes]``; none is zero, and each row sums to 1."""
        return soften(self._scores(small(images)), self.temperature)

    @abstractmethod
    def _scores(self, images: Images) -> np.ndarray:
        """Float64 ``[N, classes]``, e.g. log odds; the largest is the predicted label's, -inf is a class never seen."""

    @abstractmethod
    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """Estimated work of a fit and of one prediction of the validation images.

        values: H * W * channels used.

        The unit is one floating-point operation of a large float32 matrix product on two cores, so that
        ``cost / (operations per second of such a product)`` is a time in seconds. Work that runs on one core or is
        limited by memory counts as the number of such operations that take the same time.
        """

    @property
    def parameters(self) -> int:
        """The number of values in the arrays of the fitted model, including stored training pixels."""
        return size_of(self)

    def save(self, folder: Path) -> None:
        """Write the model to one file in ``folder``, replacing any earlier one."""
        save_state(self, folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """The model that ``save`` wrote to ``folder``; its predictions are bit-identical.

        device: ignored; classifiers run on the CPU.
        """
        return load_state(cls, folder / WEIGHTS_FILE)

    @property
    def copies(self) -> int:
        """The number of equal channels that each value stands for."""
        return 3 if self.grey else 1

    def _flat(self, images: Images, rows: np.ndarray | None = None) -> np.ndarray:
        """The images, or those at ``rows``, as ``[N, D]`` of the same dtype."""
        values = int(np.prod(images.shape[1:])) // self.copies
        flat = np.empty((len(images) if rows is None else len(rows), values), images.dtype)
        for piece, pixels in zip(
            chunks(len(flat), values * self.copies), flat_chunks(images, self.grey, rows), strict=True
        ):
            flat[piece] = pixels
        return flat

    def _measure(self, images: Images) -> None:
        """Set ``grey``, and the mean and standard deviation of each value."""
        self.grey = is_grey(images)
        values = int(np.prod(images.shape[1:])) // self.copies
        self._keep_scale(*pixel_sums(flat_chunks(images, self.grey), values), len(images))

    def _keep_scale(self, total: np.ndarray, squares: np.ndarray, count: int) -> None:
        self.mean, variance = mean_and_variance(total, squares, count)
        self.std = np.sqrt(np.where(variance > 0, variance, 1.0))

    def _standardised(self, flat: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """``flat`` (``[N, D]``) standardised, without temporary arrays as large as the result."""
        design = np.subtract(flat, self.mean.astype(dtype), dtype=dtype)
        design /= self.std.astype(dtype)
        return design

    def _measured(self, settings: dict, scores: np.ndarray, labels: np.ndarray) -> dict:
        """A row of ``grid_scores``. scores: of the validation images, as ``_scores`` returns them."""
        if self._metric.needs not in ("labels", "ranking"):  # for those the order of an image's scores is enough
            scores = soften(scores, fit_temperature(scores, labels))
        return {**settings, "score": self._metric(scores, labels)}

    def _best_tried(self) -> int:
        """The index of the row of ``grid_scores`` with the best score, the first in a tie."""
        ranks = [self._metric.rank(row["score"]) for row in self.grid_scores]
        return int(np.argmax(ranks))

    def _over_all_classes(self, scores: np.ndarray) -> np.ndarray:
        """Scores of the seen classes as ``[N, classes]``; -inf for a class never seen."""
        everything = np.full((len(scores), self.classes), -np.inf)
        everything[:, self.seen] = scores
        return everything

    def _seen_classes(self, labels: np.ndarray, name: str) -> np.ndarray:
        """The classes among ``labels``. Raises UserError if there are fewer than two. name: of the classifier."""
        seen = np.unique(labels)
        if len(seen) < 2:
            raise UserError(f"{name}: all training images have one class; add other classes or leave {name} out")
        return seen


def soften(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of ``scores / temperature``, float32 ``[N, C]``; a score of -inf is a class never seen.

    A probability of one millionth is spread over all classes: no probability is zero, so the log loss is finite.
    """
    probabilities = softmax(scores / temperature, axis=1)
    return ((1 - DOUBT) * probabilities + DOUBT / scores.shape[1]).astype(np.float32)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the log loss of ``soften``; it does not change the order of the classes.

    scores: float64 ``[N, C]``; labels: int64 ``[N]``.

    Guo et al., On Calibration of Modern Neural Networks, 2017. One imaginary image, which belongs equally to all
    classes, is added, similar to Platt (Probabilistic Outputs for Support Vector Machines, 1999): without it, a model
    that is right for all images would get probabilities of 1.
    """
    known = np.isfinite(scores)
    known_scores = np.where(known, scores, np.nan)
    spread = float(np.median(np.nanmax(known_scores, axis=1) - np.nanmedian(known_scores, axis=1))) or 1.0
    rows = np.flatnonzero(known[np.arange(len(labels)), labels])

    def log_loss(log_ratio: float) -> float:
        logs = log_softmax(scores / (spread * np.exp(log_ratio)), axis=1)
        return -(logs[rows, labels[rows]].sum() + logs[known].mean())

    return spread * float(np.exp(minimize_scalar(log_loss, bounds=(-8, 8), method="bounded").x))
