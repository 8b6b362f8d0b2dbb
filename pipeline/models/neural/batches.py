"""Batches: labelled images, and in which order a training is shown them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from torch import Tensor

from pipeline.data.augment import Augmentation
from pipeline.data.cache import ImageCache, Size, rows_of
from pipeline.data.resized_images import ResizedImages
from pipeline.runtime import distributed


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 ``[N, H, W, 3]``, an array or a cache; labels: int64 ``[N]``."""

    images: np.ndarray | ImageCache
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "LabelledImages":
        """The given rows; of a cache without a copy."""
        return LabelledImages(rows_of(self.images, rows), self.labels[rows])


@dataclass(frozen=True)
class Batch:
    """This rank's part of the images of one optimiser step.

    images: uint8 ``[n, H, W, 3]``. labels: int64 ``[n]``. total: images in the parts of all ranks.
    """

    images: np.ndarray | Tensor
    labels: np.ndarray
    total: int


@dataclass(frozen=True)
class Batches:
    """The batches of a training: every image is seen once before any is seen again; a remainder is left out."""

    images: ResizedImages
    labels: np.ndarray
    augment: Augmentation
    batch_size: int
    seed: int

    def of_steps(self, steps: range, size: Size, segment: int) -> Iterator[Batch]:
        """One resized and augmented batch a step, steps being counted from the beginning of the training.

        size: (height, width). segment: its number, which the augmentation is drawn by.
        """
        rng = np.random.default_rng((self.seed, segment, distributed.rank()))
        for rows in self._rows(steps):
            mine = np.sort(rows[distributed.share(len(rows))])
            yield Batch(self.augment(self.images.batch(mine, *size), rng), self.labels[mine], len(rows))

    def _rows(self, steps: range) -> Iterator[np.ndarray]:
        """The rows of each step's images, in an order that is drawn anew for each epoch."""
        steps_per_epoch = max(1, len(self.labels) // self.batch_size)
        for epoch, steps_of_epoch in groupby(steps, lambda step: step // steps_per_epoch):
            order = np.random.default_rng((self.seed, epoch, 0)).permutation(len(self.labels))
            for step in steps_of_epoch:
                yield order[step % steps_per_epoch * self.batch_size :][: self.batch_size]


def scaled(input_size: Size, longer_side: int) -> Size:
    """(height, width) in the proportions of ``input_size`` with that longer side, none scaled below 8."""
    height, width = (max(min(8, side), round(side * longer_side / max(input_size))) for side in input_size)
    return height, width
