"""What real contests leave unsaid: metric, columns and form, in ``known/<name>.toml``."""

from pathlib import Path
from typing import Literal

from competition.checked_toml import CheckedModel, read_checked_toml
from competition.form import FormKind
from competition.metrics import METRICS
from competition.spec import Symmetries

KNOWN = Path(__file__).parent.parent / "known"
# metrics that known contests have, and those that take probabilities
_MORE = [
    "accuracy",
    "balanced-accuracy",
    "weighted-recall",
    "log-loss",
    "balanced-log-loss",
    "weighted-log-loss",
    "auc",
    "weighted-auc",
    "partial-auc",
    "f1-macro",
    "f1-micro",
    "f1-samples",
    "f1-binary",
    "f2-samples",
    "kappa",
    "map@5",
    "top-5",
    "gap",
    "average-precision",
    "rmse",
    "mae",
]
NAMES = tuple(dict.fromkeys([*METRICS, *_MORE]))


class KnownCompetition(CheckedModel):
    """What ``known/<name>.toml`` adds to a competition's files. Every key is optional.

    form: the kind of a submission where the files leave it open.
    """

    train_table: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    metric: Literal[*NAMES] | None = None  # type: ignore[valid-type]  # the names are known at run time only
    form: FormKind | None = None
    symmetries: Symmetries | None = None


def read_known(name: str, folder: Path) -> KnownCompetition:
    """Read ``known/<name>.toml``; all defaults if there is none. Raises UserError that names a wrong key or value."""
    path = folder / f"{name}.toml"
    return read_checked_toml(path, KnownCompetition) if path.is_file() else KnownCompetition()
