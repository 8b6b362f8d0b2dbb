"""What the stand-in keeps across restarts: one folder with a database and the uploaded files."""

import fcntl
import json
import secrets
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from competition.stand_in.wire import Message, RefusedError, iso
from competition.wording import fault_in

_TABLES = """
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS uploads (
    token TEXT PRIMARY KEY, competition TEXT NOT NULL, file_name TEXT NOT NULL, length INTEGER NOT NULL,
    submission INTEGER
);
CREATE TABLE IF NOT EXISTS submissions (
    ref INTEGER PRIMARY KEY AUTOINCREMENT, competition TEXT NOT NULL, token TEXT NOT NULL, file_name TEXT NOT NULL,
    description TEXT NOT NULL, date TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'PENDING',
    public REAL, private REAL, error TEXT
);
CREATE TABLE IF NOT EXISTS kernels (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, slug TEXT NOT NULL, version INTEGER NOT NULL,
    request TEXT NOT NULL, date TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'QUEUED', failure TEXT,
    UNIQUE (owner, slug, version)
);
"""


@dataclass(frozen=True)
class Upload:
    token: str
    competition: str
    file_name: str
    length: int
    submission: int | None


@dataclass(frozen=True)
class Submission:
    """public, private: scores, None unless status is COMPLETE; error: None unless it is ERROR; date: UTC, ISO."""

    ref: int
    competition: str
    token: str
    file_name: str
    description: str
    date: str
    status: str
    public: float | None
    private: float | None
    error: str | None


@dataclass(frozen=True)
class Kernel:
    """One version of a kernel. request: what was pushed, as the client sent it."""

    id: int
    owner: str
    slug: str
    version: int
    request: Message
    date: str
    status: str
    failure: str | None

    @property
    def ref(self) -> str:
        return f"{self.owner}/{self.slug}"


class State:
    """The folder's content; safe for several threads of one process.

    now: the clock; daily limits count from its midnight in UTC.

    Raises UserError if another stand-in uses the folder or it cannot be written.
    """

    def __init__(self, folder: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder, self._now = folder, now
        self._lock = threading.RLock()
        try:
            for kept in (folder, folder / "uploads", folder / "kernels"):
                kept.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / "stand_in.db").touch(mode=0o600)
            self._held = (folder / "lock").open("w")
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._database = sqlite3.connect(folder / "stand_in.db", check_same_thread=False)
            self._database.executescript(_TABLES)
        except BlockingIOError as error:
            raise fault_in(folder, "another stand-in is using it", "stop that one or give another --state") from error
        except (OSError, sqlite3.Error) as error:
            raise fault_in(folder, f"the state cannot be kept there ({error})", "give another --state") from error

    def close(self) -> None:
        with self._lock:
            self._database.close()
            self._held.close()

    def secret(self, name: str) -> str:
        """A random word that stays the same across restarts, e.g. the account's key."""
        self._run("INSERT OR IGNORE INTO secrets VALUES (?, ?)", name, secrets.token_hex(16))
        return self._run("SELECT value FROM secrets WHERE name = ?", name)[0][0]

    def upload_path(self, token: str) -> Path:
        return self.folder / "uploads" / token

    def add_upload(self, competition: str, file_name: str, length: int) -> Upload:
        """Register a file that is to be uploaded."""
        upload = Upload(secrets.token_hex(16), competition, file_name, length, None)
        self._run("INSERT INTO uploads VALUES (?, ?, ?, ?, NULL)", upload.token, competition, file_name, length)
        return upload

    def upload(self, token: str) -> Upload | None:
        return next(iter(self._rows(Upload, "uploads WHERE token = ?", token)), None)

    def add_submission(self, upload: Upload, description: str, daily_limit: int) -> int:
        """Returns the ref of a new submission. Raises RefusedError if the day's are used up, or for a second use."""
        with self._lock:
            if self.submitted_today(upload.competition) >= daily_limit:
                raise RefusedError(400, f"all {daily_limit} submissions of this day (UTC) are used up")
            stored = self.upload(upload.token)
            if stored is None or stored.submission is not None:
                raise RefusedError(400, "this upload has been submitted already")
            columns = "INSERT INTO submissions (competition, token, file_name, description, date)"
            values = (upload.competition, upload.token, upload.file_name, description, iso(self._now()))
            with self._database:
                ref = self._database.execute(f"{columns} VALUES (?, ?, ?, ?, ?)", values).lastrowid
                assert ref is not None  # a row was inserted
                self._database.execute("UPDATE uploads SET submission = ? WHERE token = ?", (ref, upload.token))
            return ref

    def submitted_today(self, competition: str) -> int:
        midnight = self._now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        given = competition, iso(midnight)
        return self._run("SELECT COUNT(*) FROM submissions WHERE competition = ? AND date >= ?", *given)[0][0]

    def submissions(self, competition: str) -> list[Submission]:
        """All submissions, the newest first."""
        return self._rows(Submission, "submissions WHERE competition = ? ORDER BY ref DESC", competition)

    def score(self, ref: int, public: float, private: float) -> None:
        values = public, private, ref
        self._run("UPDATE submissions SET status = 'COMPLETE', public = ?, private = ? WHERE ref = ?", *values)

    def reject(self, ref: int, error: str) -> None:
        self._run("UPDATE submissions SET status = 'ERROR', error = ? WHERE ref = ?", error, ref)

    def kernel_folder(self, kernel: Kernel) -> Path:
        """The folder that holds ``working/`` (what the kernel wrote) and ``log.json``."""
        return self.folder / "kernels" / str(kernel.id)

    def add_kernel(self, owner: str, slug: str, request: Message, status: str = "QUEUED") -> Kernel:
        """Add a new version."""
        with self._lock:
            newest = self.kernel(owner, slug)
            version = newest.version + 1 if newest else 1
            columns = "INSERT INTO kernels (owner, slug, version, request, date, status) VALUES (?, ?, ?, ?, ?, ?)"
            self._run(columns, owner, slug, version, json.dumps(request), iso(self._now()), status)
            added = self.kernel(owner, slug)
            assert added is not None  # it was inserted
            return added

    def kernel(self, owner: str, slug: str, version: int | None = None) -> Kernel | None:
        """That version of a kernel, by default the newest."""
        which = "kernels WHERE owner = ? AND slug = ? AND version = COALESCE(?, version) ORDER BY version DESC"
        return next(iter(self._kernels(which, owner, slug, version)), None)

    def unfinished_kernels(self) -> list[Kernel]:
        return self._kernels("kernels WHERE status IN ('QUEUED', 'RUNNING') ORDER BY id")

    def set_kernel_status(self, kernel: Kernel, status: str, failure: str | None = None) -> None:
        self._run("UPDATE kernels SET status = ?, failure = ? WHERE id = ?", status, failure, kernel.id)

    def _kernels(self, which: str, *values: object) -> list[Kernel]:
        rows = self._rows(dict, which, *values, names=[field.name for field in fields(Kernel)])
        return [Kernel(**row | {"request": json.loads(row["request"])}) for row in rows]

    def _rows(self, kind: type, which: str, *values: object, names: list[str] | None = None) -> list:
        names = names or [field.name for field in fields(kind)]
        rows = self._run(f"SELECT {', '.join(names)} FROM {which}", *values)
        return [kind(**dict(zip(names, row, strict=True))) for row in rows]

    def _run(self, command: str, *values: object) -> list[tuple]:
        with self._lock, self._database:
            return self._database.execute(command, values).fetchall()
