"""The labelled and the test images of a competition, with their fingerprints and pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from competition.spec import Competition, Split
from pipeline.data.cache import ImageCache
from pipeline.data.fingerprints import Fingerprints
from pipeline.data.training_data import labelled_images

FACTS: dict[str, Callable[[Fingerprints], np.ndarray]] = {  # float32 [N] of each: pixels, or levels of 0..255
    "height": lambda found: found.sizes[:, 0].astype(np.float32),
    "width": lambda found: found.sizes[:, 1].astype(np.float32),
    "aspect ratio": lambda found: found.sizes[:, 1] / np.maximum(found.sizes[:, 0], 1).astype(np.float32),
    "red": lambda found: found.colours[:, 0].astype(np.float32),
    "green": lambda found: found.colours[:, 1].astype(np.float32),
    "blue": lambda found: found.colours[:, 2].astype(np.float32),
    "brightness": lambda found: found.brightness.astype(np.float32),
    "contrast": lambda found: found.contrast.astype(np.float32),
}


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of a competition, ``N`` in all, and their fingerprints.

    trained: number of rows at the beginning that are of train. rest: the name of the split of the others.
    images: the same images, where their pixels are at hand.
    """

    split: Split
    fingerprints: Fingerprints
    trained: int
    rest: str
    images: ImageCache | None = None

    @classmethod
    def labelled(cls, competition: Competition, images: ImageCache) -> Self:
        """images: ``labelled_images``; others may follow."""
        split = labelled_images(competition)
        own = images.subset(slice(len(split)))
        return cls(split, own.fingerprints, len(competition.train), "val", own)

    @classmethod
    def test(cls, competition: Competition, images: ImageCache) -> Self:
        """images: the competition's test images."""
        return cls(competition.test, images.fingerprints, 0, "test", images)

    def __len__(self) -> int:
        return len(self.split)

    @property
    def readable(self) -> np.ndarray:
        """The rows of the images that could be read, int64 ``[n]``."""
        return np.flatnonzero(self.fingerprints.known)

    def named(self, rows: np.ndarray) -> pd.DataFrame:
        """The columns ``split`` and ``id`` of these rows."""
        parts = np.where(rows < self.trained, "train", self.rest)
        return pd.DataFrame({"split": parts, "id": [self.split.ids[row] for row in rows]})

    def take(self, rows: np.ndarray) -> Self:
        """rows: ascending."""
        trained = int(np.searchsorted(rows, self.trained))
        images = None if self.images is None else self.images.subset(rows)
        return type(self)(self.split.take(rows), self.fingerprints.take(rows), trained, self.rest, images)
