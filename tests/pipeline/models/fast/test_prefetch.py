"""Prefetching."""

from collections.abc import Callable
from functools import partial
from threading import Barrier

import pytest

from pipeline.models.fast.prefetch import computed_ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_jobs(threads):
    assert list(computed_ahead((partial(pow, number, 2) for number in range(50)), threads)) == [
        number**2 for number in range(50)
    ]
    assert list(computed_ahead([], threads)) == []


def test_as_many_jobs_as_threads_run_at_once():
    meeting = Barrier(3, timeout=120)
    assert sorted(computed_ahead([meeting.wait] * 3, threads=3)) == [0, 1, 2]


def test_only_as_many_jobs_are_begun_as_threads_are_ahead():
    begun: list[int] = []
    jobs: list[Callable[[], None]] = [partial(begun.append, number) for number in range(10)]
    results = computed_ahead(jobs, threads=2)
    next(results)
    results.close()
    assert len(begun) == 3


def test_the_error_of_a_job_is_raised_in_its_turn():
    results = computed_ahead([lambda: 1, lambda: 1 // 0], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
