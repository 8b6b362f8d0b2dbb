"""The ledger: one line for every submission, and the note that predict.py writes beside a CSV for it."""

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
    """How a CSV was made.

    sha256: hash of the CSV; the note is ignored if the CSV beside it has another one.
    recipes: members of the blend and their weights.
    validation: value of ``metric`` that is expected of the blend on new images (cross-validated).
    low, high: 95 % interval of ``validation``.
    metric: name of the metric, a key of ``METRICS``.
    source: the arguments of ``open_competition`` with which the competition was read; empty in older notes.
    """

    sha256: str
    recipes: dict[str, float]
    validation: float
    low: float
    high: float
    metric: str = ACCURACY.name  # missing in older notes
    source: dict[str, str | None] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(TypeAdapter(Note).dump_json(self, indent=1))


def note_of(file: Path, sha256: str) -> Note | None:
    """The note ``submission.json`` beside a CSV; None if there is none or if it belongs to another CSV."""
    try:
        note = TypeAdapter(Note).validate_json(file.with_name("submission.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return note if note.sha256 == sha256 else None


@dataclass(frozen=True)
class Entry:
    """One line of the ledger. Every field is text and empty if unknown.

    time: when the file was sent, UTC in ISO 8601; ``elsewhere`` if another machine sent it.
    file: path of the CSV, as the user gave it.
    recipes: ``name weight`` of each member of the blend, separated by semicolons.
    metric, validation, low, high: see ``Note``.
    public: public score, as the server writes it.
    ref: the server's number for the submission.
    status: sent (not known yet whether it arrived), pending, scored, rejected (at scoring) or refused (not accepted).
    reason: the server's reason if it was rejected or refused.
    message: the user's description of the submission.
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
    """The file submissions/ledger.csv. Every call reads it afresh; every change rewrites all of it."""

    path: Path

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises UserError if the file is not a ledger."""
        if not self.path.is_file():
            return []
        fault = f"{self.path}: not a ledger written by submit.py; move it away"
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
        """Apply changes to an entry of the ledger. Returns the changed entry."""
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
    """The entry of one line. Older ledgers have no column for the metric, which was accuracy."""
    former = {"metric": ACCURACY.name if cells["validation"] else ""}
    return Entry(**(former | cells))
