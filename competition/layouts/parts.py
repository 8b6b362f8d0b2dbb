"""What a layout finds: the rows of each split, and which of their columns mean what."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition.tables import Table


@dataclass(frozen=True)
class Part:
    """The rows of a split.

    image: the column with the ids of the images. paths: their files where the layout knows them; None if they are to
    be found by their ids.
    """

    table: Table
    image: str
    paths: tuple[Path, ...] | None = None

    def take(self, kept: np.ndarray) -> "Part":
        """The part with only the rows that ``kept``, bool ``[N]``, marks."""
        paths = self.paths and tuple(path for path, is_kept in zip(self.paths, kept, strict=True) if is_kept)
        return replace(self, table=self.table.take(kept), paths=paths)


@dataclass(frozen=True)
class Found:
    """What a layout recognises.

    labels: the columns of train with the labels. test: None if the sample submission or the folder of test images says
    what to predict. found: what was found, a line each, for the user. group: the column of groups, if there is one.
    separator: what is known to part several labels in a cell.
    """

    train: Part
    labels: tuple[str, ...]
    val: Part | None = None
    test: Part | None = None
    found: tuple[str, ...] = ()
    group: str | None = None
    separator: str | None = None


def table_of(path: Path, columns: dict[str, list[str]]) -> Table:
    """A table of what is no CSV, such as a folder; rows are numbered as if it had a header."""
    frame = pd.DataFrame(columns, dtype=str)
    return Table(path, frame.set_axis(range(2, len(frame) + 2)))
