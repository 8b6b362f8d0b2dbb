"""History: one record per segment of a network's training, written to history.csv."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from competition.storage import atomic_write

DIGITS = 6  # decimal places


@dataclass(frozen=True)
class EpochRecord:
    """One row of history.csv: a segment of the training and the validation after it.

    epoch: number of the segment, from 1.
    size: longer side of the training images in pixels.
    batches: optimiser steps.
    loss, accuracy: means over the augmented training images.
    validation_score: value of the competition's metric.
    seconds: of training and validation; images_per_second is of training alone.
    """

    epoch: int
    size: int
    batches: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_score: float
    images_per_second: float
    seconds: float


@dataclass
class History:
    """The records of a training and the file they are written to."""

    path: Path
    records: list[EpochRecord] = field(default_factory=list)

    def write(self) -> None:
        """Write the whole of history.csv again, one row per record."""
        rows = [{key: _rounded(value) for key, value in row.items()} for row in self.state()]
        with atomic_write(self.path) as path:
            pd.DataFrame(rows).to_csv(path, index=False, na_rep="nan", lineterminator="\n")

    def state(self) -> list[dict[str, Any]]:
        """The records as plain values, for a checkpoint."""
        return [asdict(record) for record in self.records]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        self.records = [EpochRecord(**record) for record in state]


def _rounded(value: float | int) -> float | int:
    return round(value, DIGITS) if isinstance(value, float) else value
