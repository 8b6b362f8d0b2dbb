"""Logistic regression on standardised values."""

import warnings
from collections.abc import Sequence
from typing import Self

import numpy as np

from competition.progress import Progress
from pipeline.data.cache import Images
from pipeline.models.classical.base import Classifier, fit_temperature
from pipeline.models.classical.pixels import flat_chunks
from pipeline.runtime.time_limit import in_time

MOST_ITERATIONS = 300


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
        self.seen = self._seen_classes(labels, "logreg")
        self._measure(images)
        trials = self._fit_grid(self._standardised(self._flat(images)), labels, validation_images)
        self.grid_scores = [
            self._measured(point, scores, validation_labels)
            for point, (*_, scores) in zip(self.grid, trials, strict=True)
        ]
        best = self._best_tried()
        self.chosen = self.grid[best]
        self.coefficients, self.intercepts, scores = trials[best]
        self.temperature = fit_temperature(scores, validation_labels)
        return self

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """See ``Classifier.cost``; assumes that every regression uses all its iterations."""
        an_iteration = (6 * values + 60) * train_images * self.classes
        return len(self.grid) * MOST_ITERATIONS * an_iteration + 1_500 * (train_images + validation_images) * values

    def _fit_grid(
        self, design: np.ndarray, labels: np.ndarray, validation_images: Images
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Coefficients, intercepts and validation scores of every point of the grid."""
        trials = []
        for point in in_time(Progress(self.grid, desc="logistic regression", unit="fit")):
            coefficients, intercepts = fit_logistic(design, labels, point["C"])
            trials.append((coefficients, intercepts, self._log_odds(validation_images, coefficients, intercepts)))
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
