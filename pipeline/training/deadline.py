"""When training must end within a time budget, and the trial of flips and rotations before it."""

import time

from pipeline.settings import Settings
from pipeline.training.planning import Plan, clock

TRIAL_SHARE = 0.2  # of the time after decoding, at most, for the trial of flips and rotations
CLOSING_SECONDS = 2.0  # for the tables and files after the last model, and for the end of the process
CLOSING_SHARE = 0.6  # of the time that imports took, if that is more, as on a machine that others use
UNUSED_SHARE = 0.1  # of the budget; if more is left, a line says why
IMPORTED = time.monotonic()  # when a command's imports were done, about: the slow ones come before this module


def deadline(settings: Settings) -> float | None:
    """When training must end, in seconds on the clock of ``time.monotonic``; None: no limit."""
    if settings.budget is None:
        return None
    return settings.begun + settings.budget - max(CLOSING_SECONDS, CLOSING_SHARE * (IMPORTED - settings.begun))


def trial_end(settings: Settings) -> float | None:
    """When the trial of flips and rotations must end, on the clock of ``time.monotonic``; None: no limit.

    That is now, so that there is no trial, if its share is less than imports took: it would hardly begin to train.
    """
    now, end = time.monotonic(), deadline(settings)
    if end is None:
        return None
    share = TRIAL_SHARE * (end - now)
    return now + share if share > IMPORTED - settings.begun else now


def print_unused(plan: Plan, settings: Settings) -> None:
    """Say so if much of a budget is left, as every network has been trained for all epochs of its recipe."""
    end = deadline(settings)
    if (
        end is not None
        and not plan.left_out
        and (left := end - time.monotonic()) > UNUSED_SHARE * (settings.budget or 0.0)
    ):
        print(f"{clock(left)} of the budget is left: all models are trained in full; more time for them would not help")
