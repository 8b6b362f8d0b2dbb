"""Batches prepared in background threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def computed_ahead(jobs: Iterable[Callable[[], Item]], threads: int) -> Iterator[Item]:
    """Yield what the jobs return, in their order; as many threads work on the next ones while one result is used."""
    rest = iter(jobs)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(job) for job in islice(rest, threads))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(job) for job in islice(rest, 1))
            yield result
