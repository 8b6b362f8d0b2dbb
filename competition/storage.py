"""Write folders and files atomically: they are complete or absent, even if several processes write them at once.

They are written as drafts, hidden beside their place, and then renamed. A draft's name says which process on which
machine writes it, so that the next one to write there can remove what a killed process has left: at once if it was of
this machine, or of this machine before it was started again; otherwise after two days, as it may still be running.

"""

import errno
import hashlib
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from competition.errors import UserError
from competition.wording import fault_in

# errors of writing: the disk is full or the quota used up, or the folder may not be written
FULL, FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (errno.EACCES, errno.EPERM)
REMEDIES = (
    dict.fromkeys(FULL, "free some space there, or choose another folder with --work")
    | dict.fromkeys(FORBIDDEN, "change its permissions, or choose another folder with --work")
    | {errno.EROFS: "choose a folder on another disk with --work"}
)

ROOT = Path(__file__).resolve().parent.parent  # the folder with competition/ and pipeline/
KAGGLE_INPUT, KAGGLE_WORKING = Path("/kaggle/input"), Path("/kaggle/working")

LONGEST = 2 * 86_400.0  # seconds that a draft may be written
_DRAFT = re.compile(r"\..*\.(?P<machine>[^.]*)\.(?P<process>\d+)\.[0-9a-f]{8}\.draft")
_own_drafts: set[str] = set()  # names of the drafts that this process writes


def _hashed(*identity: str) -> str:
    return hashlib.sha256("\n".join(identity).encode(errors="replace")).hexdigest()[:8]


def _told_by(path: str) -> str:
    """The content of a file of the system, or where a link leads that is no file; empty if it is not there."""
    for read in (Path.read_text, Path.readlink):
        with suppress(OSError):
            return str(read(Path(path)))
    return ""


HOST = platform.node()
_INSTALLATION = _hashed(HOST, _told_by("/etc/machine-id"))  # machines with a common disk may have the same name
_BOOT = f"{_INSTALLATION}-{_hashed(_told_by('/proc/sys/kernel/random/boot_id'))}"
# containers may share all of this, but each has process numbers of its own
MACHINE = f"{_BOOT}-{_hashed(_told_by('/proc/self/ns/pid'))}"


def remedy_for(error: BaseException) -> str:
    """What to do about a file or folder that cannot be written. error: that of writing it."""
    return REMEDIES.get(
        getattr(error, "errno", None) or 0, "check that file or folder, or choose another one with --work"
    )


def default_work_folder() -> Path:
    """The folder for runs/, submissions/ and competition/data/.

    On Kaggle this is the output folder, in a checkout its root, otherwise the current folder.
    """
    if KAGGLE_WORKING.is_dir():
        return KAGGLE_WORKING
    return ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()


def expanded(path: Path | str) -> Path:
    """The path with the home folder in place of ``~``. Raises UserError if that folder is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: the home folder is not known here; write the path without ~") from None


def build_folder(folder: Path, fill: Callable[[Path], object], is_right: Callable[[Path], bool] = Path.is_dir) -> Path:
    """Create a folder with ``fill`` unless it exists and ``is_right`` is true of it. Returns the folder.

    ``fill`` writes into a temporary folder beside it, which is then renamed. If two processes do this at once, both use
    the folder of the first. An existing folder that is not right is replaced.
    """
    if is_right(folder):
        return folder
    with _draft_of(folder) as draft:
        draft.mkdir()
        fill(draft)
        if folder.exists() and not is_right(folder):
            discard(folder)
        try:
            draft.rename(folder)
        except OSError:
            # Another process was faster: a folder cannot be renamed to one that exists and is not empty.
            if not is_right(folder):
                raise
    return folder


def discard(path: Path) -> None:
    """Remove a folder or file, if there is one. It is renamed first, so that half of a folder is never found there."""
    with _draft_of(path) as outdated, suppress(FileNotFoundError):
        path.rename(outdated)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to ``path`` if the block ends without an error.

    Creates the folder of ``path`` if it is missing. After an error ``path`` is unchanged.
    Raises UserError if ``path`` is a folder.
    """
    if path.is_dir():
        raise fault_in(path, "a folder is in the place of this file", "move it away")
    try:
        with _draft_of(path) as draft:
            yield draft
            draft.replace(path)
    except UserError:
        raise
    except Exception as error:
        error.add_note(str(path))  # a full disk and PyTorch name no file
        raise


@contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``, for libraries that leave other files where they write one."""
    with _draft_of(path) as folder:
        folder.mkdir()
        yield folder


def write_file(path: Path, content: str) -> None:
    """Write a UTF-8 text file atomically, without changing its line ends."""
    with atomic_write(path) as draft:
        draft.write_text(content, encoding="utf-8", newline="")


def sweep(folder: Path) -> None:
    """Remove the drafts in a folder that processes were writing when they were killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _is_left(entry)]
        for draft in left:
            _remove(draft)


def sweep_all(folder: Path) -> None:
    """``sweep`` a folder and all folders below it."""
    for place, _, _ in os.walk(folder):
        sweep(Path(place))


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """Yield the path of a draft; remove what is there when the block ends. Its folder is made and swept before."""
    _make(path.parent)
    sweep(path.parent)
    # the name of a file has at most 255 bytes
    draft = path.with_name(f".{path.name[:40]}.{MACHINE}.{os.getpid()}.{uuid.uuid4().hex[:8]}.draft")
    _own_drafts.add(draft.name)
    try:
        yield draft
    finally:
        _remove(draft)
        _own_drafts.discard(draft.name)


def _make(folder: Path) -> None:
    """Make a folder and those above it, unless it is there. Raises UserError if a file is in the place of one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(each for each in (folder, *folder.parents) if os.path.lexists(each) and not each.is_dir())
        raise fault_in(file, "a file is in the place of this folder", "move it away") from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Whether this is a draft whose writer has ended."""
    draft = _DRAFT.fullmatch(entry.name)
    if draft is None or entry.name in _own_drafts:
        return False
    machine, process = draft["machine"], int(draft["process"])
    if machine == MACHINE:  # the number may be this process's by now
        return process == os.getpid() or not _is_running(process)
    if machine.startswith(f"{_INSTALLATION}-") and not machine.startswith(f"{_BOOT}-"):
        return True  # the machine was started again
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > LONGEST


def _is_running(process: int) -> bool:
    if os.name != "posix":  # to ask there is to end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is running, as another user
        pass
    return True
