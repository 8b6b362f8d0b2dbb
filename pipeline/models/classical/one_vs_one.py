"""The numerics of a one-vs-one kernel machine: kernels, training with libsvm, and votes."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.svm import SVC

LIBSVM_CACHE_MB = 500
MIRRORED_ROWS = 1000
DECISIONS_AT_ONCE = 2**22  # entries of the decision matrices in one piece; with 1,000 classes an image has a million


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products of two sets of rows, float32 ``[n, m]``, and the squared lengths of both, float64."""

    inner: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, left: np.ndarray, right: np.ndarray) -> Self:
        """Products of float32 ``[n, D]`` with float32 ``[m, D]``."""
        return cls(left @ right.T, squared_lengths(left), squared_lengths(right))

    @classmethod
    def within(cls, rows: np.ndarray) -> Self:
        """Products of float32 ``[n, D]`` with itself; only half is computed, since the matrix is symmetric."""
        inner = np.empty((len(rows), len(rows)), np.float32)
        for start in range(0, len(rows), MIRRORED_ROWS):
            block = slice(start, start + MIRRORED_ROWS)
            np.matmul(rows[block], rows[: block.stop].T, out=inner[block, : block.stop])
            inner[:start, block] = inner[block, :start].T
        return cls(inner, squared_lengths(rows), squared_lengths(rows))

    def take(self, rows: slice, columns: np.ndarray) -> "Products":
        return Products(self.inner[rows][:, columns], self.left[rows], self.right[columns])

    def linear(self, copies: int) -> np.ndarray:
        """Inner products of rows repeated ``copies`` times, float64 ``[n, m]``."""
        return np.multiply(self.inner, copies, dtype=np.float64)

    def rbf(self, gamma: float) -> np.ndarray:
        """exp(-gamma * squared distance), float64 ``[n, m]``, without temporary matrices of that size."""
        kernel = np.multiply(self.inner, 2 * gamma, dtype=np.float64)
        kernel -= gamma * self.left[:, None]
        kernel -= gamma * self.right
        return np.exp(np.minimum(kernel, 0, out=kernel), out=kernel)


@dataclass(frozen=True, eq=False)
class Machine:
    """A binary machine for each pair of ``C`` classes, over ``S`` support vectors sorted by class.

    coefficients: float64 ``[C - 1, S]`` in libsvm's layout: the coefficients of class i's vectors against class j
        are in row j - 1 for j > i, and in row j for j < i.
    counts: support vectors of each class, ``[C]``.
    intercepts: float64, one for each pair of classes: (0, 1), (0, 2), ...
    """

    coefficients: np.ndarray
    counts: np.ndarray
    intercepts: np.ndarray

    @classmethod
    def train(cls, kernel: np.ndarray, labels: np.ndarray, C: float) -> tuple[Self, np.ndarray]:
        """Train on the kernel matrix (float64 ``[n, n]``) of images sorted by label.

        Returns the machine and the rows that are its support vectors.
        """
        svc = SVC(kernel="precomputed", C=C, cache_size=LIBSVM_CACHE_MB).fit(kernel, labels)
        # With two classes scikit-learn flips libsvm's signs.
        sign = -1 if len(svc.classes_) == 2 else 1
        return cls(sign * svc.dual_coef_, svc.n_support_, sign * svc.intercept_), svc.support_

    def scores(self, kernel: np.ndarray) -> np.ndarray:
        """Votes plus bounded confidences, float64 ``[n, C]``.

        kernel: the kernel of the images with the support vectors, float64 ``[n, S]``.

        The values are those of scikit-learn's decision_function (shape "ovr"). libsvm predicts the first of the classes
        with the most votes. If another class has a larger score, the two scores are swapped, so that the largest score
        always belongs to the class that SVC.predict returns.
        """
        step = max(1, DECISIONS_AT_ONCE // len(self.counts) ** 2)
        return np.concatenate(
            [self._scores(kernel[start : start + step]) for start in range(0, max(1, len(kernel)), step)]
        )

    def _scores(self, kernel: np.ndarray) -> np.ndarray:
        decisions = self._decisions(kernel)
        first = np.triu(np.ones(decisions.shape[1:], bool), 1)
        votes = ((decisions > 0) & first | (decisions <= 0) & first.T).sum(axis=2)
        confidence = np.einsum("nij,ij->ni", decisions, first * 1.0 - first.T)
        scores = votes + confidence / (3 * (np.abs(confidence) + 1))
        rows, winner, surest = np.arange(len(scores)), votes.argmax(axis=1), scores.argmax(axis=1)
        scores[rows, winner], scores[rows, surest] = scores[rows, surest], scores[rows, winner]
        return scores

    def _decisions(self, kernel: np.ndarray) -> np.ndarray:
        """Decisions of all pairs, symmetric float64 ``[n, C, C]``; positive for the class with the lower number."""
        count, starts = len(self.counts), np.cumsum(self.counts)[:-1]
        decisions = np.zeros((len(kernel), count, count))
        decisions[:, *np.triu_indices(count, 1)] = self.intercepts
        blocks = zip(np.split(kernel, starts, axis=1), np.split(self.coefficients, starts, axis=1), strict=True)
        for label, (columns, coefficients) in enumerate(blocks):
            against = columns @ coefficients.T
            decisions[:, label, :label] += against[:, :label]
            decisions[:, label, label + 1 :] += against[:, label:]
        return decisions + decisions.transpose(0, 2, 1)


def squared_lengths(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
