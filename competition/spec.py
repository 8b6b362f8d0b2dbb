"""Competition: the immutable description of a competition that every stage uses."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from competition.errors import UserError
from competition.form import Form
from competition.metrics import ACCURACY, Metric
from competition.task import Label, Task

Item = TypeVar("Item")
Symmetries = Literal["none", "mirror", "all"]


@dataclass(frozen=True, eq=False)
class Split:
    """A set of images of a competition, in the order of their table.

    ids: exactly as in the CSV.
    paths: an existing file for each id, an image that ``pipeline.data.decode`` reads.
    labels: None if they are withheld; otherwise, by the kind of the task, multiclass: int64 ``[N]``, indices into
        ``Competition.classes``; multilabel: int64 ``[N, T]``, 0 or 1; multioutput: int64 ``[N, T]``, indices into
        ``Competition.classes``; continuous: float64 ``[N, T]``, the numbers.
    groups: what images have in common that must not be on both sides of a split, e.g. the patient; None if nothing.
    cases: what a submission asks about, where several images belong to one case; None if each image is a case.
    """

    name: str
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: np.ndarray | None = None
    groups: tuple[str, ...] | None = None
    cases: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known_labels(self) -> np.ndarray:
        """The labels. Raises UserError if they are withheld."""
        if self.labels is None:
            raise UserError(f"the images of {self.name} have no labels; use a table with labels")
        return self.labels

    def joined_with(self, other: "Split", name: str) -> "Split":
        """The images of this split, then those of the other one."""
        return Split(
            name,
            self.ids + other.ids,
            self.paths + other.paths,
            np.concatenate([self.known_labels, other.known_labels]),
            _joined(self.groups, other.groups),
            _joined(self.cases, other.cases),
        )

    def take(self, rows: np.ndarray) -> "Split":
        """The split with only the given rows, in the given order. rows: integer indices."""
        return replace(
            self,
            ids=_taken(self.ids, rows),
            paths=_taken(self.paths, rows),
            labels=None if self.labels is None else self.labels[rows],
            groups=None if self.groups is None else _taken(self.groups, rows),
            cases=None if self.cases is None else _taken(self.cases, rows),
        )


def _taken(items: tuple[Item, ...], rows: np.ndarray) -> tuple[Item, ...]:
    return tuple(map(items.__getitem__, np.asarray(rows).tolist()))  # quicker than with numpy's integers


def _joined(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if first is None or second is None else first + second


@dataclass(frozen=True, eq=False)
class Competition:
    """One image-classification competition.

    task: what is predicted for each image.
    form: what a submission looks like.
    val: empty if the competition has no validation table (``pipeline`` then splits one off from train).
    metric: the metric by which predictions are measured and models are chosen; it knows the task.
    extra: labelled pictures from elsewhere that are only trained on; None if there are none.
    corrections: by the ids of labelled images, the label to train on in place of the table's, as a row of
        ``Split.labels``; None if the image is not to be trained on.
    found: what was found in the files and how it was read, a line each, for the user.
    symmetries: the flips and rotations that do not change an image's class: none, left-right mirroring, or all eight
        flips and rotations of the square. None if unknown (``pipeline`` then finds out by a trial run).
    """

    name: str
    image_column: str
    label_column: str
    task: Task
    train: Split
    val: Split
    test: Split
    form: Form
    metric: Metric = ACCURACY
    symmetries: Symmetries | None = None
    extra: Split | None = None
    corrections: Mapping[str, np.ndarray | None] = field(default_factory=dict)
    found: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes of the task."""
        return self.task.classes

    @property
    def submission_ids(self) -> tuple[str, ...]:
        """The ids in the order that a submission must have."""
        return self.form.ids
