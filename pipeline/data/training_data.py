"""The labelled images of a competition, decoded and split into training and validation rows."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from competition.errors import UserError
from competition.spec import Competition, Split
from competition.splits import stratified_folds, stratified_holdout
from competition.task import Task, strata
from competition.wording import printable
from pipeline.data.cache import ImageCache, decoder_version, open_cache
from pipeline.data.data_record import DataRecord
from pipeline.data.decode import UnreadableImage, decode
from pipeline.data.image_size import ImageSizes, Means, choose_sizes
from pipeline.settings import Settings

NAMED = 3  # unreadable files that are named
HELD_OUT = 0.1  # share of train used for validation if the competition has no validation table
SPLIT_SEED = 0  # independent of --seed, so that runs with different seeds are validated on the same images


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All labelled images and how they are split.

    split: the rows of train, then those of val, ``N`` in all.
    images: the images of these rows.
    splits: pairs of int64 arrays of row numbers (train, validation); one pair, or one for each fold.
    task: of the competition.
    sizes: at which the images are cached, trained on and predicted.
    """

    split: Split
    images: ImageCache
    splits: list[tuple[np.ndarray, np.ndarray]]
    task: Task
    sizes: ImageSizes

    @cached_property
    def labels(self) -> np.ndarray:
        """What models learn about all rows, int64 ``[N]`` or ``[N, T]``; see ``Task.encode``."""
        return self.task.encode(self.split.known_labels)

    @property
    def validated(self) -> np.ndarray:
        """The row numbers of all validation images, split after split."""
        return np.concatenate([validation for _, validation in self.splits])

    def in_folds(self, folds: int) -> "TrainingData":
        """The same images, of which each validates in one of as many stratified folds."""
        return replace(self, splits=stratified_folds(strata(self.labels), folds, SPLIT_SEED, self.split.groups))

    @cached_property
    def record(self) -> DataRecord:
        """The ids, labels and contents of all rows."""
        return DataRecord.of(self.split.ids, self.split.known_labels, self.images.contents)

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that a model learns from: ids, labels and contents of all rows, their pixels and the splits.

        It does not depend on where the files are or when they were written.
        """
        arrays = [self.split.known_labels, self.images.contents, *chain.from_iterable(self.splits)]
        seen = [self.images.shape, self.images.in_jpegs, astuple(self.sizes)]
        facts = [self.split.ids, seen, decoder_version(), [len(array) for array in arrays]]
        found = hashlib.sha256(json.dumps(facts).encode())
        for array in arrays:
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def labelled_images(competition: Competition) -> Split:
    """The rows of train, then those of val."""
    train, val = competition.train, competition.val
    return train.joined_with(val, "labelled") if len(val) else replace(train, name="labelled")


def open_training_data(
    competition: Competition,
    settings: Settings,
    device: str = "cpu",
    pretrained: bool = False,
    sizes: ImageSizes | None = None,
) -> TrainingData:
    """Decode the images of train and val and split them into training and validation rows.

    With two or more ``settings.folds``, the split is by stratified folds. Otherwise val is the validation set, and if
    there is no val, a stratified tenth of train. The split depends only on the labels, not on ``settings.seed``.

    device, pretrained: see ``Means``. sizes: of the images; chosen if they are not given.

    Raises UserError if images cannot be read and ``settings.skip_unreadable`` is not set, or if folds are asked for and
    train and val share ids.
    """
    split = labelled_images(competition)
    sizes = sizes or image_sizes(competition, settings, device, pretrained)
    images = open_cache(split.paths, settings.cache_folder, sizes.cached, fit=sizes.fit, most=settings.cache_size)
    rows = _readable_rows(split, images.unreadable, settings.skip_unreadable)
    split, images, trained = split.take(rows), images.subset(rows), int((rows < len(competition.train)).sum())
    return TrainingData(split, images, _splits(split, trained, competition.task, settings), competition.task, sizes)


def image_sizes(competition: Competition, settings: Settings, device: str, pretrained: bool) -> ImageSizes:
    """The sizes of --size, or those chosen for the competition's images and the budget."""
    if settings.size is not None:
        return ImageSizes.all_as((settings.size, settings.size), "squash")
    paths = (*labelled_images(competition).paths, *competition.test.paths)
    return choose_sizes(paths, Means(len(paths), settings.budget, device, pretrained))


def unreadable_files(paths: Sequence[Path]) -> str:
    """The first few of these files and why they cannot be decoded, and the number of the others."""
    shown = [f"{printable(path, most=200)} ({printable(_reason(path))})" for path in paths[:NAMED]]
    return ", ".join(shown) + (f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else "")


def _reason(path: Path) -> str:
    try:
        decode(path)
    except UnreadableImage as error:
        return str(error).removeprefix(f"{path}: ")
    return "it changed meanwhile"


def _readable_rows(split: Split, unreadable: np.ndarray, skip: bool) -> np.ndarray:
    names = unreadable_files([split.paths[row] for row in unreadable])
    if len(unreadable) and not skip:
        raise UserError(
            f"{len(unreadable)} of {len(split):,} labelled images cannot be read: {names}; "
            "replace them, or leave them out with --skip-unreadable"
        )
    if len(unreadable):
        print(f"warning: {len(unreadable)} images cannot be read and are left out: {names}")
    return np.delete(np.arange(len(split)), unreadable)


def _splits(split: Split, trained: int, task: Task, settings: Settings) -> list[tuple[np.ndarray, np.ndarray]]:
    choices = strata(task.encode(split.known_labels))
    if settings.folds is not None and settings.folds > 1:
        if len(set(split.ids)) < len(split):
            raise UserError(
                "--folds joins train and val, but some ids are in both; rename these images in one of the tables"
            )
        return stratified_folds(choices, settings.folds, SPLIT_SEED, split.groups)
    if trained < len(split):
        rows = np.arange(len(split))
        return [(rows[:trained], rows[trained:])]
    return [stratified_holdout(choices, HELD_OUT, SPLIT_SEED, split.groups)]
