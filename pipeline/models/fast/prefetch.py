"""Batches prepared by a thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


def prefetched(batches: Iterator) -> Iterator:
    """The same items in the same order, the next one prepared by a thread while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(next, batches, None)
        while (item := ready.result()) is not None:
            ready = pool.submit(next, batches, None)
            yield item
