"""The labelled images and those of the test side by side, as if they were one set."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from competition.layouts import label_cells
from competition.task import Task
from pipeline.data.small_images import resized_rows
from pipeline.findings.pictures import Pictures


@dataclass(frozen=True, eq=False)
class Joined:
    """The images of all parts, one part after the other; those with labels come first.

    task: of their labels.
    """

    task: Task
    parts: tuple[Pictures, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def labelled(self) -> int:
        """The number of rows at the beginning whose labels are known."""
        return len(self.parts[0])

    @property
    def trained(self) -> int:
        """The number of rows at the beginning that are of train."""
        return self.parts[0].trained

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *map(len, self.parts)])

    def gathered(self, get: Callable[[Pictures, np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        """What ``get`` returns for a part and rows of it, for all of these rows."""
        found = [(rows >= start) & (rows < start + len(part)) for start, part in self._placed()]
        values = [get(part, rows[own] - start) for own, (start, part) in zip(found, self._placed(), strict=True)]
        gathered = np.empty((len(rows), *values[0].shape[1:]), values[0].dtype)
        for own, some in zip(found, values, strict=True):
            gathered[own] = some
        return gathered

    def _placed(self) -> list[tuple[int, Pictures]]:
        return list(zip(self._starts.tolist(), self.parts, strict=False))

    def fingerprints(self, name: str, rows: np.ndarray) -> np.ndarray:
        """One of the ``Fingerprints`` of these images."""
        return self.gathered(lambda part, some: getattr(part.fingerprints, name)[some], rows)

    @property
    def have_pixels(self) -> bool:
        """Whether the pixels of all images are at hand."""
        return all(part.images is not None for part in self.parts)

    def pictures(self, rows: np.ndarray, side: int) -> np.ndarray:
        """These images at a small size, uint8 ``[n, side, side, 3]``; only if they ``have_pixels``."""

        def read(part: Pictures, some: np.ndarray) -> np.ndarray:
            assert part.images is not None
            return resized_rows(part.images, some, (side, side))

        return self.gathered(read, rows)

    def every(self, name: str) -> np.ndarray:
        """One of the ``Fingerprints`` of all images."""
        found = [getattr(part.fingerprints, name) for part in self.parts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def pairs(self, first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
        """Pairs of images: the splits and ids of both, and the labels that are known."""
        one, other = self._named(first), self._named(second)
        labels = {"label": self._labels(first), "other_label": self._labels(second)}
        named = one.assign(other_split=other["split"], other_id=other["id"])
        return named.assign(**{column: texts for column, texts in labels.items() if any(texts)})

    def _named(self, rows: np.ndarray) -> pd.DataFrame:
        names = {"split": lambda part, some: part.named(some)["split"].to_numpy(object)}
        names["id"] = lambda part, some: part.named(some)["id"].to_numpy(object)
        return pd.DataFrame({column: self.gathered(get, rows) for column, get in names.items()})

    def _labels(self, rows: np.ndarray) -> list[str]:
        """The labels of images, those of several targets in one text; empty if they are not known."""
        known = rows < self.labelled
        labels = self.parts[0].split.known_labels[rows[known]]
        cells = label_cells(self.task, labels).values()
        texts = map(", ".join, zip(*cells, strict=True))
        return [next(texts) if is_known else "" for is_known in known]

    def differ(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether both images have labels, and others, bool ``[M]``."""
        both = np.maximum(first, second) < self.labelled
        labels = self.parts[0].split.known_labels
        differ = np.zeros(len(first), bool)
        unequal = labels[first[both]] != labels[second[both]]
        differ[both] = unequal if unequal.ndim == 1 else unequal.any(axis=1)
        return differ
