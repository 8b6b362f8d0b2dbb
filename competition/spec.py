"""Competition: the immutable description of a competition that every stage uses."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from competition.errors import UserError
from competition.metrics import ACCURACY, Metric
from competition.task import Label, Task

Symmetries = Literal["none", "mirror", "all"]


@dataclass(frozen=True, eq=False)
class Split:
    """A set of images of a competition, in the order of their table.

    ids: exactly as in the CSV.
    paths: an existing file for each id.
    labels: int64 ``[N]``, indices into ``Competition.classes``; None if they are withheld.
    """

    name: str
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known_labels(self) -> np.ndarray:
        """The labels. Raises UserError if they are withheld."""
        if self.labels is None:
            raise UserError(f"the images of {self.name} have no labels; use a table with labels")
        return self.labels

    def take(self, rows: np.ndarray) -> "Split":
        """The split with only the given rows, in the given order. rows: integer indices."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            paths=tuple(self.paths[row] for row in rows),
            labels=None if self.labels is None else self.labels[rows],
        )


@dataclass(frozen=True, eq=False)
class Competition:
    """One image-classification competition.

    task: what is predicted for each image.
    val: empty if the competition has no validation table (``pipeline`` then splits one off from train).
    submission_ids: the test ids in the order that a submission must have.
    metric: the metric by which predictions are measured and models are chosen.
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
    submission_ids: tuple[str, ...]
    metric: Metric = ACCURACY
    symmetries: Symmetries | None = None

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes of the task; column ``i`` of a model's output is for the ``i``-th class."""
        return self.task.classes
