"""Time budget: the schedule is covered without a gap, and ends with the time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from types import SimpleNamespace

import pytest

from pipeline.models.neural import time_budget
from pipeline.models.neural.time_budget import Planner, Segment, SegmentLimit
from pipeline.models.recipe import NeuralRecipe, Optimiser, Schedule

BATCHES = 20
SECONDS = {32: 0.1, 48: 0.25, 64: 0.5}


def recipe(epochs: int = 1000, growing: tuple[float, ...] = (0.5, 0.75, 1.0)) -> NeuralRecipe:
    return NeuralRecipe(
        name="planned",
        summary="",
        kind="neural",
        network={"name": "sprint", "width": 8},
        epochs=epochs,
        batch_size=16,
        optimiser=Optimiser(name="sgd", lr=0.1),
        schedule=Schedule(name="one-cycle"),
        growing=growing,
    )


@dataclass
class Clock:
    """A clock that only training moves: each batch takes ``slowness`` times what was measured."""

    now: float = 1000.0

    def train(self, segments: Iterable[Segment], slowness: float = 1.0) -> list[Segment]:
        trained = []
        for segment in segments:
            self.now += segment.batches * SECONDS[segment.size] * slowness
            trained.append(segment)
        return trained

    def train_within(self, segments: Iterable[Segment], limit: SegmentLimit, fives_after: float) -> list[Segment]:
        """Train batch by batch, five times as slowly after ``fives_after``; a segment ends where its limit does."""
        trained = []
        for segment in segments:
            for batch in range(segment.batches):
                self.now += SECONDS[segment.size] * (5.0 if self.now > fives_after else 1.0)
                if limit.is_over:
                    limit.batches = batch + 1
                    break
            trained.append(segment.cut_off(limit.batches))
        return trained


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_budget, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def planner(input_size: int = 64, **settings) -> Planner:
    return Planner(recipe(**settings), BATCHES, input_size)


def budgeted(deadline: float, done: tuple[Segment, ...] = (), **settings) -> Iterator[Segment]:
    return planner(**settings).budgeted(SECONDS, deadline, list(done))


def assert_covers_the_schedule(segments: list[Segment], start: float = 0.0) -> None:
    assert segments[0].start == start
    assert segments[-1].end == 1.0
    for segment, following in pairwise(segments):
        assert segment.start < segment.end == following.start


@pytest.mark.parametrize("count", [1, 3, 7, 40])
def test_fixed_segments_are_whole_epochs_that_cover_the_schedule(count):
    epochs = list(planner().fixed(count))
    assert [epoch.batches for epoch in epochs] == [BATCHES] * count
    assert_covers_the_schedule(epochs)


def test_image_sizes_grow_in_equal_shares():
    assert [epoch.size for epoch in planner().fixed(6)] == [32, 32, 48, 48, 64, 64]


@pytest.mark.parametrize("input_size", [16, 28, 33, 50, 64, 100])
def test_small_sizes_are_multiples_of_four_and_the_last_is_the_input_size(input_size):
    sizes = [planner(input_size).size_at(progress / 30) for progress in range(30)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == input_size
    assert all(size % 4 == 0 and size >= min(24, input_size) for size in sizes if size != input_size)


def test_the_sizes_of_a_training_are_known_beforehand_and_end_with_the_input_size():
    assert planner().sizes == [32, 48, 64]
    assert planner(growing=(0.5,)).sizes == [32, 64]


def test_without_growing_all_epochs_have_the_input_size():
    assert {epoch.size for epoch in planner(33, growing=(1.0,)).fixed(5)} == {33}


@pytest.mark.parametrize("budget", [0.4, 3.0, 10.0, 61.7, 300.0])
def test_budgeted_segments_end_the_schedule_before_the_time_is_up(clock, budget):
    begun = clock.now
    assert_covers_the_schedule(clock.train(budgeted(begun + budget)))
    assert clock.now - begun <= 1.02 * budget + max(SECONDS.values())


@pytest.mark.parametrize("budget", [61.7, 300.0])
def test_a_budget_of_many_epochs_is_used_up(clock, budget):
    begun = clock.now
    clock.train(budgeted(begun + budget))
    assert clock.now - begun >= 0.95 * budget


def test_budgeted_segments_grow_over_equal_shares_of_the_schedule(clock):
    segments = clock.train(budgeted(clock.now + 300))
    sizes = [segment.size for segment in segments]
    assert sizes == sorted(sizes) and set(sizes) == set(SECONDS)
    for size, share in zip((48, 64), (1 / 3, 2 / 3), strict=True):
        assert next(segment.start for segment in segments if segment.size == size) == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("slowness", [2.0, 1.3, 0.5])
def test_a_machine_of_another_speed_than_measured_gets_a_shorter_or_longer_rest_not_a_cut(clock, slowness):
    begun, budget = clock.now, 150.0
    segments = clock.train(budgeted(begun + budget), slowness)
    assert_covers_the_schedule(segments)
    assert 0.85 * budget <= clock.now - begun <= 1.05 * budget


def test_a_machine_that_slows_down_halfway_still_ends_in_time(clock):
    begun, budget = clock.now, 300.0
    segments = budgeted(begun + budget)
    first = clock.train(islice(segments, 8))
    rest = clock.train(segments, slowness=3.0)
    assert_covers_the_schedule(first + rest)
    assert clock.now - begun <= 1.05 * budget


@pytest.mark.parametrize("budget", [12.0, 60.0, 300.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.8, 0.95])
def test_a_machine_that_becomes_five_times_slower_within_a_segment_still_ends_in_time(clock, budget, share):
    begun, limit = clock.now, SegmentLimit()
    segments = planner().budgeted(SECONDS, begun + budget, [], limit=limit)
    trained = clock.train_within(segments, limit, fives_after=begun + share * budget)
    assert trained[0].start == 0 and trained[-1].reached == 1.0
    assert all(before.reached == after.start for before, after in pairwise(trained))
    assert clock.now - begun <= 1.03 * budget + 2 * 5 * max(SECONDS.values())


def test_a_steady_machine_cuts_nothing_off(clock):
    limit = SegmentLimit()
    segments = planner().budgeted(SECONDS, clock.now + 60, [], limit=limit)
    trained = clock.train_within(segments, limit, fives_after=float("inf"))
    assert all(segment.planned is None for segment in trained)


def test_other_work_after_the_training_gets_more_time_on_a_machine_that_slows_down(clock):
    begun = clock.now
    clock.train(planner().budgeted(SECONDS, begun + 100, [], kept=10.0), slowness=3.0)
    assert clock.now - begun <= 100 - 0.8 * 2 * 10


def test_a_segment_that_was_cut_off_keeps_its_pace():
    segment = Segment(32, 10, 0.2, 0.6)
    cut_off = segment.cut_off(4)
    assert (cut_off.batches, cut_off.planned, cut_off.reached) == (4, 10, segment.progress_at(4))
    assert [cut_off.progress_at(step) for step in range(4)] == [segment.progress_at(step) for step in range(4)]
    assert segment.cut_off(10) == segment and segment.reached == 0.6


def test_the_work_of_a_training_is_the_area_of_its_images():
    growing = planner(growing=(0.5, 1.0))
    assert [growing.work_until(progress) for progress in (0, 0.5, 1)] == pytest.approx([0, 0.2, 1])


def test_all_but_the_last_of_many_budgeted_segments_are_whole_epochs(clock):
    segments = clock.train(budgeted(clock.now + 77))
    assert {segment.batches for segment in segments[:-1]} == {BATCHES}
    assert 1 <= segments[-1].batches <= BATCHES


@pytest.mark.parametrize("min_segments", [3, 8])
def test_few_epochs_are_parted_equally(clock, min_segments):
    an_epoch_and_a_half = clock.now + 1.5 * BATCHES * SECONDS[64]
    segments = clock.train(planner(growing=(1.0,)).budgeted(SECONDS, an_epoch_and_a_half, [], min_segments))
    batches = [segment.batches for segment in segments]
    assert len(batches) == min_segments and max(batches) - min(batches) <= 1


@pytest.mark.parametrize("slowness", [0.8, 1.05, 1.2])
def test_none_of_few_epochs_is_left_with_a_few_batches(clock, slowness):
    segments = clock.train(budgeted(clock.now + 1.5 * BATCHES * SECONDS[64], growing=(1.0,)), slowness)
    batches = [segment.batches for segment in segments]
    assert min(batches) > max(batches) / 2


def test_a_long_budget_is_left_over_once_the_recipe_has_had_its_epochs(clock):
    segments = clock.train(budgeted(clock.now + 1e6, epochs=6))
    fixed = list(planner().fixed(6))
    assert [(segment.size, segment.batches) for segment in segments] == [
        (segment.size, segment.batches) for segment in fixed
    ]
    assert [segment.end for segment in segments] == pytest.approx([segment.end for segment in fixed])


@pytest.mark.parametrize("left", [0.01, 0.0, -5.0])
def test_without_time_there_is_one_batch_over_the_whole_schedule(clock, left):
    (segment,) = clock.train(budgeted(clock.now + left))
    assert segment == Segment(size=32, batches=1, start=0.0, end=1.0)


def test_an_interrupted_run_carries_its_schedule_on_within_the_new_time(clock):
    done = clock.train(islice(budgeted(clock.now + 100), 5))
    begun = clock.now
    rest = clock.train(budgeted(begun + 50, done=tuple(done)))
    assert_covers_the_schedule(rest, start=done[-1].end)
    assert clock.now - begun <= 1.02 * 50 + max(SECONDS.values())


def test_an_interrupted_run_does_not_exceed_the_epochs_of_the_recipe(clock):
    done = tuple(clock.train(islice(budgeted(clock.now + 1e6, epochs=6), 4)))
    rest = clock.train(budgeted(clock.now + 1e6, done=done, epochs=6))
    assert_covers_the_schedule(rest, start=done[-1].end)
    assert [segment.batches for segment in rest] == [BATCHES, BATCHES]


def test_nothing_is_left_to_do_after_a_whole_schedule(clock):
    done = tuple(clock.train(budgeted(clock.now + 50)))
    assert clock.train(budgeted(clock.now + 50, done=done)) == []
