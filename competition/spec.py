"""Competition: the frozen description that every stage works from."""

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
    """Some images of a competition, in the order of their table.

    ids: exactly as the CSV spells them.
    paths: one existing file for each id.
    labels: int64 ``[N]``, indices into ``Competition.classes``; None where they are withheld.
    """

    name: str
    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known_labels(self) -> np.ndarray:
        """The labels. Raises UserError where they are withheld."""
        if self.labels is None:
            raise UserError(f"the images of {self.name} have no labels; give a table that has them")
        return self.labels

    def take(self, rows: np.ndarray) -> "Split":
        """The given rows, in the given order."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            paths=tuple(self.paths[row] for row in rows),
            labels=None if self.labels is None else self.labels[rows],
        )


@dataclass(frozen=True, eq=False)
class Competition:
    """One image-classification competition.

    task: what is predicted for each image, and what a model's columns mean.
    val: empty where the competition ships no validation table (``pipeline`` then carves one out).
    symmetries: the flips and turns that leave a class what it is: none, left-right mirroring, or all eight; None
        where nobody says (``pipeline`` then finds out).
    metric: what predictions are measured, chosen and ordered by.
    submission_ids: the order in which a submission lists the test ids.
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
        """The task's, a column of a model each."""
        return self.task.classes
