"""The ledger: a line for every submission sent, and the note that predict.py leaves beside a CSV for it."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from competition.errors import UserError
from competition.metrics import ACCURACY
from competition.storage import atomic_write
from competition.tables import read_table

SENT, PENDING, SCORED, REJECTED, REFUSED = "sent", "pending", "scored", "rejected", "refused"


@dataclass(frozen=True)
class Note:
    """What made a CSV.

    sha256: of the CSV; a note beside another CSV says nothing about it.
    recipes: the blend's members with their weights.
    validation: the value of the metric of that name, for the blend, on validation images that did not choose it.
    low, high: its 95 % interval.
    source: where the competition was read from: the arguments of ``open_competition``; empty in older notes.
    """

    sha256: str
    recipes: dict[str, float]
    validation: float
    low: float
    high: float
    metric: str = ACCURACY.name  # older notes do not name it
    source: dict[str, str | None] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(TypeAdapter(Note).dump_json(self, indent=1))


def note_of(file: Path, sha256: str) -> Note | None:
    """The note beside a CSV, ``submission.json``; None where there is none or it is another CSV's."""
    try:
        note = TypeAdapter(Note).validate_json(file.with_name("submission.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return note if note.sha256 == sha256 else None


@dataclass(frozen=True)
class Entry:
    """One line of the ledger, all of it text.

    time: UTC, when it was sent. file: as it was given. recipes: ``name weight`` of each, parted by semicolons.
    metric, validation, low, high: see ``Note``; empty where nothing is known. public: as the server spells it.
    status: sent (whether it arrived is not known yet), pending, scored, rejected (at scoring) or refused
        (never taken). reason: the server's own, of the last two. message: what the submission was to try.
    """

    time: str
    competition: str
    file: str
    sha256: str
    recipes: str
    metric: str
    validation: str
    low: str
    high: str
    public: str
    ref: str
    status: str
    reason: str
    message: str

    @property
    def is_open(self) -> bool:
        return self.status in (SENT, PENDING)


HEADER = tuple(column.name for column in fields(Entry))
FORMER_HEADER = tuple(name for name in HEADER if name != "metric")


def new_entry(competition: str, file: Path, sha256: str, message: str, note: Note | None) -> Entry:
    recipes = "; ".join(f"{name} {weight:.2f}" for name, weight in note.recipes.items()) if note else ""
    metric = note.metric if note else ""
    validation, low, high = map("{:.4f}".format, (note.validation, note.low, note.high)) if note else ("", "", "")
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return Entry(
        time, competition, str(file), sha256, recipes, metric, validation, low, high, "", "", SENT, "", message
    )


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Ledger:
    """submissions/ledger.csv, read anew for every question and written whole."""

    path: Path

    def entries(self) -> list[Entry]:
        """Oldest first. Raises UserError where the file is no ledger."""
        if not self.path.is_file():
            return []
        fault = f"{self.path}: not the ledger that submit.py writes; move it away"
        try:
            table = read_table(self.path)
        except UserError as error:
            raise UserError(fault) from error
        if table.columns not in (HEADER, FORMER_HEADER):
            raise UserError(fault)
        return [_entry(dict(zip(table.columns, row, strict=True))) for row in table.rows]

    def add(self, entry: Entry) -> Entry:
        self._write([*self.entries(), entry])
        return entry

    def change(self, entry: Entry, **changes: str) -> Entry:
        """Replace an entry that is there by itself with the changes, and return that."""
        changed = replace(entry, **changes)
        self._write(changed if each == entry else each for each in self.entries())
        return changed

    def find(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        return [entry for entry in self.entries() if wanted(entry)]

    def _write(self, entries: Iterable[Entry]) -> None:
        table = pd.DataFrame([asdict(entry) for entry in entries], columns=HEADER)
        with atomic_write(self.path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")


def _entry(cells: dict[str, str]) -> Entry:
    """An entry of a line; before there was a column for the metric, it was accuracy."""
    former = {"metric": ACCURACY.name if cells["validation"] else ""}
    return Entry(**(former | cells))
