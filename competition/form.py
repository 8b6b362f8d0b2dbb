"""Form: what a submission of the competition looks like, as its sample submission shows."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

FormKind = Literal["class", "probability", "columns", "labels", "ranking", "confidence", "number"]


@dataclass(frozen=True, eq=False)
class Form:
    """The header and the rows of a submission, and what each cell holds.

    kind: what stands in a row besides its id.
        class: the label. probability: that of the second class, or of the row's target. columns: a probability for
        each class in the order of the header (of a continuous task with several numbers: the numbers; of a row's
        target: its classes). labels: all
        labels of the image, joined. ranking: the ``most`` likeliest labels, joined. confidence: the likeliest label and
        its probability. number: the number, or that of the row's target.
    header: all columns of the header; empty if a submission has none.
    ids: the id of each row in the order of the rows; empty if the rows have no ids, as then their order counts.
    id_at: the place of the id column.
    cases: for each row, which case it is about: an id of ``Competition.test``, or a name in its ``cases``.
    row_targets: for each row the number of its target, int64, where a case has a row for each target; else None.
    order: the places in ``Task.classes`` of the columns besides the id, of the kind ``columns``.
    separator: between the labels in a cell. most: labels in a ranking. source: the file that shows the form.
    spelled: how the sample spells a label where it differs from ``str(label)``, e.g. ``0.0`` for ``0``.
    """

    kind: FormKind
    header: tuple[str, ...]
    ids: tuple[str, ...]
    cases: tuple[str, ...]
    id_at: int = 0
    row_targets: np.ndarray | None = None
    order: tuple[int, ...] = ()
    separator: str = " "
    most: int = 5
    source: str = "test.csv"
    spelled: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cases)
