"""Task: what is predicted for each image, and the meaning of a model's output columns."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from competition.wording import counted, listed

Label = int | str
Kind = Literal["multiclass", "multilabel", "multioutput", "continuous"]  # as scikit-learn's type_of_target names them


@dataclass(frozen=True)
class Task:
    """One or more targets of each image, each of them a choice among equally many.

    classes: what people call the classes, sorted. multiclass: the labels, one of which an image has. multilabel: the
        labels, any of which an image has; each is a target, a choice of no or yes. multioutput: the labels of each
        target. continuous: the names of the numbers; each is a target, a choice among narrow intervals.
    targets: the names of the targets of a multioutput task.
    intervals: of a continuous task, the mean of each interval in ascending order, for each number.

    A model's output has ``columns`` columns, one after another the choices of each target; each target's sum to 1.
    """

    classes: tuple[Label, ...]
    kind: Kind = "multiclass"
    targets: tuple[str, ...] = ()
    intervals: tuple[tuple[float, ...], ...] = ()

    def __str__(self) -> str:
        """What is predicted, e.g. ``10 classes`` or ``17 labels, any of which an image may have``."""
        if self.kind == "multioutput":
            return f"{len(self.targets)} classes each ({listed(self.targets)})"
        name = {"multiclass": "class", "multilabel": "label"}.get(self.kind, "number")
        text = counted(len(self.classes), name)
        return f"{text}, any of which an image may have" if self.kind == "multilabel" else text

    @property
    def target_count(self) -> int:
        """The number of targets, T."""
        return {"multiclass": 1, "multioutput": len(self.targets)}.get(self.kind, len(self.classes))

    @property
    def choices(self) -> int:
        """The number of choices of each target, K."""
        if self.kind == "continuous":
            return len(self.intervals[0])
        return 2 if self.kind == "multilabel" else len(self.classes)

    @property
    def columns(self) -> int:
        """The number of columns of a model's output, T * K."""
        return self.target_count * self.choices

    def by_target(self, probabilities: np.ndarray) -> np.ndarray:
        """A model's output, ``[N, T * K]``, as ``[N, T, K]``."""
        return probabilities.reshape(len(probabilities), self.target_count, self.choices)

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """The choices that models learn, int64 ``[N, T]``, or ``[N]`` of a single target.

        Of a number it is the interval with the nearest mean.
        """
        if labels.dtype.kind == "f":
            labels = np.stack([self._nearest(*pair) for pair in zip(labels.T, self._means, strict=True)], axis=1)
        return labels.reshape(-1) if self.target_count == 1 else labels

    def decode(self, probabilities: np.ndarray) -> np.ndarray:
        """The likeliest labels or the expected numbers, as ``Split.labels`` has them.

        probabilities: a model's output.
        """
        if self.kind == "continuous":
            return self.numbers(probabilities)
        likeliest = self.by_target(probabilities).argmax(axis=2)
        return likeliest.reshape(-1) if self.target_count == 1 and self.kind == "multiclass" else likeliest

    def prior(self, labels: np.ndarray) -> np.ndarray:
        """How often each choice of each target occurs, float64 ``[T * K]``; a target's sum to 1."""
        chosen = self.encode(labels).reshape(len(labels), -1)
        return np.concatenate([np.bincount(each, minlength=self.choices) for each in chosen.T]) / max(len(labels), 1)

    def numbers(self, probabilities: np.ndarray) -> np.ndarray:
        """The expected numbers of a continuous task, float64 ``[N, T]``. probabilities: a model's output."""
        return np.einsum("ntk,tk->nt", self.by_target(probabilities), self._means, dtype=np.float64)

    def true_numbers(self, labels: np.ndarray) -> np.ndarray:
        """The true numbers, float64 ``[N, T]``. labels: the numbers, or their intervals as ``encode`` gives them."""
        if labels.dtype.kind == "f":
            return labels
        return np.take_along_axis(self._means, labels.reshape(len(labels), -1).T, axis=1).T

    def scores(self, probabilities: np.ndarray) -> np.ndarray:
        """The probability of each label, ``[N, L]``; of two classes only that of the second."""
        if self.kind == "multilabel":
            return self.by_target(probabilities)[:, :, 1]
        return probabilities[:, 1:] if self.columns == 2 else probabilities

    def truths(self, labels: np.ndarray) -> np.ndarray:
        """Whether each image has each label, bool ``[N, L]``, with the columns of ``scores``."""
        if self.kind == "multilabel":
            return labels.reshape(len(labels), -1).astype(bool)
        return labels[:, None] == (np.arange(1, 2) if self.columns == 2 else np.arange(self.columns))

    @cached_property
    def _means(self) -> np.ndarray:
        return np.array(self.intervals)

    def _nearest(self, numbers: np.ndarray, means: np.ndarray) -> np.ndarray:
        return np.searchsorted((means[1:] + means[:-1]) / 2, numbers, side="right").astype(np.int64)


def strata(labels: np.ndarray) -> np.ndarray:
    """A class of each image by which to split images into similar parts, int64 ``[N]``.

    labels: the choices of each image, int64 ``[N]`` or, of several targets, ``[N, T]``. Of several, the rarest counts.
    """
    if labels.ndim == 1:
        return labels
    choices = labels.max(initial=0) + 1
    places = labels + np.arange(labels.shape[1]) * choices
    counts = np.bincount(places.ravel(), minlength=1)
    rarest = np.take_along_axis(places, counts[places].argmin(axis=1)[:, None], axis=1)[:, 0]
    return np.unique(rarest, return_inverse=True)[1]
