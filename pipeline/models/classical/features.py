"""Features: the values that a model can use in place of the pixels."""

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from competition.errors import UserError
from competition.task import strata
from pipeline.data.augment import views
from pipeline.data.cache import ImageCache, Images
from pipeline.data.descriptors import (
    COLOURS,
    HISTOGRAMS,
    PIXELS,
    computed_once,
    descriptors,
    descriptors_name,
    is_computed,
)
from pipeline.models.base import CPU, FEATURES_FILE, WEIGHTS_FILE, Model, NotTrained
from pipeline.models.classical.linear import LogisticRegression
from pipeline.models.classical.per_target import PerTarget, load_classifier
from pipeline.models.networks.lite0 import POOLED, Lite0
from pipeline.models.networks.pretrained import LITE0_SIZE, lite0_features, start_from
from pipeline.models.networks.weights import LITE0, load_weights
from pipeline.models.neural.batches import scaled
from pipeline.models.neural.network import KIND as NETWORK
from pipeline.models.neural.seed_ensemble import SeedEnsemble
from pipeline.models.neural.time_budget import Segment
from pipeline.models.persistence import damaged, kind_in, load_state, save_state, size_of
from pipeline.models.recipe import Tier
from pipeline.runtime import distributed
from pipeline.runtime.devices import product_precision

COMPONENTS = 256  # principal components that features are selected from
NOISE = 1e-5  # share of the total variance below which a component is only rounding error
ROWS_AT_ONCE = 5000
PHOTOGRAPHS = (160, 256)  # pixels of the longer side at which lite0 sees photographs, one after the other
SMALLEST = 32  # pixels of the longer side that lite0 can see


class Features(ABC):
    """Computes features of images: float32 ``[N, 1, D, 1]``, so that every model accepts them as images.

    Features are fitted to the training images only. What depends on a single image is computed once and cached.

    count: the largest possible D.
    """

    count: int

    @abstractmethod
    def fit(self, images: Images, labels: np.ndarray, weights: Path | None = None) -> Self:
        """Fit the features to the training images. weights: file or folder that is searched for ImageNet weights."""

    def transform(self, images: Images, device: torch.device) -> np.ndarray:
        """The features of the images, float32 ``[N, 1, D, 1]``. Raises NotTrained if they are not finite."""
        rows = self._rows(images, device)
        if not np.isfinite(rows).all():
            raise NotTrained("its features of the images are not finite; give other weights with --weights")
        return rows[:, None, :, None]

    def are_computed(self, images: ImageCache, device: torch.device) -> bool:
        """Whether what depends on a single image is cached for all of these."""
        return all(is_computed(images, name) for name in self._names(device))

    @abstractmethod
    def _names(self, device: torch.device) -> list[str]:
        """The names under which it is cached, see ``computed_once``."""

    @abstractmethod
    def _rows(self, images: Images, device: torch.device) -> np.ndarray:
        """float32 ``[N, D]``."""

    @abstractmethod
    def cost(self, images: int, values: int) -> float:
        """Estimated work for ``images`` images of ``values`` values each, in the unit of ``Classifier.cost``."""


class SelectedDescriptors(Features):
    """The ``count`` features that separate the classes best, each standardised over the training set.

    The candidates are the first principal components of all descriptors (histograms of gradients, colours and pixels),
    where each of these three parts is scaled to the same total variance. Principal components are uncorrelated, so no
    candidate repeats another. Candidates are ranked by the F-value of a one-way analysis of variance over the classes.

    All steps are linear: the features are ``(descriptors - offset) @ projection``.
    """

    def __init__(self, count: int):
        self.count = count

    def fit(self, images: Images, labels: np.ndarray, weights: Path | None = None) -> Self:
        found = self._descriptors(images)
        self.offset = sum(rows.sum(axis=0, dtype=np.float64) for rows in _pieces(found)) / len(found)
        self.projection = self._components(found)
        values = self._project(found)
        best = np.argsort(-_worth(values, labels), kind="stable")[: self.count]
        std = values[:, best].std(axis=0, dtype=np.float64)
        self.projection = self.projection[:, best] / np.where(std > 0, std, 1)
        return self

    def cost(self, images: int, values: int) -> float:
        return images * (24e6 + 150 * values)

    def _names(self, device: torch.device) -> list[str]:
        return [descriptors_name()]

    def _rows(self, images: Images, device: torch.device) -> np.ndarray:
        return self._project(self._descriptors(images))

    def _descriptors(self, images: Images) -> np.ndarray:
        return computed_once(images, descriptors_name(), descriptors)

    def _components(self, found: np.ndarray) -> np.ndarray:
        """The projection to the principal components, float64 ``[D, components]``, largest variance first."""
        scatter = np.zeros((found.shape[1],) * 2)
        for rows in _pieces(found):
            centred = rows - self.offset.astype(np.float32)
            scatter += centred.T @ centred
        weights = np.empty(len(scatter))
        for part in (HISTOGRAMS, COLOURS, PIXELS):
            total = np.trace(scatter[part, part])
            weights[part] = 1 / np.sqrt(total) if total > 0 else 0
        variances, axes = np.linalg.eigh(scatter * weights * weights[:, None])
        known = max(1, np.count_nonzero(variances > NOISE * variances.sum()))
        return weights[:, None] * axes[:, ::-1][:, : min(known, COMPONENTS)]

    def _project(self, found: np.ndarray) -> np.ndarray:
        """float32 ``[N, columns of the projection]``."""
        offset, projection = self.offset.astype(np.float32), self.projection.astype(np.float32)
        return np.concatenate([(rows - offset) @ projection for rows in _pieces(found)])


class Lite0Features(Features):
    """The features of a frozen EfficientNet-Lite0, trained on ImageNet, for the images at one or more sizes.

    They include the outputs of the later groups, not only of the last layer: on the validation set of EuroSAT, logistic
    regression then reaches an accuracy of 0.967 instead of 0.946.

    sizes: the longer sides in pixels; features of several are joined. None: 128 for images of at most 128 pixels a
        side, which are then made square, otherwise ``PHOTOGRAPHS``.
    views: ``one``, or ``mirror``: the mean of the features of the image and of its mirror image. None: ``one`` for
        images of at most 128 pixels a side, otherwise ``mirror``.
    """

    sizes: Sequence[int] = (LITE0_SIZE,)  # of a model that was saved before there were several
    views: str = "one"

    def __init__(self, sizes: Sequence[int] | None = None, views: str | None = None) -> None:
        """Raises TypeError if an argument is wrong."""
        if sizes is not None and not (sizes and all(isinstance(size, int) and size >= SMALLEST for size in sizes)):
            raise TypeError(f"sizes must be a list of whole numbers of at least {SMALLEST}")
        if views not in (None, "one", "mirror"):
            raise TypeError(f'views must be "one" or "mirror", not {views!r}')
        self._asked = sizes, views
        self.count = POOLED * len(sizes or PHOTOGRAPHS)

    def fit(self, images: Images, labels: np.ndarray, weights: Path | None = None) -> Self:
        """Load the weights and store them, so that the saved model is complete.

        Raises UserError if they are missing or damaged.
        """
        network = Lite0(1000)
        for parameter in network.fc.parameters():  # no part of the features; other weights have other classes
            torch.nn.init.zeros_(parameter)
        start_from(network, load_weights(LITE0, weights), "ImageNet weights of lite0", head="fc")
        self.values = torch.cat([tensor.flatten() for tensor in _floats(network)]).numpy()
        self.sizes, self.views = self._chosen(max(images.shape[1:3]))
        return self

    def _chosen(self, side: int) -> tuple[list[int], str]:
        """The sizes and views for images whose longer side has that many pixels."""
        sizes, views = self._asked
        if side <= LITE0_SIZE:
            return list(sizes or [LITE0_SIZE]), views or "one"
        return list(sizes or bounded(PHOTOGRAPHS, side)), views or "mirror"

    def _rows(self, images: Images, device: torch.device) -> np.ndarray:
        return np.concatenate([self._at(size, images, device) for size in self.sizes], axis=1)

    def _names(self, device: torch.device) -> list[str]:
        return [self._name(size, device) for size in self.sizes]

    def _name(self, size: int, device: torch.device) -> str:
        precision = str(product_precision(device)).removeprefix("torch.")
        seen = f"{size}-mirror" if self.views == "mirror" else f"{size}"
        return f"lite0-{hashlib.sha256(self.values.tobytes()).hexdigest()[:16]}-pooled-{seen}-{precision}"

    def _at(self, size: int, images: Images, device: torch.device) -> np.ndarray:
        """float32 ``[N, 2024]``, computed once for each cache, size and kind of views."""
        is_small = max(images.shape[1:3]) <= LITE0_SIZE
        shape = (size, size) if is_small else scaled((images.shape[1], images.shape[2]), size)
        kinds = views("mirror" if self.views == "mirror" else "none", square=True)

        def compute(whole: Images) -> np.ndarray:
            return lite0_features(self._network(), whole, device, f"features of lite0 at {size} pixels", shape, kinds)

        return computed_once(images, self._name(size, device), compute)

    def _network(self) -> Lite0:
        network, taken = Lite0(1000), 0
        for tensor in _floats(network):
            values = self.values[taken : taken + tensor.numel()]
            tensor.copy_(torch.from_numpy(values).view_as(tensor))
            taken += tensor.numel()
        return network

    def cost(self, images: int, values: int) -> float:
        sizes, views = self._chosen(round((values / 3) ** 0.5))
        area = sum((size / LITE0_SIZE) ** 2 for size in sizes)
        return 0.5e9 * images * area * (2 if views == "mirror" else 1)


def bounded(sizes: Sequence[int], side: int) -> list[int]:
    """The sizes, none larger than ``side``, which would only enlarge the images, and each once."""
    return list(dict.fromkeys(min(size, side) for size in sizes))


def _floats(network: Lite0) -> list[torch.Tensor]:
    """The network's weights and running averages; changing these tensors changes the network."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def _worth(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The F-value of each column of ``[N, D]``; nan, which is sorted last, for a constant column."""
    from sklearn.feature_selection import f_classif  # imported here, since the import is slow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f_classif(values.astype(np.float64), labels)[0]


def _pieces(found: np.ndarray) -> Iterator[np.ndarray]:
    """The rows as float32, a few thousand at a time."""
    return (found[start : start + ROWS_AT_ONCE].astype(np.float32) for start in range(0, len(found), ROWS_AT_ONCE))


FEATURES: dict[str, type[Features]] = {"descriptors": SelectedDescriptors, "lite0": Lite0Features}


def build_features(name: str, **arguments: Any) -> Features:
    """The features of that name, not yet fitted. Raises UserError for an unknown name or argument."""
    if name not in FEATURES:
        raise UserError(f"no features are called {name!r}; choose one of {', '.join(FEATURES)}")
    try:
        return FEATURES[name](**arguments)
    except TypeError as error:
        raise UserError(f"features {name}: {error}; fix the recipe") from None


class OnFeatures:
    """A model on features of the images, with the same interface as a model on images.

    weights: the file or folder that is searched first for ImageNet weights, if the features need them.
    """

    def __init__(self, features: Features, model: Model, device: torch.device, weights: Path | None = None) -> None:
        self.features, self.model, self.device, self.weights = features, model, device, weights

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Fit the features, then the model on them."""
        self.features = distributed.from_main(lambda: self.features.fit(images, strata(labels), self.weights))
        with distributed.main_first():
            train, validation = (self.features.transform(each, self.device) for each in (images, validation_images))
        self.model.fit(train, labels, validation, validation_labels)
        return self

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Class probabilities, float32 ``[N, targets * classes]``."""
        return self.model.predict_proba(self.features.transform(images, self.device), test_time_views, title)

    @property
    def refits(self) -> bool:
        """Whether one model on all images can take the place of those of the folds.

        It can where the features are frozen and the model on them is a logistic regression.
        """
        model = self.model.build() if isinstance(self.model, PerTarget) else self.model
        return isinstance(self.features, Lite0Features) and isinstance(model, LogisticRegression)

    @classmethod
    def agree(cls, folds: Sequence[Self]) -> None:
        """Let models that ``refits`` is true of, fitted to the folds of one set of images, keep the same settings."""
        models: list[Any] = [fold.model for fold in folds]
        type(models[0]).agree(models)

    @classmethod
    def refitted(cls, folds: Sequence[Self], images: Images, labels: np.ndarray) -> Self:
        """One model on all images, with the settings on which those of the folds agree."""
        first, models = folds[0], [fold.model for fold in folds]
        kind: Any = type(models[0])
        rows = first.features.transform(images, first.device)
        return cls(first.features, kind.refitted(models, rows, labels), first.device, first.weights)

    @property
    def tier(self) -> Tier | None:
        return self.model.tier

    @property
    def trained(self) -> tuple[Segment, ...]:
        return self.model.trained

    @property
    def parameters(self) -> int:
        return self.model.parameters + size_of(self.features)

    def save(self, folder: Path) -> None:
        """Write the model and features.safetensors to ``folder``."""
        save_state(self.features, folder / FEATURES_FILE)
        self.model.save(folder)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """The model and its features from ``folder``. device: default CPU."""
        path = folder / FEATURES_FILE
        kinds: dict[str, type[Features]] = {each.__name__: each for each in FEATURES.values()}
        kind = kinds.get(kind_in(path))
        if kind is None:
            raise damaged(path)
        return cls(load_state(kind, path), _load_on_images(folder, device), device or CPU)


def _load_on_images(folder: Path, device: torch.device | None) -> Model:
    """The saved classifier in ``folder``; if it is none, the network."""
    if kind_in(folder / WEIGHTS_FILE) == NETWORK:
        return SeedEnsemble.load(folder, device)
    return load_classifier(folder)
