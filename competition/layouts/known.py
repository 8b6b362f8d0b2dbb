"""What real contests leave unsaid: metric, columns and form, in ``known/<name>.toml``."""

from pathlib import Path
from typing import Literal

from competition.checked_toml import CheckedModel, read_checked_toml
from competition.form import FormKind
from competition.metrics import METRICS
from competition.spec import Symmetries

KNOWN = Path(__file__).parent.parent / "known"


class KnownCompetition(CheckedModel):
    """What ``known/<name>.toml`` adds to a competition's files. Every key is optional.

    form: the kind of a submission where the files leave it open. negative: the folder of the class that stands for 0,
    where those of all others stand for 1.
    """

    train_table: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    metric: Literal[*METRICS] | None = None  # type: ignore[valid-type]  # the names are known at run time only
    form: FormKind | None = None
    negative: str | None = None
    symmetries: Symmetries | None = None


def read_known(name: str, folder: Path) -> KnownCompetition:
    """Read ``known/<name>.toml``; all defaults if there is none. Raises UserError that names a wrong key or value."""
    path = folder / f"{name}.toml"
    return read_checked_toml(path, KnownCompetition) if path.is_file() else KnownCompetition()
