"""What the user or a known contest says where the files leave it open."""

from dataclasses import dataclass

from competition.form import FormKind

NUMBERS = {"rmse", "mae"}  # metrics of numbers
PROBABILITIES = {  # metrics of probabilities
    *("log-loss", "balanced-log-loss", "weighted-log-loss", "auc", "weighted-auc", "partial-auc", "average-precision")
}


@dataclass(frozen=True)
class Options:
    """Each is None if it is left open.

    metric: its name, if it is known before the files are read. negative: the class of a folder that stands for 0, all
    others for 1.
    """

    train_table: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    form: FormKind | None = None
    metric: str | None = None
    negative: str | None = None

    @property
    def wants_numbers(self) -> bool:
        return self.form == "number" or self.metric in NUMBERS

    @property
    def wants_probabilities(self) -> bool:
        return self.form == "probability" or self.metric in PROBABILITIES
