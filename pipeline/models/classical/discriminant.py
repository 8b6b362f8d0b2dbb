"""The numerics of an approximate kernel machine: the Nyström map, and linear discriminants on it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import solve
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import rbf_kernel

LANDMARKS = 2_000  # of the Nyström map


@dataclass(frozen=True, eq=False)
class DiscriminantMachine:
    """Linear discriminants for C classes in the feature space of a kernel.

    landmarks: float64 ``[m, p]``, the rows that approximate the rbf kernel; None for the linear kernel.
    weights: float64, ``[m, C]`` for the kernel with the landmarks, or ``[p, C]`` for the rows themselves.
    intercepts: float64 ``[C]``.
    """

    landmarks: np.ndarray | None
    weights: np.ndarray
    intercepts: np.ndarray

    def scores(self, rows: np.ndarray, gamma: float) -> np.ndarray:
        """Log posteriors, up to a constant for each row: float64 ``[n, C]``.

        rows: float64 ``[n, p]``. gamma: of the rbf kernel.
        """
        kernel = rows if self.landmarks is None else rbf_kernel(rows, self.landmarks, gamma)
        return kernel @ self.weights + self.intercepts


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Maps rows ``[n, p]`` to rows ``[n, width]`` whose inner products approximate a kernel.

    For the linear kernel the map is the identity. For the rbf kernel it is the Nyström map, which approximates the
    kernel by means of a few rows, the landmarks. Williams and Seeger, Using the Nyström method to speed up kernel
    machines, 2001.
    """

    width: int
    nystroem: Nystroem | None

    @classmethod
    def fit(cls, kernel: str, sample: np.ndarray, gamma: float, seed: int) -> Self:
        """Fit the map. sample: float64 ``[n, p]``, the rows that landmarks are drawn from. gamma: of the rbf kernel."""
        if kernel == "linear":
            return cls(sample.shape[1], None)
        landmarks = min(LANDMARKS, len(sample))
        return cls(landmarks, Nystroem(gamma=gamma, n_components=landmarks, random_state=seed).fit(sample))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.nystroem is None else self.nystroem.transform(rows)

    def machine(self, weights: np.ndarray, intercepts: np.ndarray) -> DiscriminantMachine:
        """The machine for unmapped rows that applies these weights (``[width, C]``) to the mapped rows."""
        if self.nystroem is None:
            return DiscriminantMachine(None, weights, intercepts)
        return DiscriminantMachine(self.nystroem.components_, self.nystroem.normalization_.T @ weights, intercepts)


@dataclass(frozen=True, eq=False)
class ClassSums:
    """The sums that linear discriminants are computed from, updated piece by piece for any number of rows ``[n, m]``.

    counts: rows of each class, ``[C]``. totals: their sums, ``[C, m]``. products: ``rows.T @ rows``, ``[m, m]``.
    All are float64.
    """

    counts: np.ndarray
    totals: np.ndarray
    products: np.ndarray

    @classmethod
    def zeros(cls, classes: int, width: int) -> Self:
        return cls(np.zeros(classes), np.zeros((classes, width)), np.zeros((width, width)))

    def add(self, rows: np.ndarray, labels: np.ndarray) -> None:
        """Add the rows to the sums. rows: float64 ``[n, m]``; labels: int64 ``[n]``."""
        members = np.eye(len(self.counts))[labels]
        self.counts[:] += members.sum(axis=0)
        self.totals[:] += members.T @ rows
        self.products[:] += rows.T @ rows

    def discriminants(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights ``[m, C]`` and intercepts ``[C]`` of the log posteriors, up to a constant for each row.

        Linear discriminant analysis: the classes are assumed to be normally distributed with a common covariance
        matrix. ``penalty`` is added to the diagonal of the within-class scatter matrix. Hastie, Tibshirani and
        Friedman, The Elements of Statistical Learning, 2009, section 4.3. With many classes this is more accurate than
        one-vs-rest least squares (0.42 against 0.39 in the rehearsal), at the same cost.
        """
        means = self.totals / self.counts[:, None]
        within = self.products - self.totals.T @ means
        within[np.diag_indices_from(within)] += penalty
        shares = self.counts / self.counts.sum()
        weights = solve(within / self.counts.sum(), means.T, assume_a="pos")
        return weights, np.log(shares) - (means.T * weights).sum(axis=0) / 2
