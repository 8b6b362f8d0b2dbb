"""One classifier for each target, where an image has several: any of several labels, or numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch

from competition.metrics import LOG_LOSS
from pipeline.data.cache import Images
from pipeline.data.small_images import small
from pipeline.models.base import WEIGHTS_FILE
from pipeline.models.classical.base import Classifier
from pipeline.models.classical.linear import LogisticRegression
from pipeline.models.classical.registry import CLASSIFIERS
from pipeline.models.neural.time_budget import Segment
from pipeline.models.persistence import Saved, damaged, kind_in, load_state
from pipeline.models.recipe import Tier

KIND = "PerTarget"

Build = Callable[[], Classifier]


class PerTarget:
    """Classifiers of the same kind, one for each target; those settings are chosen that give the lowest log loss.

    A target of which all training images have the same class gets none: its class is predicted for every image, with a
    small doubt.
    build: makes a classifier that is not fitted. targets: their number.
    classifiers: by the number of their target. only: the class of each other target.
    """

    tier: Tier | None = None
    trained: tuple[Segment, ...] = ()

    def __init__(self, build: Build, targets: int) -> None:
        self.build, self.targets, self.classes = build, targets, build().classes
        self.classifiers: dict[int, Classifier] = {}
        self.only: dict[int, int] = {}
        self.images = 0

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Fit a classifier for each target. labels: int64 ``[N, targets]``."""
        self.images = len(labels)
        images, validation_images = small(images), small(validation_images)
        for target in range(self.targets):
            own, seen = labels[:, target], validation_labels[:, target]
            if (own == own[0]).all():
                self.only[target] = int(own[0])
            else:
                classifier = self.build().measured_by(LOG_LOSS)
                self.classifiers[target] = classifier.fit(images, own, validation_images, seen)
        return self

    @classmethod
    def agree(cls, folds: Sequence[Self]) -> None:
        """Let the classifiers of each target that were fitted to the folds of one set of images agree."""
        for target in range(folds[0].targets):
            if same := _of_target(folds, target):
                type(same[0]).agree(same)

    @classmethod
    def refitted(cls, folds: Sequence[Self], images: Images, labels: np.ndarray) -> Self:
        """Classifiers on all images, each with what those of the folds agree on. labels: int64 ``[N, targets]``."""
        model = cls(folds[0].build, folds[0].targets)
        model.images = len(labels)
        for target, own in enumerate(labels.T):
            if same := _of_target(folds, target):
                model.classifiers[target] = type(same[0]).refitted(same, images, own)
            else:
                model.only[target] = int(np.bincount(own).argmax())
        return model

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Class probabilities, float32 ``[N, targets * classes]``; those of each target sum to 1."""
        images = small(images)
        return np.concatenate([self._predicted(target, images) for target in range(self.targets)], axis=1)

    def _predicted(self, target: int, images: Images) -> np.ndarray:
        if target in self.classifiers:
            return self.classifiers[target].predict_proba(images)
        return np.repeat(self._nearly_sure(self.only[target])[None], len(images), axis=0)

    def _nearly_sure(self, label: int) -> np.ndarray:
        """Laplace's rule of succession: one more image of every class is imagined. float32 ``[classes]``."""
        counts = np.ones(self.classes, np.float32)
        counts[label] += self.images
        return counts / counts.sum()

    @property
    def parameters(self) -> int:
        return sum(classifier.parameters for classifier in self.classifiers.values())

    def save(self, folder: Path) -> None:
        """Write one file for the targets, and a folder for each of them that has a classifier."""
        names = {str(target): type(classifier).__name__ for target, classifier in self.classifiers.items()}
        only = {str(target): label for target, label in self.only.items()}
        facts = {"targets": self.targets, "classes": self.classes, "images": self.images, "only": only, "names": names}
        for target, classifier in self.classifiers.items():
            _place(folder, target).mkdir(parents=True, exist_ok=True)
            classifier.save(_place(folder, target))
        Saved(KIND, facts, {}).write(folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """The model that ``save`` wrote to ``folder``. Raises DamagedFile if a file is missing or damaged."""
        facts = Saved.read(folder / WEIGHTS_FILE).facts
        model = cls.__new__(cls)
        model.targets, model.classes, model.images = facts["targets"], facts["classes"], facts["images"]
        model.only = {int(target): label for target, label in facts["only"].items()}
        model.classifiers = {int(target): _load_one(_place(folder, int(target))) for target in facts["names"]}
        return model


def _of_target(folds: Sequence[PerTarget], target: int) -> list[LogisticRegression]:
    """The classifiers of one target."""
    found = [fold.classifiers.get(target) for fold in folds]
    return [each for each in found if isinstance(each, LogisticRegression)]


def load_classifier(folder: Path) -> Classifier | PerTarget:
    """The classifier, or the classifiers of several targets, saved in ``folder``.

    Raises DamagedFile if a file is missing or damaged.
    """
    return PerTarget.load(folder) if kind_in(folder / WEIGHTS_FILE) == KIND else _load_one(folder)


def _load_one(folder: Path) -> Classifier:
    path = folder / WEIGHTS_FILE
    kinds = {each.__name__: each for each in CLASSIFIERS.values()}
    kind = kinds.get(kind_in(path))
    if kind is None:
        raise damaged(path)
    return load_state(kind, path)


def _place(folder: Path, target: int) -> Path:
    return folder / f"target-{target + 1}"
