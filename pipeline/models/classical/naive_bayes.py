"""Naive Bayes on pixels: Gaussian, multinomial and Bernoulli."""

from abc import abstractmethod
from typing import Self

import numpy as np

from pipeline.data.cache import Images
from pipeline.models.classical.base import Classifier, fit_temperature
from pipeline.models.classical.pixels import flat_chunks, is_grey, mean_and_variance, pixel_sums

VARIANCE_SMOOTHING = 1e-9
COUNT_SMOOTHING = 1.0  # Laplace smoothing: 1 is added to every count


class NaiveBayes(Classifier):
    """A model in which the pixels are independent within each class.

    Since neighbouring pixels do depend on each other, the joint log likelihoods are far too confident; the temperature
    corrects this. Memory: at most 24 bytes for each pixel of each class, and about 150 MB for the current piece of the
    images, whatever their number.
    """

    def _fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray
    ) -> Self:
        """Estimate the pixel distributions of each class; fit the temperature on the validation images."""
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
        """Compute what the likelihood needs. counts: training images of each class, int64 ``[classes]``."""

    @abstractmethod
    def _log_likelihood(self, flat: np.ndarray) -> np.ndarray:
        """``log p(x | class)``, each value counted once, float64 ``[n, classes]``; flat: ``[n, D]``."""

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
    """Pixels are normal within each class; predicts like scikit-learn's GaussianNB on standardised pixels."""

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
    """The brightness of a pixel counts how often it was drawn; predicts like scikit-learn's MultinomialNB.

    log_probability: float64 ``[classes, D]``, log probability of drawing one copy of each pixel.
    """

    def _learn(self, images: Images, labels: np.ndarray, counts: np.ndarray) -> None:
        drawn = self._class_sums(images, labels)[0] + COUNT_SMOOTHING
        self.log_probability = np.log(drawn) - np.log(self.copies * drawn.sum(axis=1, keepdims=True))

    def _log_likelihood(self, flat: np.ndarray) -> np.ndarray:
        return flat.astype(np.float64) @ self.log_probability.T


class BernoulliNaiveBayes(NaiveBayes):
    """Pixels are either bright or dark; predicts like scikit-learn's BernoulliNB on standardised pixels.

    The report applies BernoulliNB's default threshold of 0 to standardised pixels. This is the mean of each pixel over
    the training set.

    log_bright, log_dark: float64 ``[classes, D]``, log probability that a pixel is bright or dark.
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
