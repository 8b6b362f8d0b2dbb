"""Errors that are not the pipeline's own, explained in one line: a full disk, missing rights, too little memory."""

import errno
import os
import re

from competition.errors import UserError
from competition.storage import REMEDIES
from competition.wording import printable
from pipeline.runtime.memory import is_out_of_memory

_RUST_ERROR = re.compile(r"\(os error (\d+)\)")  # of safetensors
_HALF_WRITTEN = "inline_container"  # the file of PyTorch's C++ code that finds a file shorter than what it wrote


def explained(error: Exception) -> str:
    """One line that says what is wrong, where, and what to do."""
    if isinstance(error, UserError):
        return str(error)
    if is_out_of_memory(error):
        memory = "the GPU's memory" if re.search("cuda|mps", str(error), re.I) else "memory"
        remedy = "lower --size, --limit or the recipe's batch_size, choose another model, or use a larger machine"
        return f"{memory} ran out; {remedy}"
    number, reason = _system_error(error)
    if reason is not None:
        return f"{_place(error)}{reason}{_remedy(number, error)}"
    return f"{type(error).__name__}: {_first_line(error)}; --debug shows where; please report it"


def _system_error(error: Exception) -> tuple[int | None, str | None]:
    """The number and the text of what the operating system refused; the text is None if it is another error."""
    if found := _RUST_ERROR.search(str(error)):
        number = int(found[1])
        return number, os.strerror(number)
    if _HALF_WRITTEN in str(error):  # PyTorch keeps the number for itself
        return errno.ENOSPC, "cannot be written"
    if isinstance(error, OSError):
        return error.errno, error.strerror or _first_line(error)
    return None, None


def _place(error: Exception) -> str:
    """``PATH: `` if the error names a file, or ``atomic_write`` has noted it; otherwise empty."""
    names = [*getattr(error, "__notes__", ()), getattr(error, "filename", None)]
    return next((f"{printable(name, most=200)}: " for name in names if name is not None), "")


def _remedy(number: int | None, error: Exception) -> str:
    if number in REMEDIES:
        return f"; {REMEDIES[number]}"
    return "; check that file or folder" if _place(error) else ""


def _first_line(error: Exception) -> str:
    return printable((str(error).strip() or "no reason given").splitlines()[0], most=200)
