"""Time budget: how many steps, at which image size, over which part of the schedule, segment by segment."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from pipeline.models.recipe import NeuralRecipe

SMALLEST_SIZE = 24  # pixels a side; what is learnt on smaller images is of little use later
MIN_SEGMENTS = 8  # of a training within a budget
LATEST = 0.7  # weight of the latest segment in the estimate of how slow the machine is

OnEpoch = Callable[[float, float], None]  # of the progress in (0, 1] and the best score on validation so far


@dataclass(frozen=True)
class Segment:
    """What is trained between two validations: an epoch or, within a time budget, a part of one.

    size: pixels of the longer side.
    batches: optimiser steps.
    start, end: the part of the schedule it covers, in [0, 1].
    """

    size: int
    batches: int
    start: float
    end: float


def trainings(segments: tuple[Segment, ...]) -> list[tuple[Segment, ...]]:
    """Several trainings' segments, parted where one begins."""
    begins = [number for number, segment in enumerate(segments) if segment.start == 0] + [len(segments)]
    return [segments[first:last] for first, last in pairwise(begins)]


@dataclass(frozen=True)
class Planner:
    """Plans the segments of a training.

    steps_per_epoch: optimiser steps that see every image once.
    input_size: pixels of the longer side of the images that the network takes in the end.
    """

    recipe: NeuralRecipe
    steps_per_epoch: int
    input_size: int

    def size_at(self, progress: float) -> int:
        """The image size at ``progress`` in [0, 1): equal shares of the schedule for each growing size."""
        growing = self.recipe.growing
        return self._size(growing[min(int(progress * len(growing)), len(growing) - 1)])

    @property
    def sizes(self) -> list[int]:
        """All image sizes of the training and, whether it gets there or not, the input size."""
        return sorted({*map(self._size, self.recipe.growing), self.input_size})

    def _size(self, share: float) -> int:
        if share >= 1:
            return self.input_size
        return min(self.input_size, max(SMALLEST_SIZE, 4 * round(self.input_size * share / 4)))

    def fixed(self, epochs: int) -> Iterator[Segment]:
        """Segments of a whole epoch each."""
        for number in range(epochs):
            start = number / epochs
            yield Segment(self.size_at(start), self.steps_per_epoch, start, (number + 1) / epochs)

    def budgeted(
        self,
        seconds_a_step: dict[int, float],
        deadline: float,
        done: list[Segment],
        min_segments: int = MIN_SEGMENTS,
    ) -> Iterator[Segment]:
        """As many epochs as the time until ``deadline`` (``time.monotonic``) holds, at most the recipe's.

        A segment is an epoch or, where few fit, one of ``min_segments`` equal parts of them all: often enough to see
        that time runs short.

        seconds_a_step: measured, for each image size; corrected after every segment by what it took, so that a
        machine which slows down gets a shorter rest of the schedule instead of a schedule cut off.
        done: segments of an earlier, interrupted run, whose schedule is carried on.
        """
        progress = done[-1].end if done else 0.0
        epochs_left = self.recipe.epochs - sum(segment.batches for segment in done) / self.steps_per_epoch
        slowness, longest = 1.0, 1.0
        while progress < 1:
            seconds_left = max(0.0, deadline - time.monotonic()) / slowness
            epochs = min(epochs_left, self._epochs_within(seconds_left, progress, seconds_a_step))
            if progress == 0 and epochs < epochs_left:
                longest = min(1.0, max(epochs / min_segments, 1 / self.steps_per_epoch))
            length = _length(epochs, longest)
            segment = self._segment(progress, length, epochs)
            begun = time.monotonic()
            yield segment
            expected = segment.batches * seconds_a_step[segment.size]
            slowness = (1 - LATEST) * slowness + LATEST * (time.monotonic() - begun) / expected
            progress, epochs_left = segment.end, epochs_left - length

    def _epochs_within(self, seconds: float, progress: float, seconds_a_step: dict[int, float]) -> float:
        """The number of epochs, whole or broken, that cover the rest of the schedule in that time: a step at least."""
        points = [progress + (1 - progress) * (number + 0.5) / 60 for number in range(60)]
        mean = sum(seconds_a_step[self.size_at(point)] for point in points) / len(points)
        return max(1 / self.steps_per_epoch, seconds / (mean * self.steps_per_epoch))

    def _segment(self, progress: float, length: float, epochs: float) -> Segment:
        """The next one, of ``length`` epochs, where ``epochs`` are to cover the rest of the schedule."""
        end = 1.0 if epochs <= length else progress + (1 - progress) * length / epochs
        return Segment(self.size_at(progress), max(1, round(length * self.steps_per_epoch)), progress, end)


def _length(epochs: float, longest: float) -> float:
    """Of the next segment, in epochs: one epoch as long as there are, or an equal part of about ``longest``."""
    return min(1.0, epochs) if longest == 1 else epochs / max(1, round(epochs / longest))
