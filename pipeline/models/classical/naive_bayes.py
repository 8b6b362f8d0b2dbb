"""Naive Bayes on pixels: Gaussian, multinomial and Bernoulli."""

from abc import abstractmethod
from typing import Self

import numpy as np

from pipeline.models.classical.base import Classifier, fit_temperature
from pipeline.models.classical.pixels import Images, flat_chunks, is_grey, mean_and_variance, pixel_sums

VARIANCE_SMOOTHING = 1e-9
COUNT_SMOOTHING = 1.0  # Laplace's: one more of everything


class NaiveBayes(Classifier):
    """Pixels that are independent within each class.

    The joint log likelihoods count every pixel as a witness of its own and are far too sure; the temperature sets
    that right. Memory: at most 24 bytes for each pixel of each class, and about 150 MB for the piece in work,
    however many images there are.
    """

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Learn each class's pixels; fit the temperature on the validation images."""
        self.grey = is_grey(images)
        counts = np.bincount(labels, minlength=self.classes)
        self._learn(images, labels, counts)
        with np.errstate(divide="ignore"):
            self.log_prior = np.log(counts / len(labels))
        self.temperature = fit_temperature(self._scores(validation_images), validation_labels)
        return self

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        sums = 600 * train_images * values
        return sums + validation_images * values * (1500 + 16 * self.classes)

    @abstractmethod
    def _learn(self, images: Images, labels: np.ndarray, counts: np.ndarray) -> None:
        """Keep what the likelihood takes. counts: training images of each class, int64 ``[classes]``."""

    @abstractmethod
    def _log_likelihood(self, flat: np.ndarray) -> np.ndarray:
        """``log p(x | class)`` of the values used once each, float64 ``[n, classes]``; flat: ``[n, D]``."""

    def _scores(self, images: Images) -> np.ndarray:
        """``log p(x, class)``, float64 ``[N, classes]``; -inf for a class without training images."""
        scores = [self._log_likelihood(flat) for flat in flat_chunks(images, self.grey)]
        return self.copies * np.concatenate(scores) + self.log_prior

    def _class_sums(self, images: Images, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum and sum of squares of each class's pixels, ``[classes, D]`` each."""
        values = int(np.prod(images.shape[1:])) // self.copies
        rows_of = (np.flatnonzero(labels == label) for label in range(self.classes))
        sums = [pixel_sums(flat_chunks(images, self.grey, rows), values) for rows in rows_of]
        return np.stack([total for total, _ in sums]), np.stack([squares for _, squares in sums])


class GaussianNaiveBayes(NaiveBayes):
    """Normal pixels within each class, with scikit-learn's GaussianNB's predictions on standardised pixels."""

    def _learn(self, images: Images, labels: np.ndarray, counts: np.ndarray) -> None:
        total, squares = self._class_sums(images, labels)
        self._keep_scale(total.sum(axis=0), squares.sum(axis=0), len(labels))
        mean, variance = mean_and_variance(total, squares, counts[:, None])
        self.class_mean = (mean - self.mean) / self.std
        self.class_variance = variance / self.std**2 + VARIANCE_SMOOTHING

    def _log_likelihood(self, flat: np.ndarray) -> np.ndarray:
        precision = 1 / self.class_variance
        weighted_mean = self.class_mean * precision
        constant = (self.class_mean * weighted_mean + np.log(2 * np.pi * self.class_variance)).sum(axis=1) / 2
        x = self._standardised(flat, np.float64)
        return x @ weighted_mean.T - np.square(x, out=x) @ precision.T / 2 - constant


class MultinomialNaiveBayes(NaiveBayes):
    """A pixel's brightness is how often it was drawn, with scikit-learn's MultinomialNB's predictions.

    log_probability: float64 ``[classes, D]``, of drawing each pixel (one of its copies).
    """

    def _learn(self, images: Images, labels: np.ndarray, counts: np.ndarray) -> None:
        drawn = self._class_sums(images, labels)[0] + COUNT_SMOOTHING
        self.log_probability = np.log(drawn) - np.log(self.copies * drawn.sum(axis=1, keepdims=True))

    def _log_likelihood(self, flat: np.ndarray) -> np.ndarray:
        return flat.astype(np.float64) @ self.log_probability.T


class BernoulliNaiveBayes(NaiveBayes):
    """Pixels that are bright or not, with scikit-learn's BernoulliNB's predictions on standardised pixels.

    Its own threshold of 0 on standardised pixels, as the report has them, is each pixel's mean over train.

    log_bright, log_dark: float64 ``[classes, D]``.
    """

    def _learn(self, images: Images, labels: np.ndarray, counts: np.ndarray) -> None:
        total, squares = self._class_sums(images, labels)
        self._keep_scale(total.sum(axis=0), squares.sum(axis=0), len(labels))
        bright = np.zeros(total.shape)
        for label in range(self.classes):
            for flat in flat_chunks(images, self.grey, np.flatnonzero(labels == label)):
                bright[label] += (flat > self.mean).sum(axis=0)
        seen = np.log(counts + 2 * COUNT_SMOOTHING)[:, None]
        self.log_bright = np.log(bright + COUNT_SMOOTHING) - seen
        self.log_dark = np.log(counts[:, None] - bright + COUNT_SMOOTHING) - seen

    def _log_likelihood(self, flat: np.ndarray) -> np.ndarray:
        bright = (flat > self.mean).astype(np.float64)
        return bright @ (self.log_bright - self.log_dark).T + self.log_dark.sum(axis=1)
