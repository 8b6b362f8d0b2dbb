"""A record of the labelled images that a model was trained and validated on, to compare with the present ones."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from pipeline.runtime.sealed import DamagedFile, read_arrays, write_arrays


@dataclass(frozen=True, eq=False)
class DataRecord:
    """Some labelled images, each as three numbers, so that a record of a million images takes 24 MB.

    ids: hashes of the ids, uint64 ``[N]``, ascending. labels: int64 ``[N]``.
    contents: the ``content_hash`` of the image files, uint64 ``[N]``; 0 if it is not known.
    """

    ids: np.ndarray
    labels: np.ndarray
    contents: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[str], labels: np.ndarray, contents: np.ndarray) -> Self:
        """The record of images with these ids, labels and contents, in any order. Of equal ids, the last counts."""
        hashes = np.array([_id_hash(name) for name in reversed(ids)], np.uint64)
        unique, first = np.unique(hashes, return_index=True)
        rows = len(ids) - 1 - first
        return cls(unique, labels[rows], contents[rows])

    def __len__(self) -> int:
        return len(self.ids)

    def change_in(self, present: "DataRecord") -> str | None:
        """How the images of this record differ from those with the same ids in another one; None if they do not.

        Contents that are not known count as equal. The text continues ``left out, as``.
        """
        _, mine, theirs = np.intersect1d(self.ids, present.ids, assume_unique=True, return_indices=True)
        if (self.labels[mine] != present.labels[theirs]).any():
            return "the labels of their images have changed in the tables"
        before, after = self.contents[mine], present.contents[theirs]
        if ((before != after) & (before != 0) & (after != 0)).any():
            return "their images have changed"
        return None

    def is_within(self, present: "DataRecord") -> bool:
        """Whether the other record has all ids of this one."""
        return bool(np.isin(self.ids, present.ids, assume_unique=True).all())

    def save(self, path: Path) -> None:
        write_arrays(path, {"ids": self.ids, "labels": self.labels, "contents": self.contents})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that ``save`` wrote. Raises the errors of ``read_arrays``."""
        arrays = read_arrays(path)
        try:
            return cls(arrays["ids"], arrays["labels"], arrays["contents"])
        except KeyError:
            raise DamagedFile(path) from None


def _id_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8])
