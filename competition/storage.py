"""Write folders and files atomically: they are complete or absent, even if several processes write them at once."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the folder with competition/ and pipeline/
KAGGLE_INPUT, KAGGLE_WORKING = Path("/kaggle/input"), Path("/kaggle/working")


def default_work_folder() -> Path:
    """The folder for runs/, submissions/ and competition/data/.

    On Kaggle this is the output folder, in a checkout its root, otherwise the current folder.
    """
    if KAGGLE_WORKING.is_dir():
        return KAGGLE_WORKING
    return ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()


def build_folder(folder: Path, fill: Callable[[Path], object], is_right: Callable[[Path], bool] = Path.is_dir) -> Path:
    """Create a folder with ``fill`` unless it exists and ``is_right`` is true of it. Returns the folder.

    ``fill`` writes into a temporary folder beside it, which is then renamed. If two processes do this at once, both use
    the folder of the first. An existing folder that is not right is replaced.
    """
    if is_right(folder):
        return folder
    draft = _hidden_sibling(folder)
    draft.mkdir(parents=True)
    try:
        fill(draft)
        if folder.exists() and not is_right(folder):
            discard(folder)
        try:
            draft.rename(folder)
        except OSError:
            # Another process was faster: a folder cannot be renamed to one that exists and is not empty.
            if not is_right(folder):
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def discard(path: Path) -> None:
    """Remove a folder or file, if there is one. It is renamed first: even if the process is killed, none is left half.

    Raises OSError if it cannot be removed.
    """
    outdated = _hidden_sibling(path)
    with suppress(FileNotFoundError):
        path.rename(outdated)
    if outdated.is_dir() and not outdated.is_symlink():
        shutil.rmtree(outdated, ignore_errors=True)
    else:
        outdated.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to ``path`` if the block ends without an error.

    Creates the folder of ``path`` if it is missing. After an error ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _hidden_sibling(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_file(path: Path, content: str) -> None:
    """Write a UTF-8 text file atomically, without changing its line ends."""
    with atomic_write(path) as draft:
        draft.write_text(content, encoding="utf-8", newline="")


def _hidden_sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")
