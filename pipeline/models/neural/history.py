"""History: how the training of a network went, segment by segment, as history.csv keeps it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from competition.storage import atomic_write

DIGITS = 6  # after the point


@dataclass(frozen=True)
class EpochRecord:
    """One row of history.csv: a segment of the training, and the validation after it.

    validation_score: by the competition's metric.
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
    """The records of a training, and the file that holds them."""

    path: Path
    records: list[EpochRecord] = field(default_factory=list)

    def write(self) -> None:
        """Write history.csv anew, a row a record."""
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
