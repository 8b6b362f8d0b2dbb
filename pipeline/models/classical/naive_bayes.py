"""Gaussian naive Bayes on standardised pixels."""

from typing import Self

import numpy as np

from pipeline.models.classical.base import PixelClassifier, fit_temperature, soften
from pipeline.models.classical.pixels import Images, flat_chunks, is_grey, mean_and_variance, pixel_sums

SMOOTHING = 1e-9


class GaussianNaiveBayes(PixelClassifier):
    """Independent normal pixels within each class, with scikit-learn's GaussianNB's predictions.

    The joint log likelihoods, which count every pixel as a witness of its own and are far too sure, are
    softened by a temperature that is fitted on the validation images. Memory: 16 bytes for each pixel of each
    class, and about 150 MB for the piece in work, however many images there are.
    """

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Learn each class's pixel means and variances; fit the temperature on the validation images."""
        self.grey = is_grey(images)
        counts = np.bincount(labels, minlength=self.classes)
        total, squares = self._class_sums(images, labels)
        self._keep_scale(total.sum(axis=0), squares.sum(axis=0), len(labels))
        mean, variance = mean_and_variance(total, squares, counts[:, None])
        self.class_mean = (mean - self.mean) / self.deviation
        self.class_variance = variance / self.deviation**2 + SMOOTHING
        with np.errstate(divide="ignore"):
            self.log_prior = np.log(counts / len(labels))
        self.temperature = fit_temperature(self._joint_log_likelihood(validation_images), validation_labels)
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Softened posterior, float32 ``[N, classes]``."""
        return soften(self._joint_log_likelihood(images), self.temperature)

    @staticmethod
    def cost(train_images: int, validation_images: int, values: int, classes: int) -> float:
        sums = 600 * train_images * values
        return sums + validation_images * values * (1500 + 16 * classes)

    def _class_sums(self, images: Images, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum and sum of squares of each class's pixels, int64 ``[classes, D]`` each."""
        values = int(np.prod(images.shape[1:])) // self.copies
        rows_of = (np.flatnonzero(labels == label) for label in range(self.classes))
        sums = [pixel_sums(flat_chunks(images, self.grey, rows), values) for rows in rows_of]
        return np.stack([total for total, _ in sums]), np.stack([squares for _, squares in sums])

    def _joint_log_likelihood(self, images: Images) -> np.ndarray:
        """``log p(x, class)``, float64 ``[N, classes]``; -inf for a class without training images."""
        precision = 1 / self.class_variance
        weighted_mean = self.class_mean * precision
        constant = (self.class_mean * weighted_mean + np.log(2 * np.pi * self.class_variance)).sum(axis=1) / 2
        scores = []
        for flat in flat_chunks(images, self.grey):
            x = self._standardised(flat, np.float64)
            scores.append(x @ weighted_mean.T - np.square(x, out=x) @ precision.T / 2 - constant)
        return self.copies * np.concatenate(scores) + self.log_prior
