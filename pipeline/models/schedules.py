"""Learning-rate schedules by name, over one or several optimisers at once."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.models.recipe import Schedule


class LearningRate:
    """Sets the rate of every parameter group: before each step by progress, after each epoch by accuracy."""

    def __init__(self, schedule: Schedule, optimisers: list[Optimizer]) -> None:
        self._schedule = schedule
        self._optimisers = optimisers
        for group in self._groups:
            group.setdefault("peak_lr", group["lr"])
        self._plateaus = [_plateau(schedule, optimiser) for optimiser in optimisers]

    @property
    def _groups(self) -> list[dict]:
        """Looked up anew each time: an optimiser that loads a state puts new ones in place of the old."""
        return [group for optimiser in self._optimisers for group in optimiser.param_groups]

    def before_step(self, progress: float) -> None:
        """progress: how much of the training lies behind, in [0, 1)."""
        if self._schedule.name == "one-cycle":
            for group in self._groups:
                group["lr"] = group["peak_lr"] * triangle(progress, self._schedule.warmup)

    def after_epoch(self, validation_accuracy: float) -> None:
        if self._schedule.name == "plateau":
            for plateau in self._plateaus:
                plateau.step(validation_accuracy)

    @property
    def rate(self) -> float:
        return self._groups[0]["lr"]

    def state_dict(self) -> list[dict]:
        return [plateau.state_dict() for plateau in self._plateaus]

    def load_state_dict(self, states: list[dict]) -> None:
        for plateau, state in zip(self._plateaus, states, strict=True):
            plateau.load_state_dict(state)


def _plateau(schedule: Schedule, optimiser: Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(
        optimiser,
        mode="max",
        factor=schedule.factor,
        patience=schedule.patience - 1,  # PyTorch waits for one more
        threshold=0.0,
        min_lr=schedule.floor,
    )


def triangle(progress: float, warmup: float) -> float:
    """Linearly from 0 to 1 over the first ``warmup`` of the training, then linearly back to 0."""
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)
