"""Image files that cannot be read, and those whose pixels are partly wrong, as they are told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from competition.errors import UserError, first_few
from competition.spec import Split
from competition.wording import printable
from pipeline.data.decode import UnreadableImage, decode

NAMED = 3  # files that are named


def unreadable_files(paths: Sequence[Path]) -> str:
    """The first few of these files and why they cannot be decoded, and the number of the others."""
    shown = [f"{printable(path, most=200)} ({printable(fault_of(path))})" for path in paths[:NAMED]]
    return ", ".join(shown) + (f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else "")


def fault_of(path: Path) -> str:
    """Why the file cannot be decoded, without its path."""
    try:
        decode(path)
    except UnreadableImage as error:
        return str(error).removeprefix(f"{path}: ")
    return "it changed meanwhile"


def readable_rows(split: Split, unreadable: np.ndarray, skip: bool, labelled: int) -> np.ndarray:
    """The rows without those of unreadable files. labelled: number of the first rows, of which each has to be read."""
    missed = [split.paths[row] for row in unreadable if row < labelled]
    names = unreadable_files(missed)
    if missed and not skip:
        raise UserError(
            f"{len(missed)} of {labelled:,} labelled images cannot be read: {names}; "
            "replace them, or leave them out with --skip-unreadable"
        )
    if missed:
        print(f"warning: {len(missed)} images cannot be read and are left out: {names}")
    return np.delete(np.arange(len(split)), unreadable)


def warn_of_damaged(paths: Sequence[Path], damaged: np.ndarray, what: str) -> None:
    """Print a warning of the JPEGs that are damaged inside, if there are any.

    damaged: rows, int64; those beyond the paths do not count. what: what the paths are, in the plural.
    """
    rows = damaged[damaged < len(paths)].tolist()
    if rows:
        which = f"{len(rows):,} of {len(paths):,} {what} ({first_few(printable(paths[row], most=200) for row in rows)})"
        print(
            f"warning: JPEGs damaged inside, parts of which are grey or shifted: {which}; "
            "they are used as they are, unless you replace them"
        )
