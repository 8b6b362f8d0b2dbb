"""Pacing: how many batches, at which image size, on which stretch of the schedule, epoch by epoch."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from pipeline.models.recipe import NeuralRecipe

SMALLEST_SIZE = 24  # pixels a side; what is learnt on smaller images is of little use later
EPOCHS_AT_LEAST = 8  # of a training within a budget

OnEpoch = Callable[[float, float], None]  # of the progress in (0, 1] and the best validation accuracy so far


@dataclass(frozen=True)
class Epoch:
    """One pass over the images or, within a time budget, a part of one.

    size: pixels of the longer side.
    batches: optimiser steps.
    start, end: the stretch of the schedule it covers, in [0, 1].
    """

    size: int
    batches: int
    start: float
    end: float


def trainings(epochs: tuple[Epoch, ...]) -> list[tuple[Epoch, ...]]:
    """Several trainings' epochs, parted where one begins."""
    begins = [number for number, epoch in enumerate(epochs) if epoch.start == 0] + [len(epochs)]
    return [epochs[first:last] for first, last in pairwise(begins)]


def size_at(progress: float, recipe: NeuralRecipe, full: int) -> int:
    """The image size at ``progress`` in [0, 1): equal shares of the schedule for each growing size."""
    share = recipe.growing[min(int(progress * len(recipe.growing)), len(recipe.growing) - 1)]
    return min(full, max(SMALLEST_SIZE, 4 * round(full * share / 4))) if share < 1 else full


def fixed_epochs(recipe: NeuralRecipe, epochs: int, batches: int, full: int) -> Iterator[Epoch]:
    """``epochs`` whole passes of ``batches`` steps each."""
    for number in range(epochs):
        start = number / epochs
        yield Epoch(size_at(start, recipe, full), batches, start, (number + 1) / epochs)


def budgeted_epochs(
    recipe: NeuralRecipe,
    batches: int,
    full: int,
    seconds: dict[int, float],
    deadline: float,
    done: list[Epoch],
    at_least: int = EPOCHS_AT_LEAST,
) -> Iterator[Epoch]:
    """As many passes as the time until ``deadline`` (``time.monotonic``) holds, at most the recipe's epochs.

    An epoch is a pass or, where few fit, one of ``at_least`` equal parts of them all: often enough to see that time
    runs short.

    seconds: measured seconds a batch for each image size; corrected after every epoch by what it took, so
    that a machine which slows down gets a shorter rest of the schedule instead of a schedule cut off.
    done: epochs of an earlier, interrupted run, whose schedule is carried on.
    """
    progress = done[-1].end if done else 0.0
    most = recipe.epochs - sum(epoch.batches for epoch in done) / batches
    slowness, longest = 1.0, 1.0
    while progress < 1:
        left = max(0.0, deadline - time.monotonic())
        passes = _passes_that_fit(left / slowness, progress, recipe, batches, full, seconds, most)
        if progress == 0 and passes < most:
            longest = min(1.0, max(passes / at_least, 1 / batches))
        parts = max(1, round(passes / longest))
        taken = min(1.0, passes) if longest == 1 else passes / parts
        end = 1.0 if passes <= taken else progress + (1 - progress) * taken / passes
        epoch = Epoch(size_at(progress, recipe, full), max(1, round(taken * batches)), progress, end)
        begun = time.monotonic()
        yield epoch
        expected = epoch.batches * seconds[epoch.size]
        slowness = 0.3 * slowness + 0.7 * (time.monotonic() - begun) / expected
        progress, most = end, most - taken


def _passes_that_fit(
    left: float,
    progress: float,
    recipe: NeuralRecipe,
    batches: int,
    full: int,
    seconds: dict[int, float],
    most: float,
) -> float:
    """The number of passes, whole or broken, that cover the rest of the schedule within ``left`` seconds."""
    points = [progress + (1 - progress) * (i + 0.5) / 60 for i in range(60)]
    mean = sum(seconds[size_at(point, recipe, full)] for point in points) / len(points)
    return min(most, max(1 / batches, left / (mean * batches)))
