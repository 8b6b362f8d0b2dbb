"""Speed: measures steps and predictions on this machine, and works out what fits in the available time."""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile

import numpy as np
from torch import nn

from pipeline.data.cache import Images
from pipeline.models.fast.predictor import Predictor
from pipeline.models.neural.batches import Batch, scaled
from pipeline.models.neural.stages import freeze
from pipeline.models.neural.time_budget import Planner, Segment
from pipeline.models.neural.training import Training
from pipeline.models.recipe import Tier
from pipeline.runtime import distributed

SMALLEST_SIDE = 32  # pixels; a time budget never scales images below this


@dataclass(frozen=True)
class StepTimer:
    """Measures the time of an optimiser step: all ranks take the step, and the main rank measures it.

    begin: creates a trial training of a network; only its timing is used.
    """

    begin: Callable[[nn.Module], Training]

    def seconds(self, network: nn.Module, sizes: Iterable[int], stage: int = 0) -> dict[int, float]:
        """Seconds per step in the given stage, by image size. The network is not changed."""
        trial = self.begin(copy.deepcopy(network))
        trial.enter(stage)
        trial.join_ranks()
        return {size: distributed.broadcast(_seconds_a_step(trial, size)) for size in sizes}

    def seconds_by_stage(self, training: Training, sizes: Iterable[int], overhead: float) -> list[dict[int, float]]:
        """Seconds per step, by stage and image size. overhead: seconds added to each step."""
        network = copy.deepcopy(training.network)
        freeze(network, "all", training.frozen)  # a trial treats what is frozen at its start as frozen in all stages
        stages = (self.seconds(network, sizes, stage) for stage in range(len(training.stage_spans)))
        return [{size: seconds + overhead for size, seconds in of_sizes.items()} for of_sizes in stages]

    def mean_seconds(self, network: nn.Module, planner: Planner) -> float:
        """Mean seconds per step of the whole training, measured at the median image size and scaled by area."""
        sizes = np.array([planner.size_at(progress) for progress in np.arange(0.05, 1, 0.1)])
        middle = round(np.median(sizes))
        return self.seconds(network, [middle])[middle] * float(np.mean((sizes / middle) ** 2))


def _seconds_a_step(trial: Training, size: int) -> float:
    """Seconds for a whole batch, in parts if it does not fit in memory."""
    trial.fit_in_memory(size)
    while True:
        try:
            return trial.parts * _seconds_a_part(trial, size)
        except Exception as error:
            if distributed.world_size() > 1 or not trial.can_halve(error):
                raise
        trial.halve()


def _seconds_a_part(trial: Training, size: int) -> float:
    """The fastest of three steps; the first one warms up."""
    size_of_input = scaled(trial.predictor.input_size, size)
    batch = _blank_batch(-(-trial.recipe.batch_size // trial.parts), size_of_input, trial.predictor.targets)
    start = trial.stage_spans[trial.stage].start
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        trial.step(batch, start, Segment(size, 1, 0.0, 1.0)).sum().item()  # item() waits for the GPU
        seconds.append(time.monotonic() - begun)
    return min(seconds)


def _blank_batch(total: int, size: tuple[int, int], targets: int) -> Batch:
    labels = np.zeros((total, targets), np.int64)[distributed.share(total)]
    return Batch(np.zeros((len(labels), *size, 3), np.uint8), labels, total)


def affordable_tier(planner: Planner, timer: StepTimer, build: Callable[[int], nn.Module], deadline: float) -> Tier:
    """The most expensive tier of the recipe that can train on enough images before the deadline, else the cheapest.

    planner: of a training without a tier. build: builds the network of a given width.
    deadline: on the clock of ``time.monotonic``.
    """
    recipe = planner.recipe
    large_enough = [tier for tier in recipe.tiers if tier.size == 1 or tier.size * planner.input_size >= SMALLEST_SIDE]
    cheapest, *others = large_enough or recipe.tiers[-1:]
    min_epochs = max(recipe.min_epochs, recipe.min_images / (planner.steps_per_epoch * recipe.batch_size))

    @cache  # tiers may differ only in their number of seeds
    def seconds_a_step(width: int, size: float) -> float:
        return timer.mean_seconds(build(width), replace(planner, input_size=round(size * planner.input_size)))

    def fits(tier: Tier) -> bool:
        steps = tier.seeds * max(min_epochs, tier.min_epochs) * planner.steps_per_epoch
        needed = steps * seconds_a_step(tier.width, tier.size)
        return distributed.broadcast(needed <= deadline - time.monotonic())

    return [cheapest, *takewhile(fits, others)][-1]


@dataclass(frozen=True)
class PredictionTimer:
    """Measures how long it takes to predict the images.

    ranks: number of ranks that share the images. It is an argument because only the main rank measures during a
        training.
    """

    predictor: Predictor
    images: Images
    ranks: int

    def seconds(self) -> float:
        """Seconds for one view of all images, extrapolated from one batch.

        The batch is predicted twice, as the first time warms up the prepared network.
        """
        few, begun = self.images[: self.predictor.batch_size], time.monotonic()
        ready = self.predictor.prepared()
        preparing = time.monotonic() - begun
        for _ in range(2):
            begun = time.monotonic()
            for outputs in ready.outputs(few):
                outputs.cpu()  # waits for the GPU
        return preparing + (time.monotonic() - begun) * len(self.images) / len(few) / self.ranks


@dataclass(frozen=True)
class Deadline:
    """When a training has to end if it shares its deadline with later ones.

    begun, deadline: on the clock of ``time.monotonic``.
    trainings_left: this training and those after it, which get as much time each.
    predictions: how many times the images are predicted, counting each view, after all trainings and before the
        deadline.
    """

    begun: float
    deadline: float
    trainings_left: int
    predictions: int
    prediction: PredictionTimer

    def end(self) -> tuple[float, float]:
        """When it ends, on the clock of ``time.monotonic``, and this training's share of the seconds for predicting.

        Measured at each call, as a shared machine may be slow for a while.
        """
        kept = self.predictions * self.prediction.seconds() if self.predictions else 0.0
        return self.begun + (self.deadline - kept - self.begun) / self.trainings_left, kept / self.trainings_left
