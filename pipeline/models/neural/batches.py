"""Batches: labelled images, and the order in which they are used for training."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, groupby, repeat

import numpy as np
from torch import Tensor

from competition.task import strata
from pipeline.data.augment import Augmentation, Crop
from pipeline.data.cache import Images, Size, rows_of
from pipeline.data.resized_images import ResizedImages
from pipeline.models.fast.prefetch import computed_ahead
from pipeline.models.neural.mixing import Mixture, mixed
from pipeline.models.recipe import Mix
from pipeline.runtime import distributed
from pipeline.runtime.devices import loading_threads, pinned


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 ``[N, H, W, 3]``, an array or a cache; labels: int64 ``[N]`` or ``[N, targets]``.

    soft: what to learn in place of the labels, float32 ``[N, targets * classes]``: how likely each choice is.
    """

    images: Images
    labels: np.ndarray
    soft: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "LabelledImages":
        """The given rows; a cache is not copied."""
        soft = None if self.soft is None else self.soft[rows]
        return LabelledImages(rows_of(self.images, rows), self.labels[rows], soft)


@dataclass(frozen=True)
class Batch:
    """This rank's share of the images of one optimiser step.

    images: uint8 ``[n, H, W, 3]``. labels: int64 ``[n]`` or ``[n, targets]``. soft: see ``LabelledImages``.
    total: number of images in the shares of all ranks.
    mixture: how the images were mixed; None if they were not.
    """

    images: np.ndarray | Tensor
    labels: np.ndarray
    total: int
    soft: np.ndarray | None = None
    mixture: Mixture | None = None


@dataclass(frozen=True)
class Batches:
    """The batches of a training: each image is used at most once per epoch; an incomplete last batch is dropped.

    crop: cuts each image out of the given one in its full size, before anything else is done to it; None resizes it.
    is_balanced: an epoch shows as many images of each class instead; of several targets, see ``strata``.
    soft: see ``LabelledImages``.
    """

    images: ResizedImages
    labels: np.ndarray
    augment: Augmentation
    batch_size: int
    seed: int
    crop: Crop | None = None
    mix: Mix | None = None
    is_balanced: bool = False
    soft: np.ndarray | None = None

    def of_steps(self, steps: range, size: Size, segment: int, parts: int = 1) -> Iterator[Batch]:
        """Yield one resized and augmented batch per step, prepared ahead; steps are counted from the training's start.

        size: (height, width) in pixels. segment: the segment's number; it seeds the augmentation.
        parts: smaller batches that each is split into.
        """
        rows = chain.from_iterable(np.array_split(whole, parts) for whole in self._rows(steps))
        with_rng = zip(rows, self._generators(segment), strict=False)
        jobs = (partial(self._batch, each, size, rng) for each, rng in with_rng)
        return computed_ahead(jobs, loading_threads(self.images.device))

    def _generators(self, segment: int) -> Iterator[np.random.Generator]:
        """The generator of each batch: one for all on a CPU, which prepares them one after the other."""
        place = self.seed, segment, distributed.rank()
        if self.images.device.type == "cpu":
            return repeat(np.random.default_rng(place))
        return (np.random.default_rng((*place, number)) for number in count())

    def _batch(self, rows: np.ndarray, size: Size, rng: np.random.Generator) -> Batch:
        """rows: of the images in the shares of all ranks."""
        mine = np.sort(rows[distributed.share(len(rows))])
        images, mixture = self.augment(self._taken(mine, size, rng), rng), None
        if self.mix is not None:
            images, mixture = mixed(images, self.mix, rng)
        soft = None if self.soft is None else self.soft[mine]
        return Batch(pinned(images, self.images.device), self.labels[mine], len(rows), soft, mixture)

    def _taken(self, rows: np.ndarray, size: Size, rng: np.random.Generator) -> np.ndarray | Tensor:
        """The images of these rows at that size, not yet augmented."""
        if self.crop is None:
            return self.images.batch(rows, *size)
        return self.crop.at(*size)(self.images.full(rows), rng)

    def _rows(self, steps: range) -> Iterator[np.ndarray]:
        """Yield the image rows of each step, in a new random order in each epoch."""
        steps_per_epoch = max(1, len(self.labels) // self.batch_size)
        for epoch, steps_of_epoch in groupby(steps, lambda step: step // steps_per_epoch):
            order = self._order(np.random.default_rng((self.seed, epoch, 0)))
            for step in steps_of_epoch:
                yield order[step % steps_per_epoch * self.batch_size :][: self.batch_size]

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        """The rows of an epoch in the order in which they are used."""
        order = rng.permutation(len(self.labels))
        return balanced(order, strata(self.labels), rng) if self.is_balanced else order


def balanced(order: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many rows as ``order`` has, equally many of each class in a random order; rows of rare classes are repeated.

    order: all rows, shuffled, int64 ``[N]``. classes: of each row, int64 ``[N]``.
    """
    by_class = [order[classes[order] == each] for each in np.unique(classes)]
    shares = np.full(len(by_class), len(order) // len(by_class))
    shares[rng.permutation(len(by_class))[: len(order) - shares.sum()]] += 1
    repeated = [np.resize(rows, share) for rows, share in zip(by_class, shares, strict=True)]
    return rng.permutation(np.concatenate(repeated))


def scaled(input_size: Size, longer_side: int) -> Size:
    """Scale ``input_size``, (height, width), to the given longer side; no side is scaled below 8 pixels."""
    height, width = (max(min(8, side), round(side * longer_side / max(input_size))) for side in input_size)
    return height, width
