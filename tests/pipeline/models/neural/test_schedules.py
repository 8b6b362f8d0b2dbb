"""Learning-rate schedules: the triangle, the plateau, and several optimisers at once."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from pipeline.models.neural.schedules import LearningRate, triangle
from pipeline.models.recipe import Schedule


def optimiser(lr: float) -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def rate(of: SGD) -> float:
    return of.param_groups[0]["lr"]


def test_the_triangle_climbs_for_the_warmup_and_then_falls_to_zero():
    assert [triangle(progress, 0.2) for progress in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_one_cycle_moves_the_rates_of_all_optimisers_in_proportion_to_their_peaks():
    kernels, others = optimiser(0.2), optimiser(0.05)
    schedule = LearningRate(Schedule(name="one-cycle", warmup=0.25), [kernels, others])
    shares = []
    for progress in (0.125, 0.25, 0.625, 1.0):
        schedule.before_step(progress)
        shares.append((rate(kernels) / 0.2, rate(others) / 0.05))
    assert shares == [pytest.approx((share, share)) for share in (0.5, 1, 0.5, 0)]


def test_a_constant_rate_stays():
    only = optimiser(0.1)
    schedule = LearningRate(Schedule(name="constant"), [only])
    for progress in (0.0, 0.5, 0.9):
        schedule.before_step(progress)
        schedule.after_epoch(0.1, 1.0)
    assert schedule.rate == rate(only) == 0.1


def rates_after(accuracies: list[float], **keys: float) -> list[float]:
    only = optimiser(1.0)
    schedule = LearningRate(Schedule(name="plateau", **keys), [only])
    rates = []
    for accuracy in accuracies:
        schedule.before_step(0.5)
        schedule.after_epoch(accuracy, 1.0)
        rates.append(rate(only))
    return rates


def test_a_plateau_lowers_the_rate_after_patience_epochs_without_a_better_accuracy():
    accuracies = [0.5, 0.4, 0.5, 0.3, 0.5, 0.5, 0.5]
    assert rates_after(accuracies, factor=0.5, patience=3) == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5, 0.25])


def test_any_better_accuracy_starts_the_wait_anew():
    accuracies = [0.5, 0.4, 0.4, 0.5001, 0.4, 0.4, 0.5002]
    assert rates_after(accuracies, factor=0.5, patience=3) == pytest.approx([1.0] * 7)


def test_a_plateau_never_goes_below_the_floor():
    rates = rates_after([0.5] * 40, factor=0.5, patience=2, floor=0.2)
    assert min(rates) == rates[-1] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)


def test_a_plateau_lowers_the_rates_of_all_optimisers():
    both = [optimiser(1.0), optimiser(0.1)]
    schedule = LearningRate(Schedule(name="plateau", factor=0.5, patience=1), both)
    for _ in range(3):
        schedule.after_epoch(0.5, 1.0)
    assert rate(both[0]) < 1.0
    assert rate(both[1]) == pytest.approx(0.1 * rate(both[0]))


def test_a_plateau_carries_its_wait_over_into_the_next_process():
    settings = Schedule(name="plateau", factor=0.5, patience=4)
    first, resumed = (LearningRate(settings, [optimiser(1.0)]) for _ in range(2))
    for accuracy in (0.5, 0.4, 0.4):
        first.after_epoch(accuracy, 1.0)
    resumed.load_state_dict(first.state_dict())
    rates = []
    for _ in range(6):
        first.after_epoch(0.4, 1.0)
        resumed.after_epoch(0.4, 1.0)
        rates.append((first.rate, resumed.rate))
    assert all(one == other for one, other in rates)
    assert rates[0] > rates[-1]


def test_a_rate_of_a_resumed_optimiser_still_follows_the_schedule():
    former = optimiser(0.2)
    LearningRate(Schedule(name="one-cycle", warmup=0.5), [former]).before_step(0.25)
    resumed = optimiser(0.2)
    schedule = LearningRate(Schedule(name="one-cycle", warmup=0.5), [resumed])
    resumed.load_state_dict(former.state_dict())
    schedule.before_step(0.75)
    assert schedule.rate == rate(resumed) == pytest.approx(0.1)
    schedule.before_step(0.5)
    assert schedule.rate == rate(resumed) == pytest.approx(0.2)


def shares(schedule: Schedule, progresses: list[float], epochs: float = 1.0) -> list[float]:
    """Of a peak of 2, at each progress."""
    only = optimiser(2.0)
    rate_of = LearningRate(schedule, [only], epochs)
    found = []
    for progress in progresses:
        rate_of.before_step(progress)
        found.append(rate(only) / 2)
    return found


def test_an_exponential_decay_loses_the_same_factor_over_equal_stretches():
    decay = Schedule(name="exponential", final=0.01)
    assert shares(decay, [0, 0.25, 0.5, 1]) == pytest.approx([1, 0.01**0.25, 0.1, 0.01])


def test_a_warmup_climbs_to_the_peak_from_where_the_decay_begins():
    decay = Schedule(name="warmup-exponential", warmup=0.2, final=0.01)
    assert shares(decay, [0, 0.1, 0.2, 0.6, 1]) == pytest.approx([0, 0.5, 1, 0.1, 0.01])


def test_a_step_decay_counts_the_recipes_epochs_whatever_the_training_has():
    step = Schedule(name="step", every=5, factor=0.1)
    assert shares(step, [0, 0.24, 0.25, 0.49, 0.5, 0.99], epochs=20) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.001])


def test_a_plateau_may_watch_the_loss():
    only = optimiser(1.0)
    schedule = LearningRate(Schedule(name="plateau", factor=0.5, patience=2, monitor="loss"), [only])
    rates = []
    for loss in (1.0, 0.9, 0.8, 0.8, 0.85):
        schedule.after_epoch(0.5, loss)
        rates.append(rate(only))
    assert rates == [1, 1, 1, 1, 0.5]
