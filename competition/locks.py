"""Locks between processes: while one changes a file or folder, the others that would change it wait."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from competition.errors import UserError
from competition.storage import HOST, MACHINE, remedy_for
from competition.wording import fault_in, printable

PATIENCE = 1.0  # seconds of waiting without a word
POLL = 0.1  # seconds between two tries
# flock's answers on a file system that has no locks
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


class StillLocked(UserError):  # noqa: N818 - the name says what has happened
    """Another process holds the lock for longer than this one may wait."""


@contextmanager
def locked(path: Path, doing: str = "", until: float | None = None) -> Iterator[None]:
    """Hold the lock of a file or folder during the block. If another process holds it, say which, and wait.

    The lock is the hidden file ``.NAME.lock`` beside ``path``, which names its holder; it stays there. The operating
    system frees it when its holder ends, however that happens. It is not re-entrant.

    doing: what the holder does with ``path``, for the others to read; default: ``changes NAME``.
    until: when the budget of this command ends, as ``time.monotonic`` tells it; None: wait without end.

    On a file system without locks, a warning is printed, and the block runs without one.
    Raises UserError if the lock's file cannot be written, and StillLocked if another process holds it at ``until``.
    """
    doing = doing or f"changes {printable(path.name)}"
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        has_lock = _acquired(lock, doing, until)
    except OSError as error:
        raise _not_writable(Path(lock.lock_file), error) from error
    try:
        yield
    finally:
        if has_lock:
            _name_holder(lock, "")
            lock.release()


def _acquired(lock: FileLock, doing: str, until: float | None) -> bool:
    """Acquire the lock. Returns whether there are locks on this file system."""
    try:
        _acquire(lock, doing, until)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        place = printable(Path(lock.lock_file).parent, most=200)
        print(f"warning: {place} is on a file system without locks; run one command there at a time")
        return False
    _name_holder(lock, f"{Path(sys.argv[0]).name or 'process'}\n{os.getpid()}\n{MACHINE}\n{HOST}")
    return True


def _acquire(lock: FileLock, doing: str, until: float | None) -> None:
    holder = _holder(lock)  # before trying: older versions of filelock empty the file by trying
    try:
        lock.acquire(timeout=PATIENCE, poll_interval=POLL)
    except Timeout:
        holder = _holder(lock) or holder or "process"
        print(f"another {holder} {doing}; waiting", flush=True)
        _acquire_until(lock, until, f"another {holder} still {doing} when the budget ends")


def _acquire_until(lock: FileLock, until: float | None, fault: str) -> None:
    try:
        lock.acquire(timeout=-1 if until is None else max(0.0, until - time.monotonic()), poll_interval=POLL)
    except Timeout:
        raise StillLocked(f"{fault}; run the same command again when that has ended, or give more --budget") from None


def _name_holder(lock: FileLock, text: str) -> None:
    with suppress(OSError):  # Windows lets nobody write to a locked file
        Path(lock.lock_file).write_text(text, encoding="utf-8")


def _holder(lock: FileLock) -> str:
    """The holder, e.g. ``train.py (process 4711)``; empty if it is not known."""
    try:
        name, process, machine, host = Path(lock.lock_file).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return ""
    return printable(f"{name} (process {process}{'' if machine == MACHINE else f' on {host}'})")


def _not_writable(path: Path, error: OSError) -> UserError:
    return fault_in(path, f"cannot be written ({printable(error.strerror or error)})", remedy_for(error))
