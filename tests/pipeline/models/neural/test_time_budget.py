"""Pacing: the schedule is covered without a gap, and ends with the time."""

from dataclasses import dataclass
from itertools import islice, pairwise
from types import SimpleNamespace

import pytest

from pipeline.models.neural import time_budget
from pipeline.models.neural.time_budget import Epoch, budgeted_epochs, fixed_epochs, size_at
from pipeline.models.recipe import NeuralRecipe, Optimiser, Schedule

BATCHES = 20
SECONDS = {32: 0.1, 48: 0.25, 64: 0.5}


def recipe(epochs: int = 1000, growing: tuple[float, ...] = (0.5, 0.75, 1.0)) -> NeuralRecipe:
    return NeuralRecipe(
        name="paced",
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

    def train(self, epochs, slowness=1.0) -> list[Epoch]:
        trained = []
        for epoch in epochs:
            self.now += epoch.batches * SECONDS[epoch.size] * slowness
            trained.append(epoch)
        return trained


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_budget, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def budgeted(deadline: float, done: tuple[Epoch, ...] = (), **settings):
    return budgeted_epochs(recipe(**settings), BATCHES, 64, SECONDS, deadline, list(done))


def assert_covers_the_schedule(epochs: list[Epoch], start: float = 0.0) -> None:
    assert epochs[0].start == start
    assert epochs[-1].end == 1.0
    for epoch, following in pairwise(epochs):
        assert epoch.start < epoch.end == following.start


@pytest.mark.parametrize("count", [1, 3, 7, 40])
def test_fixed_epochs_are_whole_passes_that_cover_the_schedule(count):
    epochs = list(fixed_epochs(recipe(), count, BATCHES, 64))
    assert [epoch.batches for epoch in epochs] == [BATCHES] * count
    assert_covers_the_schedule(epochs)


def test_image_sizes_grow_in_equal_shares():
    assert [epoch.size for epoch in fixed_epochs(recipe(), 6, BATCHES, 64)] == [32, 32, 48, 48, 64, 64]


@pytest.mark.parametrize("full", [16, 28, 33, 50, 64, 100])
def test_small_sizes_are_multiples_of_four_and_the_last_is_the_full_one(full):
    sizes = [size_at(progress / 30, recipe(), full) for progress in range(30)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == full
    assert all(size % 4 == 0 and size >= min(24, full) for size in sizes if size != full)


def test_without_growing_all_epochs_have_the_full_size():
    assert {epoch.size for epoch in fixed_epochs(recipe(growing=(1.0,)), 5, BATCHES, 33)} == {33}


@pytest.mark.parametrize("budget", [0.4, 3.0, 10.0, 61.7, 300.0])
def test_budgeted_epochs_end_the_schedule_before_the_time_is_up(clock, budget):
    begun = clock.now
    assert_covers_the_schedule(clock.train(budgeted(begun + budget)))
    assert clock.now - begun <= 1.02 * budget + max(SECONDS.values())


@pytest.mark.parametrize("budget", [61.7, 300.0])
def test_a_budget_of_many_passes_is_used_up(clock, budget):
    begun = clock.now
    clock.train(budgeted(begun + budget))
    assert clock.now - begun >= 0.95 * budget


def test_budgeted_epochs_grow_over_equal_shares_of_the_schedule(clock):
    epochs = clock.train(budgeted(clock.now + 300))
    sizes = [epoch.size for epoch in epochs]
    assert sizes == sorted(sizes) and set(sizes) == set(SECONDS)
    for size, share in zip((48, 64), (1 / 3, 2 / 3), strict=True):
        assert next(epoch.start for epoch in epochs if epoch.size == size) == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("slowness", [2.0, 1.3, 0.5])
def test_a_machine_of_another_speed_than_measured_gets_a_shorter_or_longer_rest_not_a_cut(clock, slowness):
    begun, budget = clock.now, 150.0
    epochs = clock.train(budgeted(begun + budget), slowness)
    assert_covers_the_schedule(epochs)
    assert 0.85 * budget <= clock.now - begun <= 1.05 * budget


def test_a_machine_that_slows_down_halfway_still_ends_in_time(clock):
    begun, budget = clock.now, 300.0
    epochs = budgeted(begun + budget)
    first = clock.train(islice(epochs, 8))
    rest = clock.train(epochs, slowness=3.0)
    assert_covers_the_schedule(first + rest)
    assert clock.now - begun <= 1.05 * budget


def test_all_but_the_last_budgeted_epochs_are_whole_passes(clock):
    epochs = clock.train(budgeted(clock.now + 77))
    assert {epoch.batches for epoch in epochs[:-1]} == {BATCHES}
    assert 1 <= epochs[-1].batches <= BATCHES


@pytest.mark.parametrize("at_least", [3, 8])
def test_few_passes_are_parted_equally(clock, at_least):
    a_pass_and_a_half = clock.now + 1.5 * BATCHES * SECONDS[64]
    epochs = clock.train(budgeted_epochs(recipe(growing=(1.0,)), BATCHES, 64, SECONDS, a_pass_and_a_half, [], at_least))
    batches = [epoch.batches for epoch in epochs]
    assert len(batches) == at_least and max(batches) - min(batches) <= 1


@pytest.mark.parametrize("slowness", [0.8, 1.05, 1.2])
def test_none_of_few_passes_is_left_with_a_few_batches(clock, slowness):
    epochs = clock.train(budgeted(clock.now + 1.5 * BATCHES * SECONDS[64], growing=(1.0,)), slowness)
    batches = [epoch.batches for epoch in epochs]
    assert min(batches) > max(batches) / 2


def test_a_long_budget_is_left_over_once_the_recipe_has_had_its_epochs(clock):
    epochs = clock.train(budgeted(clock.now + 1e6, epochs=6))
    fixed = list(fixed_epochs(recipe(), 6, BATCHES, 64))
    assert [(epoch.size, epoch.batches) for epoch in epochs] == [(epoch.size, epoch.batches) for epoch in fixed]
    assert [epoch.end for epoch in epochs] == pytest.approx([epoch.end for epoch in fixed])


@pytest.mark.parametrize("left", [0.01, 0.0, -5.0])
def test_without_time_there_is_one_batch_over_the_whole_schedule(clock, left):
    (epoch,) = clock.train(budgeted(clock.now + left))
    assert epoch == Epoch(size=32, batches=1, start=0.0, end=1.0)


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
    assert [epoch.batches for epoch in rest] == [BATCHES, BATCHES]


def test_nothing_is_left_to_do_after_a_whole_schedule(clock):
    done = tuple(clock.train(budgeted(clock.now + 50)))
    assert clock.train(budgeted(clock.now + 50, done=done)) == []
