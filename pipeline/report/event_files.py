"""TensorBoard's event files: the histories of networks in the form that ``tensorboard --logdir runs/NAME`` shows."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from competition.errors import UserError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

EVENTS = "events.out.tfevents.*"
SCALARS = {  # the columns of history.csv by the names that TensorBoard shows; ``{}`` stands for the metric's
    "train/loss": "loss",
    "train/accuracy": "accuracy",
    "validation/loss": "validation_loss",
    "validation/accuracy": "validation_accuracy",
    "validation/{}": "validation_score",
    "learning_rate": "learning_rate",
    "image_size": "size",
    "images_per_second": "images_per_second",
}


def check_tensorboard() -> None:
    """Raises UserError if the package that writes event files is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the package tensorboard; pip install tensorboard, or leave the option out")


class EventFiles:
    """One event file for each history, in the same folder, written anew by each command that trains or finds it.

    metric: name of the competition's metric.
    """

    def __init__(self, metric: str) -> None:
        self.columns = {tag.format(metric): column for tag, column in SCALARS.items()}
        self._writers: dict[Path, tuple[SummaryWriter, int]] = {}

    def write(self, histories: Mapping[Path, Mapping[str, pd.DataFrame]]) -> None:
        """Write the rows that are new. histories: by the folder of the run and, below it, of the history."""
        for folder, places in histories.items():
            for place, history in places.items():
                self._add(folder / place, history)

    def _add(self, folder: Path, history: pd.DataFrame) -> None:
        writer, written = self._writers.get(folder, (None, 0))
        if writer is None or len(history) < written:  # a training that began anew
            writer, written = self._begun(folder), 0
        for row in history.iloc[written:].to_dict("records"):
            for tag, column in self.columns.items():
                writer.add_scalar(tag, row[column], int(row["epoch"]))
        writer.flush()
        self._writers[folder] = writer, len(history)

    def _begun(self, folder: Path) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter  # here, because it is slow to import and not always there

        if folder in self._writers:
            self._writers[folder][0].close()
        for earlier in folder.glob(EVENTS):
            earlier.unlink()
        return SummaryWriter(str(folder))

    def close(self) -> None:
        for writer, _ in self._writers.values():
            writer.close()
