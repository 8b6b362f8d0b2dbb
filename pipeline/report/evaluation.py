"""One model's predictions evaluated class by class: confusion matrix, precision, recall and ROC."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.metrics import auc, precision_recall_fscore_support, precision_score

MOST_SHOWN = 40  # classes that a figure can name; of more, the worst are drawn


@dataclass(frozen=True)
class Confusion:
    """Images of the class ``true`` predicted as ``predicted``: their count, and their share of the true class (0-1)."""

    true: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The predictions of one model for labelled images, evaluated.

    probabilities: float ``[N, C]``; labels: int64 ``[N]`` in ``range(C)``.

    Values for each class are float64 ``[C]`` in 0-1, and nan if undefined for a class.
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def classes(self) -> int:
        return self.probabilities.shape[1]

    @cached_property
    def predicted_labels(self) -> np.ndarray:
        """The most likely class of each image, int64 ``[N]``."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> int:
        """The number of images that are classified correctly."""
        return int((self.predicted_labels == self.labels).sum())

    def confusion(self, classes: np.ndarray) -> np.ndarray:
        """Confusion matrix of K of the classes: rows are true classes, columns are predicted ones.

        int64 ``[K, K]`` if these are all classes, otherwise ``[K, K + 1]``, with all other predictions at the end.
        """
        places = np.full(self.classes, len(classes))
        places[classes] = np.arange(len(classes))
        counts = np.zeros((len(classes), len(classes) + 1), np.int64)
        rows = places[self.labels] < len(classes)
        np.add.at(counts, (places[self.labels[rows]], places[self.predicted_labels[rows]]), 1)
        return counts if len(classes) < self.classes else counts[:, :-1]

    def worst_classes(self, most: int) -> np.ndarray:
        """At most so many of the classes, int64, the lowest F1 first; those without images come last."""
        return np.argsort(np.where(self.support > 0, self.f1, np.nan), kind="stable")[:most]

    def most_confused(self, most: int) -> np.ndarray:
        """At most so many of the classes, int64: those of the worst confusions, side by side, then the worst others."""
        pairs = ((each.true, each.predicted) for each in self.worst_confusions(most))
        first = dict.fromkeys([label for pair in pairs for label in pair] + self.worst_classes(most).tolist())
        return np.array(list(first)[:most])

    @cached_property
    def support(self) -> np.ndarray:
        """Number of images of each class, int64 ``[C]``."""
        return np.bincount(self.labels, minlength=self.classes)

    @property
    def precision(self) -> np.ndarray:
        return self._measured[0]

    @property
    def recall(self) -> np.ndarray:
        return self._measured[1]

    @property
    def f1(self) -> np.ndarray:
        return self._measured[2]

    @cached_property
    def _measured(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall and F1 of each class."""
        classes = np.arange(self.classes)
        return precision_recall_fscore_support(
            self.labels, self.predicted_labels, labels=classes, zero_division=np.nan
        )[:3]

    @property
    def precision_macro(self) -> float:
        """Mean precision over the classes that occur or are predicted; 0 for a class that is never predicted."""
        return float(precision_score(self.labels, self.predicted_labels, average="macro", zero_division=0))

    @cached_property
    def auc(self) -> np.ndarray:
        """Area under the one-versus-rest ROC curve of each class; nan for one that no image or every image has."""
        areas = np.full(self.classes, np.nan)
        areas[list(self._curves)] = [auc(*curve) for curve in self._curves.values()]
        return areas

    def roc(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates of one class against all others. Its ``auc`` must not be nan."""
        return self._curves[label]

    @cached_property
    def _curves(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """The ROC curve of each class that some images have and some have not."""
        measured = np.flatnonzero((self.support > 0) & (self.support < len(self.labels)))
        return {label: self._curve(label) for label in measured.tolist()}

    def _curve(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Its corners, which lie at the probabilities of the images of the class: between them it is level.

        scikit-learn's roc_curve takes every probability, and several seconds for a thousand classes.
        """
        scores = np.sort(self.probabilities[:, label])
        own = np.sort(self.probabilities[self.labels == label, label])
        all_above, own_above = (_above(each, np.unique(own)[::-1]) for each in (scores, own))
        false_rates = (all_above - own_above) / (len(scores) - len(own))
        return np.concatenate([[0], false_rates, [1]]), np.concatenate([[0], own_above / len(own), [1]])

    def macro_roc(self) -> tuple[np.ndarray, np.ndarray]:
        """The ROC curve averaged over all classes whose ``auc`` is not nan: false and mean true positive rates."""
        false_rates = np.linspace(0, 1, 201)
        true_rates = [np.interp(false_rates, *curve) for curve in self._curves.values()]
        return false_rates, np.mean(true_rates, axis=0)

    def worst_confusions(self, most: int) -> list[Confusion]:
        """The pairs of classes confused most often, most frequent first, at most ``most``."""
        wrong = self.predicted_labels != self.labels
        places, counts = np.unique(self.labels[wrong] * self.classes + self.predicted_labels[wrong], return_counts=True)
        worst = np.argsort(-counts, kind="stable")[:most]
        return [
            Confusion(true, predicted, count, count / self.support[true])
            for (true, predicted), count in zip(
                (divmod(place, self.classes) for place in places[worst].tolist()), counts[worst].tolist(), strict=True
            )
        ]

    @cached_property
    def mistakes(self) -> np.ndarray:
        """Number of wrong answers about the images of each class, int64 ``[C]``."""
        return np.bincount(self.labels[self.predicted_labels != self.labels], minlength=self.classes)

    def surest_mistakes(self, most: int) -> np.ndarray:
        """Rows of at most ``most`` wrong predictions, those with the highest probability first."""
        wrong = np.flatnonzero(self.predicted_labels != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong, self.predicted_labels[wrong]], kind="stable")][:most]

    def some_right(self, most: int, seed: int = 0) -> np.ndarray:
        """Rows of at most ``most`` correct predictions, drawn at random."""
        right = np.flatnonzero(self.predicted_labels == self.labels)
        return np.random.default_rng(seed).permutation(right)[:most]


def _above(ascending: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """For each of the limits, how many are above it and how many are at least that high, int64 ``[2 * limits]``."""
    below = [np.searchsorted(ascending, limits, side) for side in ("right", "left")]
    return len(ascending) - np.stack(below, axis=1).ravel()
