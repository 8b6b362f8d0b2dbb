"""The ledger: one line for every submission, and the note that predict.py writes beside a CSV for it."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from competition.errors import UserError
from competition.locks import locked
from competition.metrics import ACCURACY
from competition.spec import Competition, Split
from competition.storage import atomic_write
from competition.wording import fault_in, printable

SENT, PENDING, SCORED, REJECTED, REFUSED = STATES = "sent", "pending", "scored", "rejected", "refused"


@dataclass(frozen=True)
class Note:
    """How a CSV was made.

    sha256: hash of the CSV; the note is ignored if the CSV beside it has another one.
    recipes: members of the blend and their weights.
    validation: value of ``metric`` that is expected of the blend on new images (cross-validated).
    low, high: 95 % interval of ``validation``.
    metric: name of the metric, as ``find_metric`` takes it.
    source: the arguments of ``open_competition`` with which the competition was read; empty in older notes.
    data: ``fingerprint_of`` that competition; empty in older notes.
    """

    sha256: str
    recipes: dict[str, float]
    validation: float
    low: float
    high: float
    metric: str = ACCURACY.name  # missing in older notes
    source: dict[str, str | None] = field(default_factory=dict)
    data: str = ""

    def is_outdated(self, competition: Competition) -> bool:
        """Whether the competition's tables or images have changed since the CSV was made."""
        return self.data not in ("", fingerprint_of(competition))

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


def fingerprint_of(competition: Competition) -> str:
    """Hash of a competition's tables and of the size of each image file, which a copy of them has as well."""
    splits = (competition.train, competition.val, competition.test)
    facts = [asdict(competition.task), *map(_facts, splits)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _facts(split: Split) -> list[object]:
    labels = None if split.labels is None else split.labels.tolist()
    return [split.ids, labels, [path.stat().st_size for path in split.paths]]


@dataclass(frozen=True)
class Entry:
    """One line of the ledger. Every field is text and empty if unknown.

    time: when the file was sent, UTC in ISO 8601; ``elsewhere`` if another machine sent it.
    file: path of the CSV, as the user gave it; of a kernel's version ``user/slug/version``.
    sha256: hash of the CSV; empty for a kernel's version, which may answer other test images than it shows.
    recipes: ``name weight`` of each member of the blend, separated by semicolons.
    metric, validation, low, high: see ``Note``.
    public, private: the scores, as the server writes them; the private one is shown when the contest is over.
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
    private: str
    ref: str
    status: str
    reason: str
    message: str

    @property
    def is_open(self) -> bool:
        return self.status in (SENT, PENDING)

    @property
    def is_version(self) -> bool:
        """Whether it is a kernel's version, not a CSV."""
        return not self.sha256

    @property
    def tag(self) -> str:
        """What was sent, as the last word of its description on Kaggle: ``[0123456789ab]`` or ``[user/slug/3]``."""
        return f"[{self.sha256[:12] or self.file}]"

    def is_of(self, other: "Entry") -> bool:
        """Whether it is a later state of the other one, although its line may have been changed by hand since."""
        if self.competition != other.competition or self.tag != other.tag:
            return False
        return self.ref == other.ref if other.ref else self.is_open


HEADER = tuple(column.name for column in fields(Entry))
FORMER_HEADERS = tuple(
    tuple(name for name in HEADER if name not in later) for later in (("private",), ("private", "metric"))
)


def new_entry(competition: str, file: str | Path, sha256: str, message: str, note: Note | None) -> Entry:
    recipes = "; ".join(f"{name} {weight:.2f}" for name, weight in note.recipes.items()) if note else ""
    metric = note.metric if note else ""
    validation, low, high = map("{:.4f}".format, (note.validation, note.low, note.high)) if note else ("", "", "")
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return Entry(
        time, competition, str(file), sha256, recipes, metric, validation, low, high, "", "", "", SENT, "", message
    )


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Ledger:
    """The file submissions/ledger.csv. Every call reads it afresh; every change rewrites all of it, one at a time.

    It is read as it was written, and as Excel saves it: with a byte-order mark, semicolons or in the Windows code page.
    """

    path: Path

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises UserError if the file is not a ledger, or damaged."""
        if not self.path.exists():
            return []
        header, *rows = _rows(self.path)
        entries = [_entry(dict(zip(header, row, strict=True))) for row in rows]
        if strange := [entry.status for entry in entries if entry.status not in STATES]:
            states = ", ".join(STATES)
            raise fault_in(self.path, f"no status is called '{printable(strange[0])}'", f"write one of {states}")
        return entries

    def add(self, entry: Entry) -> Entry:
        with locked(self.path):
            self._write([*self.entries(), entry])
        return entry

    def change(self, entry: Entry, **changes: str) -> Entry:
        """Apply changes to an entry of the ledger, or add it if its line is gone. Returns the changed entry."""
        with locked(self.path):
            entries = self.entries()
            same = [row for row, each in enumerate(entries) if each == entry]
            like = same or [row for row, each in enumerate(entries) if each.is_of(entry)]
            row = like[-1] if like else len(entries)
            changed = replace(entries[row] if like else entry, **changes)
            self._write([*entries[:row], changed, *entries[row + 1 :]])
        return changed

    def find(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        return [entry for entry in self.entries() if wanted(entry)]

    def _write(self, entries: Iterable[Entry]) -> None:
        table = pd.DataFrame([asdict(entry) for entry in entries], columns=HEADER)
        with atomic_write(self.path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def _rows(path: Path) -> list[list[str]]:
    """The cells of the header and of each line. Raises UserError if the header or the length of a line is wrong."""
    text = _text(path)
    separator = ";" if text.startswith(";".join(HEADER[:2])) else ","
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if any(row)]
    except csv.Error as error:
        raise _no_ledger(path, str(error)) from error
    if not rows or tuple(rows[0]) not in (HEADER, *FORMER_HEADERS):
        raise _no_ledger(path, "its header is another one")
    if ragged := [number for number, row in enumerate(rows, 1) if len(row) != len(rows[0])]:
        raise _no_ledger(path, f"row {ragged[0]} has {len(rows[ragged[0] - 1])} cells, not {len(rows[0])}")
    return rows


def _text(path: Path) -> str:
    """The text of the file: UTF-8, or with the line ends of Windows its code page."""
    if not path.is_file():
        raise _no_ledger(path, "it is no file")
    content = path.read_bytes()
    encodings = ("utf-8-sig", "cp1252") if b"\r\n" in content else ("utf-8-sig",)
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _no_ledger(path, "it is not UTF-8 text")


def _no_ledger(path: Path, fault: str) -> UserError:
    remedy = "repair it, or move it away to begin a new one"
    return fault_in(path, f"not a ledger written by submit.py, or damaged: {fault}", remedy)


def _entry(cells: dict[str, str]) -> Entry:
    """The entry of one line. Older ledgers have no private score, and the oldest no metric, which was accuracy."""
    former = {"metric": ACCURACY.name if cells["validation"] else "", "private": ""}
    return Entry(**(former | cells))
