"""Prefetching."""

from pipeline.models.fast.prefetch import prefetched


def test_prefetching_changes_neither_items_nor_order():
    assert list(prefetched(iter(range(100)))) == list(range(100))
    assert list(prefetched(iter([]))) == []
