"""Logistic regression on standardised values."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from competition.metrics import LOG_LOSS
from competition.progress import Progress
from pipeline.data.cache import Images
from pipeline.models.classical.base import Classifier, fit_temperature, soften
from pipeline.models.classical.pixels import flat_chunks
from pipeline.runtime.time_limit import in_time

MOST_ITERATIONS = 300


@dataclass(frozen=True, eq=False)
class Trial:
    """A fitted point of the grid. scores: of the validation images, float64 ``[N, classes]``."""

    coefficients: np.ndarray
    intercepts: np.ndarray
    scores: np.ndarray


class LogisticRegression(Classifier):
    """Multinomial logistic regression with the value of C that is best on validation (the first in a tie).

    Predicts like scikit-learn's LogisticRegression on the standardised values. Memory: eight bytes for each training
    value.

    grid: one ``{"C": float}`` for each regression to try; C is the inverse of the L2 penalty.
    chosen: the point of the grid that was kept.
    coefficients, intercepts: ``[S, D]`` and ``[S]`` for the S seen classes; of two classes, only for the second.
    """

    def __init__(self, classes: int, grid: Sequence[dict]):
        super().__init__(classes)
        self.grid = [dict(point) for point in grid]

    def _fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray
    ) -> Self:
        """Fit every point of the grid and keep the best on the validation images.

        Raises UserError if the training images have fewer than two classes.
        """
        design = self._design(images, labels)
        self._trials = self._fit_grid(design, labels, validation_images)
        self._truth = validation_labels
        self.grid_scores = [
            self._measured(point, trial.scores, validation_labels)
            for point, trial in zip(self.grid, self._trials, strict=True)
        ]
        self._keep(self._best_tried())
        self.temperature = fit_temperature(self._trials[self._best_tried()].scores, validation_labels)
        return self

    @classmethod
    def agree(cls, folds: Sequence[Self]) -> None:
        """Let regressions that were fitted to the folds of one set of images keep the same point of the grid.

        It is the one with the lowest log loss over the validation images of all folds, at one temperature: of a few
        hundred images, accuracy tells less.
        """
        truth = np.concatenate([fold._truth for fold in folds])
        by_point = zip(*(fold._trials for fold in folds), strict=True)
        pooled = [np.concatenate([trial.scores for trial in trials]) for trials in by_point]
        temperatures = [fit_temperature(scores, truth) for scores in pooled]
        losses = [LOG_LOSS(soften(*each), truth) for each in zip(pooled, temperatures, strict=True)]
        best = int(np.argmin(losses))
        for fold in folds:
            fold._keep(best)
            fold.temperature = temperatures[best]

    @classmethod
    def refitted(cls, folds: Sequence[Self], images: Images, labels: np.ndarray) -> Self:
        """A regression on all images, with the point of the grid and the temperature on which the folds agree."""
        first = folds[0]
        model = cls(first.classes, first.grid).measured_by(first._metric)
        coefficients, intercepts = fit_logistic(model._design(images, labels), labels, first.chosen["C"])
        model.coefficients, model.intercepts = coefficients, intercepts
        model.chosen, model.temperature, model.grid_scores = first.chosen, first.temperature, first.grid_scores
        return model

    def _design(self, images: Images, labels: np.ndarray) -> np.ndarray:
        """The standardised values of the training images, float32 ``[N, D]``."""
        self.seen = self._seen_classes(labels, "logreg")
        self._measure(images)
        return self._standardised(self._flat(images))

    def _keep(self, point: int) -> None:
        self.chosen, trial = self.grid[point], self._trials[point]
        self.coefficients, self.intercepts = trial.coefficients, trial.intercepts

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """See ``Classifier.cost``; assumes that every regression uses all its iterations."""
        an_iteration = (6 * values + 60) * train_images * self.classes
        return len(self.grid) * MOST_ITERATIONS * an_iteration + 1_500 * (train_images + validation_images) * values

    def _fit_grid(self, design: np.ndarray, labels: np.ndarray, validation_images: Images) -> list[Trial]:
        trials = []
        for point in in_time(Progress(self.grid, desc="logistic regression", unit="fit")):
            coefficients, intercepts = fit_logistic(design, labels, point["C"])
            scores = self._log_odds(validation_images, coefficients, intercepts)
            trials.append(Trial(coefficients, intercepts, scores))
        return trials

    def _scores(self, images: Images) -> np.ndarray:
        return self._log_odds(images, self.coefficients, self.intercepts)

    def _log_odds(self, images: Images, coefficients: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
        """Log odds of each class, float64 ``[N, classes]``; -inf for a class never seen."""
        pieces = [self._standardised(flat) @ coefficients.T + intercepts for flat in flat_chunks(images, self.grey)]
        return self._over_all_classes(both_sides(np.concatenate(pieces)))


def fit_logistic(design: np.ndarray, labels: np.ndarray, C: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients ``[S, D]`` and intercepts ``[S]`` of scikit-learn's regression. design: ``[N, D]``."""
    from sklearn import linear_model
    from sklearn.exceptions import ConvergenceWarning

    regression = linear_model.LogisticRegression(C=C, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # more iterations do not change the validation score
        regression.fit(design, labels)
    return regression.coef_, regression.intercept_


def both_sides(scores: np.ndarray) -> np.ndarray:
    """Scores with a column for each class: a single column, of the second of two classes, gets a column of zeros."""
    return np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores
