"""Corrected labels: what is trained on in place of the images that have one; they validate by the labels of the tables.

So models of before and after the correction are measured by the same labels, and can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from competition.spec import Split


@dataclass(frozen=True, eq=False)
class Corrected:
    """The rows of a split whose labels are corrected, int64 ``[n]``, and their labels, as in ``Split.labels``.

    left_out: the rows that are not to be trained on, int64 ``[m]``.
    """

    rows: np.ndarray
    labels: np.ndarray
    left_out: np.ndarray

    @classmethod
    def of(cls, split: Split, corrections: Mapping[str, np.ndarray | None]) -> Self:
        """corrections: see ``Competition``. Labels that are the split's own correct nothing."""
        given = {row: corrections[name] for row, name in enumerate(split.ids) if name in corrections}
        new = {row: label for row, label in given.items() if label is not None}
        before = split.known_labels
        rows = np.array([row for row, label in new.items() if (before[row] != label).any()], np.int64)
        labels = np.array([new[row] for row in rows], before.dtype).reshape(len(rows), *before.shape[1:])
        return cls(rows, labels, np.array([row for row, label in given.items() if label is None], np.int64))

    def labels_of(self, split: Split) -> np.ndarray:
        """The labels of all rows of the split, corrected, as in ``Split.labels``."""
        labels = split.known_labels.copy()
        labels[self.rows] = self.labels
        return labels

    def without(self, rows: np.ndarray) -> Self:
        """The same with further rows left out, int64 ``[k]``."""
        stay = ~np.isin(self.rows, rows)
        return type(self)(self.rows[stay], self.labels[stay], np.union1d(self.left_out, rows))

    def stand_ins(self, images: int) -> np.ndarray:
        """The row that is trained on in place of each of that many rows, int64 ``[images]``, or -1.

        The corrected rows follow them, in the order of ``rows``.
        """
        stand_ins = np.arange(images)
        stand_ins[self.left_out] = -1
        stand_ins[self.rows] = images + np.arange(len(self.rows))
        return stand_ins
