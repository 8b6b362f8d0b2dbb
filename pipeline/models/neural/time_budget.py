"""Time budget: plans the steps, the image size and the part of the schedule of each segment of a training."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from pipeline.models.recipe import NeuralRecipe

SMALLEST_SIZE = 24  # pixels per side; training on smaller images helps little later
MIN_SEGMENTS = 8  # per training within a budget
LATEST = 0.7  # weight of the latest segment in the estimate of the machine's slowness
LONGEST = 2.0  # a segment that takes this many times as long as planned is cut off, and the rest is planned again,
HARMLESS = 0.25  # unless it has taken no more than this share of the time that is left
OVERTIME = 0.03  # of the time for the training, by which its last batch may be late

OnEpoch = Callable[[float, float], None]  # takes the progress in (0, 1] and the best validation score so far


@dataclass(frozen=True)
class Segment:
    """The training between two validations: an epoch or, within a time budget, part of one.

    size: longer side of the images in pixels.
    batches: of the recipe's size, each of them ``parts`` optimiser steps.
    start, end: the part of the schedule that it covers, within [0, 1].
    planned: of a segment that was cut off, the batches in which it would have reached ``end``.
    parts: more than 1 if a whole batch did not fit in memory; the learning rate is divided by it.
    """

    size: int
    batches: int
    start: float
    end: float
    planned: int | None = None
    parts: int = 1

    @property
    def pace(self) -> int:
        """The optimiser steps from ``start`` to ``end``."""
        return (self.planned or self.batches) * self.parts

    @property
    def reached(self) -> float:
        """The part of the schedule that is completed after it."""
        return self.end if self.planned is None else self.progress_at(self.batches * self.parts)

    def progress_at(self, step: int) -> float:
        """The part of the schedule that is completed before its optimiser step ``step``, counted from 0."""
        return self.start + (self.end - self.start) * step / self.pace

    def cut_off(self, batches: int) -> "Segment":
        """The segment as it was trained if it ended after so many batches."""
        return self if batches == self.batches else replace(self, batches=batches, planned=self.planned or self.batches)


@dataclass
class SegmentLimit:
    """When the current segment has to end: set by the planner, kept by the training, which sets what it has trained.

    end: on the clock of ``time.monotonic``.
    batches: that were trained.
    """

    end: float = math.inf
    batches: int = 0

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end

    def begin(self, batches: int, end: float) -> None:
        """Begin a segment, of which all batches are trained unless the training reports fewer."""
        self.batches, self.end = batches, end


def trainings(segments: tuple[Segment, ...]) -> list[tuple[Segment, ...]]:
    """Split the segments of several trainings into one tuple per training; each begins at ``start == 0``."""
    begins = [number for number, segment in enumerate(segments) if segment.start == 0] + [len(segments)]
    return [segments[first:last] for first, last in pairwise(begins)]


@dataclass(frozen=True)
class Planner:
    """Plans the segments of a training.

    steps_per_epoch: optimiser steps that use every image once.
    input_size: longer side, in pixels, of the images that the finished network takes.
    """

    recipe: NeuralRecipe
    steps_per_epoch: int
    input_size: int

    def size_at(self, progress: float) -> int:
        """The image size in pixels at ``progress`` in [0, 1); each growing size gets an equal part of the schedule."""
        growing = self.recipe.growing
        return self._size(growing[min(int(progress * len(growing)), len(growing) - 1)])

    @property
    def sizes(self) -> list[int]:
        """All image sizes of the training, and the input size even if the training does not reach it."""
        return sorted({*map(self._size, self.recipe.growing), self.input_size})

    def _size(self, share: float) -> int:
        if share >= 1:
            return self.input_size
        return min(self.input_size, max(SMALLEST_SIZE, 4 * round(self.input_size * share / 4)))

    def work_until(self, progress: float) -> float:
        """The share of a training's work that is done at ``progress``; a step's work is the area of its images."""
        areas = [self._size(share) ** 2 for share in self.recipe.growing]
        place = progress * len(areas)
        done = [area * min(1.0, max(0.0, place - number)) for number, area in enumerate(areas)]
        return sum(done) / sum(areas)

    def fixed(self, epochs: int) -> Iterator[Segment]:
        """Yield one segment per epoch."""
        for number in range(epochs):
            start = number / epochs
            yield Segment(self.size_at(start), self.steps_per_epoch, start, (number + 1) / epochs)

    def budgeted(
        self,
        seconds_a_step: dict[int, float],
        deadline: float,
        done: list[Segment],
        min_segments: int = MIN_SEGMENTS,
        limit: SegmentLimit | None = None,
        kept: float = 0.0,
    ) -> Iterator[Segment]:
        """Yield segments for as many epochs as fit before ``deadline`` (``time.monotonic``), at most the recipe's.

        A segment is one epoch or, if only a few epochs fit, one of ``min_segments`` equal parts of the training, so
        that the remaining time is checked often enough. If the machine slows down within one, ``limit`` cuts it off.

        seconds_a_step: measured, by image size. It is corrected after each segment by the time the segment took. If
        the machine slows down, the rest of the schedule is compressed rather than cut off.
        done: segments of an earlier, interrupted run, whose schedule is continued.
        kept: seconds of other work after the deadline; if the machine slows down, it has to begin earlier.
        """
        limit = limit or SegmentLimit()
        progress = done[-1].reached if done else 0.0
        epochs_left = self.recipe.epochs - sum(segment.batches for segment in done) / self.steps_per_epoch
        slowness, longest, overtime = 1.0, 1.0, OVERTIME * max(0.0, deadline - time.monotonic())
        while progress < 1:
            end = deadline - kept * max(0.0, slowness - 1)
            seconds_left = max(0.0, end - time.monotonic()) / slowness
            epochs = min(epochs_left, self._epochs_within(seconds_left, progress, seconds_a_step))
            if progress == 0 and epochs < epochs_left:
                longest = min(1.0, max(epochs / min_segments, 1 / self.steps_per_epoch))
            length = _length(epochs, longest)
            segment = self._segment(progress, length, epochs)
            begun, seconds = time.monotonic(), seconds_a_step[segment.size]
            patience = max(LONGEST * slowness * segment.batches * seconds, HARMLESS * (end - begun))
            limit.begin(segment.batches, min(begun + patience, max(begun, end) + overtime))
            yield segment
            trained = segment.cut_off(limit.batches)
            slowness = (1 - LATEST) * slowness + LATEST * (time.monotonic() - begun) / (trained.batches * seconds)
            progress = trained.reached
            epochs_left = max(0.0, epochs_left - length * (trained.batches / segment.batches))

    def _epochs_within(self, seconds: float, progress: float, seconds_a_step: dict[int, float]) -> float:
        """How many epochs, possibly a fraction, fit in that time over the rest of the schedule; at least one step."""
        points = [progress + (1 - progress) * (number + 0.5) / 60 for number in range(60)]
        mean = sum(seconds_a_step[self.size_at(point)] for point in points) / len(points)
        return max(1 / self.steps_per_epoch, seconds / (mean * self.steps_per_epoch))

    def _segment(self, progress: float, length: float, epochs: float) -> Segment:
        """The next segment, of ``length`` epochs, if ``epochs`` are left for the rest of the schedule."""
        end = 1.0 if epochs <= length else progress + (1 - progress) * length / epochs
        return Segment(self.size_at(progress), max(1, round(length * self.steps_per_epoch)), progress, end)


def _length(epochs: float, longest: float) -> float:
    """Length of the next segment in epochs: one epoch if enough are left, or an equal part of about ``longest``."""
    return min(1.0, epochs) if longest == 1 else epochs / max(1, round(epochs / longest))
