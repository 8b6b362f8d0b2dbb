"""The memory of this machine."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

GUESS = 8 << 30  # bytes
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # a container's, in version 2 and 1 of Linux control groups
VALUES_AT_ONCE = 2**24  # of a large array whose rows are worked on in blocks; as float64, 128 MB

# of the operating system, not of a file: no memory, too many open files, an unreliable disk or network
SHORTAGES = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO}

# of PyTorch on a CPU and on a GPU, of its libraries, and of OpenCV
_EXHAUSTED = re.compile(
    r"can(no|')t allocate memory|failed to allocate|not enough memory|out of memory|insufficient memory|alloc_failed"
    r"|failed to map segment|can't start new thread"
    r"|could not create a primitive",  # of oneDNN, which does not say why
    re.I,
)


def total_memory() -> int:
    """The memory of this machine in bytes, or the limit of its container if that is lower.

    The free memory would vary, but the same command must make the same decisions each time.
    """
    return min([_machine_memory(), *_container_limits()])


def raise_shortage(error: BaseException) -> None:
    """Raise the error again if it says that the machine lacks something, and nothing about the file that was read."""
    if is_out_of_memory(error) or (isinstance(error, OSError) and error.errno in SHORTAGES):
        raise error


def _machine_memory() -> int:
    """The memory of this machine; a guess where the system cannot be asked, as on Windows."""
    if not hasattr(os, "sysconf"):
        return GUESS
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that there was not enough memory, of the machine or of a GPU.

    Libraries raise a MemoryError or, like PyTorch, a RuntimeError that only its text tells from others.
    """
    return isinstance(error, MemoryError) or _EXHAUSTED.search(str(error)) is not None


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices that cover the rows of an array ``[rows, columns]``, each of at most ``VALUES_AT_ONCE`` values.

    Most arrays are one block. Work that goes block by block needs little memory beyond its result.
    """
    step = max(1, VALUES_AT_ONCE // max(columns, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _container_limits() -> Iterator[int]:
    for name in LIMITS:
        path = CGROUPS / name
        if path.is_file() and (text := path.read_text(encoding="utf-8").strip()).isdigit():
            yield int(text)
