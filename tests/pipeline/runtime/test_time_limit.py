"""Time limits: a loop ends itself after its end, and not before."""

import time

import pytest

from pipeline.runtime.time_limit import OutOfTime, check_time, in_time, time_limit


def test_without_a_limit_nothing_is_stopped():
    check_time()
    assert list(in_time(range(3))) == [0, 1, 2]


def test_after_the_end_the_next_check_stops_the_work():
    with pytest.raises(OutOfTime) as stopped, time_limit(time.monotonic() - 1):
        check_time(done=0.25)
    assert stopped.value.done == 0.25
    check_time()


def test_before_the_end_nothing_is_stopped():
    with time_limit(time.monotonic() + 3600):
        assert list(in_time(range(3))) == [0, 1, 2]


def test_an_outer_limit_that_ends_earlier_counts():
    with time_limit(time.monotonic() - 1), time_limit(time.monotonic() + 3600), pytest.raises(OutOfTime):
        check_time()
