"""Batches prepared in a background thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


def prefetched(batches: Iterator) -> Iterator:
    """Yield the same items in the same order; a thread prepares the next one while the current one is used."""
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(next, batches, None)
        while (item := ready.result()) is not None:
            ready = pool.submit(next, batches, None)
            yield item
