"""The labelled images of a competition, decoded and split into training and validation rows."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

import numpy as np

from competition.errors import UserError
from competition.spec import Competition, Split
from competition.splits import stratified_folds, stratified_holdout
from competition.task import Task, strata
from competition.wording import counted
from pipeline.data.cache import ImageCache, contents_of, decoder_version, open_cache
from pipeline.data.corrected import Corrected
from pipeline.data.data_record import DataRecord
from pipeline.data.equal_pixels import conflicting, equal_pixels
from pipeline.data.faulty_files import readable_rows, warn_of_damaged
from pipeline.data.image_size import ImageSizes, Means, choose_sizes
from pipeline.settings import Settings

HELD_OUT = 0.1  # share of train used for validation if the competition has no validation table
SPLIT_SEED = 0  # independent of --seed, so that runs with different seeds are validated on the same images


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the models of one split are trained on in place of the labels.

    rows: of the images, int64 ``[n]``. labels: of these rows, as in ``Split.labels``.
    soft: how likely each choice is, float32 ``[n, T * K]``.
    """

    rows: np.ndarray
    labels: np.ndarray
    soft: np.ndarray


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All labelled images and how they are split.

    split: the rows of train, then those of val, then those that are only trained on, ``N`` in all. Those are first the
        rows with corrected labels, then those from elsewhere.
    images: the images of these rows.
    splits: pairs of int64 arrays of row numbers (train, validation); one pair, or one for each fold.
    task: of the competition.
    sizes: at which the images are cached, trained on and predicted.
    elsewhere: number of rows that are only trained on, which follow the competition's own.
    others: number of rows at the end that are in no split before they are taught: test images, whose labels are only
        placeholders. Afterwards, the number of the rows of lessons.
    soft: what networks learn in place of the labels, for each split, of its training rows; see ``Lesson``. Empty if
        they learn the labels.
    stand_ins: the row that is trained on in place of each of the competition's own, int64 ``[own]``: itself, or the one
        with its corrected label, or -1 if it is left out. None if each is trained on itself.
    """

    split: Split
    images: ImageCache
    splits: list[tuple[np.ndarray, np.ndarray]]
    task: Task
    sizes: ImageSizes
    elsewhere: int = 0
    others: int = 0
    soft: tuple[np.ndarray, ...] = ()
    stand_ins: np.ndarray | None = None

    @cached_property
    def labels(self) -> np.ndarray:
        """What models learn about all rows, int64 ``[N]`` or ``[N, T]``; see ``Task.encode``."""
        return self.task.encode(self.split.known_labels)

    @property
    def validated(self) -> np.ndarray:
        """The row numbers of all validation images, split after split."""
        return np.concatenate([validation for _, validation in self.splits])

    @property
    def labelled(self) -> int:
        """The number of rows at the beginning whose labels are known."""
        return len(self.split) - self.others

    @property
    def own(self) -> int:
        """The number of the competition's own rows, which come first; only these may validate."""
        return self.labelled - self.elsewhere

    @property
    def trainable(self) -> np.ndarray:
        """The row numbers of all that may be trained on, int64 ``[n]``."""
        return self._trained_on(np.arange(self.own))

    def _trained_on(self, rows: np.ndarray) -> np.ndarray:
        """What is trained on where the given rows, of the competition's own, are not validated on."""
        if self.stand_ins is None:
            return np.concatenate([rows, np.arange(self.own, self.labelled)])
        stand_ins = self.stand_ins[rows]
        elsewhere = np.arange(max(self.own, self.stand_ins.max() + 1), self.labelled)
        return np.concatenate([stand_ins[stand_ins >= 0], elsewhere])

    def _split_as(self, splits: list[tuple[np.ndarray, np.ndarray]]) -> "TrainingData":
        """The same images, split as given for the competition's own rows."""
        return replace(self, splits=[(self._trained_on(train), validation) for train, validation in splits])

    def in_folds(self, folds: int) -> "TrainingData":
        """The same images, of which each of the competition's own validates in one of as many stratified folds."""
        groups = None if self.split.groups is None else self.split.groups[: self.own]
        splits = stratified_folds(strata(self.labels[: self.own]), folds, SPLIT_SEED, groups)
        return self._split_as(splits)

    def taught(self, lessons: Sequence[Lesson]) -> "TrainingData":
        """The same validation images, with one lesson for each split to train on."""
        rows = np.concatenate([np.arange(self.labelled), *(lesson.rows for lesson in lessons)])
        labels = [self.split.known_labels[: self.labelled], *(lesson.labels for lesson in lessons)]
        ends = np.cumsum([self.labelled, *(len(lesson.rows) for lesson in lessons)])
        learnt = [np.arange(start, end) for start, end in pairwise(ends)]
        return replace(
            self,
            split=replace(self.split.take(rows), labels=np.concatenate(labels)),
            images=self.images.subset(rows),
            splits=[(train, validation) for train, (_, validation) in zip(learnt, self.splits, strict=True)],
            others=len(rows) - self.labelled,
            soft=tuple(lesson.soft for lesson in lessons),
        )

    @cached_property
    def record(self) -> DataRecord:
        """The ids, labels and contents of the competition's own rows."""
        own = slice(self.own)
        return DataRecord.of(self.split.ids[own], self.split.known_labels[own], self.images.contents[own])

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that a model learns from: ids, labels and contents of all rows, their pixels and the splits.

        It does not depend on where the files are or when they were written.
        """
        arrays = [self.split.known_labels, self.images.contents, *chain.from_iterable(self.splits), *self.soft]
        arrays += [] if self.stand_ins is None else [self.stand_ins]
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


def joined_with_others(competition: Competition, with_test: bool) -> Split:
    """The labelled images, then the pictures from elsewhere and the test images, whose labels are placeholders."""
    split = labelled_images(competition)
    others = [] if competition.extra is None else [competition.extra]
    if with_test:
        labels = np.zeros_like(split.known_labels, shape=(len(competition.test), *split.known_labels.shape[1:]))
        others.append(replace(competition.test, labels=labels))
    for other in others:
        groups = None if split.groups is None else other.groups or other.ids
        cases = None if split.cases is None else other.cases or other.ids
        split = split.joined_with(replace(other, groups=groups, cases=cases), "labelled")
    return split


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
    Pictures from elsewhere are trained on in every split, unless their files are also images of the competition.

    device, pretrained: see ``Means``. sizes: of the images; chosen if they are not given.

    Corrected labels are trained on, and with ``settings.drop_conflicts`` no images whose pixels another one has with
    another label; all images validate by the labels of the tables.

    Raises UserError if images cannot be read and ``settings.skip_unreadable`` is not set, if folds are asked for and
    train and val share ids, or if no image is left to train on.
    """
    split = joined_with_others(competition, with_test=settings.pseudo_labels)
    labelled = len(split) - len(competition.test) * settings.pseudo_labels
    sizes = sizes or image_sizes(competition, settings, device, pretrained)
    images = open_cache(split.paths, settings.cache_folder, sizes.cached, fit=sizes.fit, most=settings.cache_size)
    rows = readable_rows(split, images.unreadable, settings.skip_unreadable, labelled)
    warn_of_damaged(split.paths[:labelled], images.damaged, "labelled images")
    own, extra, test = _distinct_rows(rows, images.contents, competition)
    labels = split.take(own)
    splits = _splits(labels, int((own < len(competition.train)).sum()), competition.task, settings)
    corrected = _corrected(labels, images.subset(own), competition, settings)
    rows = np.concatenate([own, own[corrected.rows], extra, test])
    split = split.take(rows)
    split.known_labels[len(own) : len(own) + len(corrected.rows)] = corrected.labels
    data = TrainingData(
        split,
        images.subset(rows),
        splits,
        competition.task,
        sizes,
        elsewhere=len(corrected.rows) + len(extra),
        others=len(test),
        stand_ins=corrected.stand_ins(len(own)) if len(corrected.rows) or len(corrected.left_out) else None,
    )
    return _not_empty(data._split_as(splits), settings)


def _corrected(split: Split, images: ImageCache, competition: Competition, settings: Settings) -> Corrected:
    """The corrected labels, without images that contradict others if ``settings.drop_conflicts``."""
    corrected = Corrected.of(split, competition.corrections)
    if not settings.drop_conflicts:
        return corrected
    return corrected.without(_conflicts(corrected, split, images))


def _not_empty(data: TrainingData, settings: Settings) -> TrainingData:
    """The data. Raises UserError if a split has no image to train on."""
    if all(len(train) for train, _ in data.splits):
        return data
    relabel = "correct some labels of --relabel, and do not empty all of them"
    remedy = "leave out --drop-conflicts" if settings.drop_conflicts else relabel
    raise UserError(f"no image is left to train on; {remedy}")


def _conflicts(corrected: Corrected, split: Split, images: ImageCache) -> np.ndarray:
    """The rows whose pixels another row has with another label, as labels are corrected; it says how many there are."""
    fingerprints = images.fingerprints
    are_used = fingerprints.known
    are_used[corrected.left_out] = False
    pairs = conflicting(equal_pixels(fingerprints.pixels, are_used), corrected.labels_of(split))
    rows = np.array([row for row, _ in pairs], np.int64)
    if len(rows):
        print(f"{counted(len(rows), 'image')} not trained on: an identical one bears another label")
    else:
        print("--drop-conflicts has no effect: no two identical images bear different labels")
    return rows


def image_sizes(competition: Competition, settings: Settings, device: str, pretrained: bool) -> ImageSizes:
    """The sizes of --size, or those chosen for the competition's images and the budget."""
    if settings.size is not None:
        return ImageSizes.all_as((settings.size, settings.size), "squash")
    paths = (*labelled_images(competition).paths, *competition.test.paths)
    return choose_sizes(paths, Means(len(paths), settings.budget, device, pretrained))


def _distinct_rows(
    rows: np.ndarray, contents: np.ndarray, competition: Competition
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of train and val, of pictures from elsewhere, and of test images, without files that are there before.

    rows: of ``joined_with_others``. contents: of all of its images, see ``ImageCache``.
    """
    labelled = len(competition.train) + len(competition.val)
    elsewhere = 0 if competition.extra is None else len(competition.extra)
    own, extra, test = np.split(rows, np.searchsorted(rows, [labelled, labelled + elsewhere]))
    if elsewhere:
        extra = _without_duplicates(extra, contents, contents[own], competition.test)
    return own, extra, test[~np.isin(contents[test], contents[own])]


def _without_duplicates(extra: np.ndarray, contents: np.ndarray, known: np.ndarray, test: Split) -> np.ndarray:
    """The rows of pictures from elsewhere without those whose files are also images of the competition.

    contents: of all images. known: of the competition's labelled images. Raises UserError if none is left.
    """
    tested = np.isin(contents[extra], contents_of(test.paths))
    labelled = ~tested & np.isin(contents[extra], known)
    kept = extra[~tested & ~labelled]
    left_out = f"{counted(int(tested.sum()), 'test image')} and {counted(int(labelled.sum()), 'labelled image')}"
    if not len(kept):
        raise UserError(f"--extra: all of its pictures are the competition's own ({left_out}); leave the option out")
    told = f"; left out as the competition's own: {left_out}" if len(kept) < len(extra) else ""
    print(f"{counted(len(kept), 'picture')} from elsewhere to train on{told}")
    return kept


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
