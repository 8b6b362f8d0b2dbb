"""What was sent to Kaggle before, with its scores as numbers."""

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from pipeline.kaggle.ledger import Entry


@dataclass(frozen=True)
class Sent:
    """One line of the ledger. Scores are nan where the ledger has none.

    metric: name of the metric of ``validation``. low, high: the 95 % interval of ``validation``.
    """

    time: str
    file: str
    recipes: str
    message: str
    status: str
    metric: str
    validation: float
    low: float
    high: float
    public: float
    private: float

    @property
    def has_both_scores(self) -> bool:
        return math.isfinite(self.validation) and math.isfinite(self.public)

    @property
    def lies_within(self) -> bool:
        """Whether the public score lies in the interval of validation."""
        return self.low <= self.public <= self.high


def sent_from(entries: Iterable[Entry]) -> tuple[Sent, ...]:
    return tuple(
        Sent(
            time=each.time,
            file=each.file,
            recipes=each.recipes,
            message=each.message,
            status=each.status,
            metric=each.metric,
            validation=_number(each.validation),
            low=_number(each.low),
            high=_number(each.high),
            public=_number(each.public),
            private=_number(each.private),
        )
        for each in entries
    )


def _number(text: str) -> float:
    with suppress(ValueError):
        return float(text)
    return math.nan
