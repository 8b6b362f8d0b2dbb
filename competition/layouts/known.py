"""What real contests leave unsaid: metric, columns and form, in ``known/<name>.toml``."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from competition.checked_toml import CheckedModel, read_checked_toml
from competition.errors import UserError
from competition.form import FormKind
from competition.metrics import find_metric
from competition.spec import Symmetries

KNOWN = Path(__file__).parent.parent / "known"


def _named(metric: str) -> str:
    """The name of a metric. Raises ValueError, which suggests the nearest name, if there is none."""
    try:
        return find_metric(metric).name
    except UserError as error:
        raise ValueError(str(error).partition("; ")[0]) from None


class KnownCompetition(CheckedModel):
    """What ``known/<name>.toml`` adds to a competition's files. Every key is optional.

    form: the kind of a submission where the files leave it open. negative: the folder of the class that stands for 0,
    where those of all others stand for 1.
    """

    train_table: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    metric: Annotated[str, AfterValidator(_named)] | None = None
    form: FormKind | None = None
    negative: str | None = None
    symmetries: Symmetries | None = None


def read_known(name: str, folder: Path) -> KnownCompetition:
    """Read ``known/<name>.toml``; all defaults if there is none. Raises UserError that names a wrong key or value."""
    path = folder / f"{name}.toml"
    return read_checked_toml(path, KnownCompetition) if path.is_file() else KnownCompetition()
