"""How much memory there is."""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of a container, by version 2 or 1 of Linux's control groups


def total_memory() -> int:
    """Bytes of memory that this machine has, or its container, where that was given less.

    Not what happens to be free: the same command has to decide in the same way each time.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_container_limits()])


def _container_limits() -> Iterator[int]:
    for name in LIMITS:
        path = CGROUPS / name
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            yield int(text)
