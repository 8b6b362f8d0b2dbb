"""What the benchmarks share: a clock, a process' memory, options, and images with classes in them."""

import re
import time
from argparse import Namespace
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")

SHAPES = 40  # smooth patterns that images are mixed of, at least


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What ``work`` returns, and the seconds it took."""
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def spent(work: Callable[[], Result]) -> tuple[Result, float, float]:
    """What ``work`` returns, the seconds it took by the clock, and those of the processor."""
    begun = time.process_time()
    result, seconds = timed(work)
    return result, seconds, time.process_time() - begun


def peak_memory() -> int:
    """The most megabytes that this process has held.

    On Linux ``ru_maxrss`` also counts what the starting process held, so the process's own peak is read from /proc.
    0 on a system that tells neither.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))[1]) // 1024
    resource = posix_resource()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20 if resource else 0


def own_memory() -> int:
    """The bytes that this process holds now, without the pages of files; 0 on a system that does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def limit_memory(most: int) -> None:
    """Let this process hold at most that many bytes, on a system that can."""
    if resource := posix_resource():
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def posix_resource() -> ModuleType | None:
    return import_module("resource") if find_spec("resource") else None


def competition_arguments(options: Namespace) -> list[str]:
    """A benchmark's ``--competition`` and ``--data``, as train.py takes them."""
    data = [] if options.data is None else ["--data", str(options.data)]
    return ["--competition", options.competition, *data]


def draw_images(images: int, side: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes of smooth images, uint8 ``[N, side, side, 3]``, and their labels, int64 ``[N]``.

    Another seed draws other images of the same classes.
    """
    shape = (max(SHAPES, classes), side, side, 3)
    shapes = np.random.default_rng(0).normal(size=shape).cumsum(axis=1).cumsum(axis=2)
    shapes /= shapes.std(axis=(1, 2, 3), keepdims=True)
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    weights = rng.normal(0, 30, (images, len(shapes)))
    weights[np.arange(images), labels] += 40
    noisy = 128 + np.tensordot(weights, shapes, axes=1) / 3 + rng.normal(0, 10, (images, side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8), labels
