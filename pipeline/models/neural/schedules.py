"""Learning-rate schedules by name, for one or more optimisers at once."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.models.recipe import Schedule


class LearningRate:
    """Sets the learning rate of every parameter group, by progress before each step or by validation after each epoch.

    epochs: number of the recipe's epochs that the schedule covers; ``every`` is measured in them.
    """

    def __init__(self, schedule: Schedule, optimisers: list[Optimizer], epochs: float = 1.0) -> None:
        self._schedule, self._epochs = schedule, epochs
        self._optimisers = optimisers
        for group in self._groups:
            group.setdefault("peak_lr", group["lr"])
        self._plateaus = [_plateau(schedule, optimiser) for optimiser in optimisers]

    @property
    def _groups(self) -> list[dict]:
        """Looked up each time, as an optimiser replaces its groups when it loads a state."""
        return [group for optimiser in self._optimisers for group in optimiser.param_groups]

    def before_step(self, progress: float) -> None:
        """Set the rate of the next step. progress: the part of the schedule already completed, in [0, 1)."""
        if self._schedule.name not in ("constant", "plateau"):
            for group in self._groups:
                group["lr"] = group["peak_lr"] * self._share(progress)

    def _share(self, progress: float) -> float:
        """The learning rate as a multiple of the peak rate."""
        schedule = self._schedule
        if schedule.name == "one-cycle":
            return triangle(progress, schedule.warmup)
        if schedule.name == "step":
            return schedule.factor ** math.floor(progress * self._epochs / schedule.every + 1e-9)
        warmup = schedule.warmup if schedule.name == "warmup-exponential" else 0.0
        return progress / warmup if progress < warmup else schedule.final ** ((progress - warmup) / (1 - warmup))

    def multiply(self, factor: float) -> None:
        """Multiply the rates of all steps to come."""
        for group in self._groups:
            group["lr"], group["peak_lr"] = factor * group["lr"], factor * group["peak_lr"]

    def after_epoch(self, rank: float, loss: float) -> None:
        """Let a plateau schedule react to validation. rank: ``Metric.rank`` of the score, higher is better."""
        if self._schedule.name == "plateau":
            for plateau in self._plateaus:
                plateau.step(rank if self._schedule.monitor == "metric" else loss)

    @property
    def rate(self) -> float:
        """The current learning rate of the layers that learn fastest, with the first optimiser."""
        return max(group["lr"] for group in self._optimisers[0].param_groups)

    def state_dict(self) -> list[dict]:
        return [plateau.state_dict() for plateau in self._plateaus]

    def load_state_dict(self, states: list[dict]) -> None:
        for plateau, state in zip(self._plateaus, states, strict=True):
            plateau.load_state_dict(state)


def _plateau(schedule: Schedule, optimiser: Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(
        optimiser,
        mode="max" if schedule.monitor == "metric" else "min",
        factor=schedule.factor,
        patience=schedule.patience - 1,  # PyTorch waits one epoch longer
        threshold=0.0,
        min_lr=schedule.floor,
    )


def triangle(progress: float, warmup: float) -> float:
    """Rise linearly from 0 to 1 over the first ``warmup``, a fraction of the training, then fall linearly to 0."""
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)
