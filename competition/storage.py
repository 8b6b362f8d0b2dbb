"""Folders and files that are there whole or not at all, however many processes write them at once."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # holds competition/ and pipeline/
KAGGLE_INPUT, KAGGLE_WORKING = Path("/kaggle/input"), Path("/kaggle/working")


def default_work_folder() -> Path:
    """Where runs/, submissions/ and competition/data/ go: Kaggle's output, the checkout, or the current folder."""
    if KAGGLE_WORKING.is_dir():
        return KAGGLE_WORKING
    return ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()


def build_folder(folder: Path, fill: Callable[[Path], object], is_right: Callable[[Path], bool] = Path.is_dir) -> Path:
    """The folder, filled by ``fill`` unless one that ``is_right`` is there already.

    ``fill`` writes into a new folder beside it, which is renamed into place. Where two processes fill it at
    once, both go on with the one that was there first.
    """
    if is_right(folder):
        return folder
    draft = _hidden_sibling(folder)
    draft.mkdir(parents=True)
    try:
        fill(draft)
        if folder.exists() and not is_right(folder):
            _set_aside(folder)
        try:
            draft.rename(folder)
        except OSError:
            # Another process was faster: a folder is not renamed onto one that holds something.
            if not is_right(folder):
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that is renamed into it once the block has ended without an error.

    The folder is made where it is missing. After an error ``path`` is what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _hidden_sibling(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_file(path: Path, content: str) -> None:
    """Write a UTF-8 text file at once, its line ends as they are."""
    with atomic_write(path) as draft:
        draft.write_text(content, encoding="utf-8", newline="")


def _hidden_sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def _set_aside(folder: Path) -> None:
    outdated = _hidden_sibling(folder)
    with suppress(FileNotFoundError):
        folder.rename(outdated)
    shutil.rmtree(outdated, ignore_errors=True)
