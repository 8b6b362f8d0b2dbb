"""What labelled images say of one model, class by class: confusions, precision and recall, ROC."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Confusion:
    """Images of the class ``true`` taken for ``predicted``: their count, and their share of the true class."""

    true: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model's answers, measured.

    probabilities: float ``[N, C]``; labels: int64 ``[N]`` in ``range(C)``.

    What is given class by class is float64 ``[C]`` in 0-1, nan where a class has nothing to measure on.
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def classes(self) -> int:
        return self.probabilities.shape[1]

    @cached_property
    def predicted_labels(self) -> np.ndarray:
        """The likeliest class of each image, int64 ``[N]``."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts, int64 ``[C, C]``: a row a true class, a column a predicted one."""
        pairs = self.labels * self.classes + self.predicted_labels
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    @property
    def support(self) -> np.ndarray:
        """Images of each class, int64 ``[C]``."""
        return self.confusion.sum(axis=1)

    @property
    def predicted(self) -> np.ndarray:
        """How often each class was predicted, int64 ``[C]``."""
        return self.confusion.sum(axis=0)

    @property
    def recall(self) -> np.ndarray:
        return _ratio(self.confusion.diagonal(), self.support)

    @property
    def precision(self) -> np.ndarray:
        return _ratio(self.confusion.diagonal(), self.predicted)

    @property
    def f1(self) -> np.ndarray:
        return _ratio(2 * self.confusion.diagonal(), self.support + self.predicted)

    @property
    def precision_macro(self) -> float:
        """The mean over the classes that are there or predicted; one that is never predicted counts as 0."""
        counted = self.support + self.predicted > 0
        return float(np.nan_to_num(self.precision[counted]).mean())

    @cached_property
    def auc(self) -> np.ndarray:
        """Area under each class's one-versus-rest ROC curve, as the Mann-Whitney statistic of the ranks."""
        from scipy.stats import rankdata

        positive = self.labels[:, None] == np.arange(self.classes)
        positives = self.support
        rank_sums = (rankdata(self.probabilities, axis=0) * positive).sum(axis=0)
        wins = rank_sums - positives * (positives + 1) / 2
        return _ratio(wins, positives * (len(self.labels) - positives))

    def roc(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates of a class against all others; its ``auc`` must not be nan."""
        order = np.argsort(-self.probabilities[:, label], kind="stable")
        positive = self.labels[order] == label
        ends = np.append(np.diff(self.probabilities[order, label]) != 0, True)  # equals are told apart by no threshold
        true, false = np.cumsum(positive)[ends], np.cumsum(~positive)[ends]
        return np.append(0, false / false[-1]), np.append(0, true / true[-1])

    def macro_roc(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean of the true positive rates of all classes that can be measured, over the false ones."""
        false_rates = np.linspace(0, 1, 201)
        measured = np.flatnonzero(np.isfinite(self.auc))
        true_rates = [np.interp(false_rates, *self.roc(label)) for label in measured]
        return false_rates, np.mean(true_rates, axis=0)

    def worst_confusions(self, most: int) -> list[Confusion]:
        """The pairs of classes confused most often, the most frequent first."""
        mistakes = self.confusion - np.diag(self.confusion.diagonal())
        places = np.argsort(-mistakes, axis=None, kind="stable")[:most]
        return [
            Confusion(true, predicted, int(mistakes[true, predicted]), mistakes[true, predicted] / self.support[true])
            for true, predicted in (map(int, divmod(place, self.classes)) for place in places)
            if mistakes[true, predicted]
        ]

    def surest_mistakes(self, most: int) -> np.ndarray:
        """Row numbers of wrong answers, those given with the highest probability first."""
        wrong = np.flatnonzero(self.predicted_labels != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong, self.predicted_labels[wrong]], kind="stable")][:most]

    def some_right(self, most: int, seed: int = 0) -> np.ndarray:
        """Row numbers of right answers, drawn at random."""
        right = np.flatnonzero(self.predicted_labels == self.labels)
        return np.random.default_rng(seed).permutation(right)[:most]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
