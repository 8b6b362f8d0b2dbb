"""Batches: labelled images, and the order in which they are used for training."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
from torch import Tensor

from pipeline.data.augment import Augmentation
from pipeline.data.cache import Images, Size, rows_of
from pipeline.data.resized_images import ResizedImages
from pipeline.runtime import distributed


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 ``[N, H, W, 3]``, an array or a cache; labels: int64 ``[N]`` or ``[N, targets]``."""

    images: Images
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "LabelledImages":
        """The given rows; a cache is not copied."""
        return LabelledImages(rows_of(self.images, rows), self.labels[rows])


@dataclass(frozen=True)
class Batch:
    """This rank's share of the images of one optimiser step.

    images: uint8 ``[n, H, W, 3]``. labels: int64 ``[n]`` or ``[n, targets]``.
    total: number of images in the shares of all ranks.
    """

    images: np.ndarray | Tensor
    labels: np.ndarray
    total: int


@dataclass(frozen=True)
class Batches:
    """The batches of a training: each image is used at most once per epoch; an incomplete last batch is dropped."""

    images: ResizedImages
    labels: np.ndarray
    augment: Augmentation
    batch_size: int
    seed: int

    def of_steps(self, steps: range, size: Size, segment: int, parts: int = 1) -> Iterator[Batch]:
        """Yield one resized and augmented batch per step; steps are counted from the start of the training.

        size: (height, width) in pixels. segment: the segment's number; it seeds the augmentation.
        parts: smaller batches that each is split into.
        """
        rng = np.random.default_rng((self.seed, segment, distributed.rank()))
        for rows in chain.from_iterable(np.array_split(whole, parts) for whole in self._rows(steps)):
            mine = np.sort(rows[distributed.share(len(rows))])
            yield Batch(self.augment(self.images.batch(mine, *size), rng), self.labels[mine], len(rows))

    def _rows(self, steps: range) -> Iterator[np.ndarray]:
        """Yield the image rows of each step, in a new random order in each epoch."""
        steps_per_epoch = max(1, len(self.labels) // self.batch_size)
        for epoch, steps_of_epoch in groupby(steps, lambda step: step // steps_per_epoch):
            order = np.random.default_rng((self.seed, epoch, 0)).permutation(len(self.labels))
            for step in steps_of_epoch:
                yield order[step % steps_per_epoch * self.batch_size :][: self.batch_size]


def scaled(input_size: Size, longer_side: int) -> Size:
    """Scale ``input_size``, (height, width), to the given longer side; no side is scaled below 8 pixels."""
    height, width = (max(min(8, side), round(side * longer_side / max(input_size))) for side in input_size)
    return height, width
