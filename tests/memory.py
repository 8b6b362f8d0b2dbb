"""Memory of the process that runs the tests: kept for the next training, as commands keep it, or given back."""

import ctypes
from contextlib import suppress

from pipeline.runtime import devices

KEEP_FREED_MEMORY = devices._keep_freed_memory  # before a fixture of all tests replaces it
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGEST_THRESHOLD = 32 << 20  # bytes; glibc's own threshold grows up to it


def give_back_memory() -> None:
    """Give back what is free, and set glibc as it is after it has adapted to large arrays."""
    with suppress(AttributeError, OSError):  # C libraries other than glibc have no such settings
        libc = ctypes.CDLL(None)
        libc.mallopt(devices.M_MMAP_MAX, 65_536)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD)
        libc.mallopt(devices.M_TRIM_THRESHOLD, 2 * LARGEST_THRESHOLD)
        libc.malloc_trim(0)
