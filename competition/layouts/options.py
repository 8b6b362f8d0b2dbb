"""What the user or a known contest says where the files leave it open."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from competition.form import FormKind
from competition.metrics import find_metric
from competition.tables import column_called


@dataclass(frozen=True)
class Options:
    """Each is None if it is left open.

    known_columns: image and label column of a known contest, which count if the training table has them. metric: its
    name, if it is known before the files are read. negative: the class of a folder that stands for 0, all
    others for 1.
    """

    train_table: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    known_columns: tuple[str | None, str | None] = (None, None)
    form: FormKind | None = None
    metric: str | None = None
    negative: str | None = None

    @property
    def wants_numbers(self) -> bool:
        return self.form == "number" or self._metric_needs == "numbers"

    @property
    def wants_probabilities(self) -> bool:
        return self.form == "probability" or self._metric_needs in ("probabilities", "scores")

    @property
    def ranked(self) -> int:
        """How many labels the metric ranks; 0 if it ranks none or is not known."""
        return find_metric(self.metric).most if self.metric is not None and self._metric_needs == "ranking" else 0

    @property
    def _metric_needs(self) -> str | None:
        return None if self.metric is None else find_metric(self.metric).needs

    def fitting(self, columns: Sequence[str]) -> "Options":
        """The options for a training table with these columns."""
        known_image, known_label = (name if name in columns else None for name in self.known_columns)
        image, label = (
            name and (column_called(name, columns) or name) for name in (self.image_column, self.label_column)
        )
        return replace(self, image_column=image or known_image, label_column=label or known_label)
