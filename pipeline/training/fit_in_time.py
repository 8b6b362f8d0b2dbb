"""Fits a classical model within its share of the time budget, on as many images as this machine has time for now.

How long a fit takes is estimated from the speed of matrix products, which tells little on a machine that others use.
So a model that may not fit in its share is first fitted on a few images. The time that takes shows how many there is
time for, and if the larger fit takes too long all the same, the small one is the result.
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from pipeline.models.base import NotTrained, Workload
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.training.planning import FEWEST_IMAGES, ModelPlan, classical_plan

Fitted = TypeVar("Fitted")

SURE = 4.0  # a model whose estimate is this many times below its share is fitted without a small fit before
FIRST = 0.75  # of the share is for such a fit; if it takes longer, a small one has the rest
FEW = 0.125  # of the planned images are used for a small fit
GRACE = 0.5  # of the time that features and a small fit took, for a larger fit, even if the share is over
LARGER = 1.5  # a second fit uses at least this many times the images of the small one


def fit_in_time(
    model: ModelPlan,
    workload: Workload,
    end: float,
    fit: Callable[[ModelPlan], Fitted],
    is_required: bool,
    latest: float = math.inf,
) -> tuple[ModelPlan, Fitted]:
    """Fit the model on its planned images if there is time, otherwise on fewer. Returns what was done, and the result.

    end: of its share, on the clock of ``time.monotonic``. fit: fits the model as the given plan says.
    is_required: fit a few images even if that takes longer than the share.
    latest: when a model whose features took longer than its share has to end all the same.
    Raises NotTrained if there is no time for a few images.
    """
    begun = time.monotonic()
    if SURE * (model.seconds or 0.0) <= end - begun:
        with suppress(OutOfTime), time_limit(begun + FIRST * (end - begun)):
            return model, fit(model)
    few, begun = _with_few_images(model, workload), time.monotonic()
    result = _fit_few(few, math.inf if is_required else end, fit)
    now = time.monotonic()
    if model.recipe.features is not None:  # without a larger fit, the time for them would be lost
        end = max(end, min(latest, now + GRACE * (now - begun)))
    larger = _as_many_as_fit(model, few, workload, now - begun, end)
    if larger is not None:
        with suppress(OutOfTime), time_limit(end):
            return larger, fit(larger)
    return few, result


def _fit_few(few: ModelPlan, end: float, fit: Callable[[ModelPlan], Fitted]) -> Fitted:
    try:
        with time_limit(end):
            return fit(few)
    except OutOfTime:
        raise NotTrained(
            f"{few.name}: a fit on only {few.images:,} images takes longer than its share of the budget; "
            "give more time with --budget"
        ) from None


def _with_few_images(model: ModelPlan, workload: Workload) -> ModelPlan:
    planned = model.images or workload.train_images
    fewest = min(planned, FEWEST_IMAGES * workload.classes)
    return replace(model, images=max(fewest, round(FEW * planned)))


def _as_many_as_fit(
    model: ModelPlan, few: ModelPlan, workload: Workload, seconds: float, end: float
) -> ModelPlan | None:
    """The plan for the rest of the share, with at most the planned images; None if they are hardly more than ``few``.

    seconds: that the fit of ``few`` has taken.
    """
    small = few.images or workload.train_images
    rate = model.recipe.cost(workload, small) / seconds
    found = classical_plan(model.recipe, workload, end - time.monotonic(), rate, has_features=True)
    planned = model.images or workload.train_images
    images = 0 if found is None else min(planned, found.images or planned)
    if images < min(planned, LARGER * small) or images == small:
        return None
    return model if images == planned else replace(model, images=images)
