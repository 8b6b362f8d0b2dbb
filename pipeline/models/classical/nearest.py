"""Exact search for the nearest rows by brute force, at the speed of float32 matrix products."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.models.classical.one_vs_one import squared_lengths
from pipeline.models.classical.pixels import chunks
from pipeline.runtime.time_limit import in_time

ROUNDING = float(np.finfo(np.float32).eps)
BLOCK = 1024  # values; with smaller blocks memory access would be the bottleneck


@dataclass(frozen=True, eq=False)
class NearestRows:
    """Finds the rows that are nearest to a query, by euclidean distance or by cosine.

    Both order the rows by ``offset + factor * (row . query)``. Products in float32 and a bound on their rounding errors
    give the rows that may be among the nearest. These candidates, hardly more than the number requested, are compared
    in float64. A product is summed block by block, which reduces the bound: the error, in units in the last place of
    the product of the lengths, is at most the number of values in a block plus the number of blocks, instead of the
    number of values in a row (Higham, Accuracy and Stability of Numerical Algorithms, 2002, sections 3.1 and 4.2).

    rows: float32 ``[n, D]``. offset, factor: float64 ``[n]``. reach: the largest of ``|factor| * |row|``.
    """

    rows: np.ndarray
    offset: np.ndarray
    factor: np.ndarray
    reach: float

    @classmethod
    def by_distance(cls, rows: np.ndarray) -> Self:
        """Nearest by euclidean distance. The order leaves out the query's squared length, a constant for all rows."""
        squares = squared_lengths(rows)
        return cls(rows, squares, np.full(len(rows), -2.0), 2 * float(np.sqrt(squares.max())))

    @classmethod
    def by_cosine(cls, rows: np.ndarray) -> Self:
        """Nearest by cosine similarity; the cosine of a row of zeros is 0."""
        lengths = np.sqrt(squared_lengths(rows))
        return cls(rows, np.zeros(len(rows)), -1 / np.where(lengths > 0, lengths, np.inf), 1.0)

    def search(self, queries: np.ndarray, most: int) -> np.ndarray:
        """The ``most`` nearest rows of each query (float32 ``[m, D]``), int64 ``[m, most]``, nearest first.

        In a tie the row with the smaller number comes first.
        """
        found = np.empty((len(queries), most), np.int64)
        for piece in in_time(chunks(len(queries), len(self.rows))):
            possible = self._possible(queries[piece], most)
            found[piece] = [self._nearest(*pair, most) for pair in zip(queries[piece], possible, strict=True)]
        return found

    def _possible(self, queries: np.ndarray, most: int) -> list[np.ndarray]:
        """For each query, the rows that may be among the nearest."""
        order = self._products(queries)
        order *= self.factor.astype(np.float32)
        order += self.offset.astype(np.float32)
        values, lengths = queries.shape[1], np.sqrt(squared_lengths(queries))
        units = min(values, BLOCK) + -(-values // BLOCK) + 4
        doubt = ROUNDING * (units * self.reach * lengths + 2 * np.abs(self.offset).max())
        limits = np.partition(order, most - 1, axis=1)[:, most - 1] + 2 * doubt
        return [np.flatnonzero(row <= limit) for row, limit in zip(order, limits, strict=True)]

    def _products(self, queries: np.ndarray) -> np.ndarray:
        """Inner products of queries and rows, float32 ``[m, n]``, summed block by block."""
        products = np.zeros((len(queries), len(self.rows)), np.float32)
        block = np.empty_like(products)
        for start in range(0, queries.shape[1], BLOCK):
            values = slice(start, start + BLOCK)
            products += np.matmul(queries[:, values], self.rows[:, values].T, out=block)
        return products

    def _nearest(self, query: np.ndarray, possible: np.ndarray, most: int) -> np.ndarray:
        pieces = (self.rows[possible[piece]] for piece in chunks(len(possible), len(query)))
        # Each row is summed separately: a matrix product may round equal rows differently.
        products = [np.multiply(rows, query, dtype=np.float64).sum(axis=1) for rows in pieces]
        order = self.offset[possible] + self.factor[possible] * np.concatenate(products)
        return possible[np.argsort(order, kind="stable")[:most]]
