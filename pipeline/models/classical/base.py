"""What all classifiers on pixels share: the contract, standardised pixels, saving, calibration."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from pipeline.files import written
from pipeline.models.classical.pixels import (
    Images,
    chunks,
    flat_chunks,
    is_grey,
    mean_and_variance,
    pixel_sums,
)

FILE = "model.safetensors"
DOUBT = 1e-6


class PixelClassifier(ABC):
    """A classifier on the pixels of whole images, each standardised by its mean and deviation over train.

    Images are uint8 ``[N, H, W, 3]``, labels int64 ``[N]`` in ``range(classes)``. A subclass keeps nothing
    but arrays and JSON's own types as attributes: they are what is saved.

    mean, deviation: float64 ``[D]``; the deviation of a pixel that never varies counts as 1.
    grey: whether the three channels of every training image are equal; one of them is used then, and
        ``copies`` is 3.
    """

    def __init__(self, classes: int):
        self.classes = classes

    @abstractmethod
    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Learn from the training images; what has to be chosen is chosen on the validation images."""

    @abstractmethod
    def predict_proba(self, images: Images) -> np.ndarray:
        """Class probabilities, float32 ``[N, classes]``, none of them zero, rows summing to 1."""

    @staticmethod
    @abstractmethod
    def cost(train_images: int, validation_images: int, values: int, classes: int) -> float:
        """Estimated work of a fit and of one prediction of the validation images.

        values: H * W * channels used. The unit is one floating-point operation of a large float32 matrix
        product on two cores, so that ``cost / (operations a second of such a product)`` is seconds; what
        runs on one core, or is bound by memory, counts as the operations that would take as long.
        """

    @property
    def parameters(self) -> int:
        """How many values the fitted model holds in its arrays, stored training pixels among them."""
        return sum(value.size for value in vars(self).values() if isinstance(value, np.ndarray))

    def save(self, folder: Path) -> None:
        """Write the model to one file of ``folder``, in place of the one that may be there."""
        state = vars(self)
        arrays = {name: np.ascontiguousarray(v) for name, v in state.items() if isinstance(v, np.ndarray)}
        facts = {name: value for name, value in state.items() if name not in arrays}
        with written(folder / FILE) as path:
            save_file(arrays, path, metadata={"facts": json.dumps(facts)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that ``save`` wrote to ``folder``; it predicts what that one predicts, to the bit."""
        model = cls.__new__(cls)
        with safe_open(folder / FILE, framework="numpy") as file:
            vars(model).update(json.loads(file.metadata()["facts"]))
            vars(model).update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return model

    @property
    def copies(self) -> int:
        """How many equal channels each value used stands for."""
        return 3 if self.grey else 1

    def _flat(self, images: Images, rows: np.ndarray | None = None) -> np.ndarray:
        """The images, or those at ``rows``, as uint8 ``[N, D]``; decides and keeps ``grey``."""
        self.grey = is_grey(images)
        values = int(np.prod(images.shape[1:])) // self.copies
        flat = np.empty((len(images) if rows is None else len(rows), values), np.uint8)
        for piece, pixels in zip(
            chunks(len(flat), values * self.copies), flat_chunks(images, self.grey, rows), strict=True
        ):
            flat[piece] = pixels
        return flat

    def _measure(self, flat: np.ndarray) -> None:
        """Keep mean and deviation of each column of ``flat``, uint8 ``[N, D]``."""
        pieces = (flat[piece] for piece in chunks(*flat.shape))
        self._keep_scale(*pixel_sums(pieces, flat.shape[1]), len(flat))

    def _keep_scale(self, total: np.ndarray, squares: np.ndarray, count: int) -> None:
        self.mean, variance = mean_and_variance(total, squares, count)
        self.deviation = np.sqrt(np.where(variance > 0, variance, 1.0))

    def _standardised(self, flat: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """``flat`` (uint8 ``[N, D]``) standardised; nothing as large as the result is made beside it."""
        design = np.subtract(flat, self.mean.astype(dtype), dtype=dtype)
        design /= self.deviation.astype(dtype)
        return design


def soften(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of ``scores / temperature``, float32 ``[N, C]``; a score of -inf is a class never seen.

    A millionth of doubt is spread over all classes, so that no probability is zero: the log loss is finite.
    """
    probabilities = softmax(scores / temperature, axis=1)
    return ((1 - DOUBT) * probabilities + DOUBT / scores.shape[1]).astype(np.float32)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which ``soften`` has the least log loss; it leaves each row's order as it is.

    Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    known = np.where(np.isfinite(scores), scores, np.nan)
    spread = float(np.median(np.nanmax(known, axis=1) - np.nanmedian(known, axis=1))) or 1.0

    def log_loss(log_ratio: float) -> float:
        chosen = soften(scores, spread * np.exp(log_ratio))[np.arange(len(labels)), labels]
        return -np.log(chosen, dtype=np.float64).mean()

    return spread * float(np.exp(minimize_scalar(log_loss, bounds=(-8, 8), method="bounded").x))
