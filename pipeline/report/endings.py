"""What ended each training of a network, in words."""

from dataclasses import dataclass

import numpy as np

from competition.metrics import Metric, find_metric
from competition.wording import counted
from pipeline.models.neural.network import Steps
from pipeline.models.neural.stages import SLIVER
from pipeline.models.neural.time_budget import Segment, trainings
from pipeline.models.recipe import NeuralRecipe
from pipeline.report.context import ReportContext
from pipeline.report.fold_rows import fold_rows
from pipeline.training.runs import Run

LATE = 0.2  # of the validations, at the end
NEARLY = 0.02  # of the recipe's epochs; segments are rounded to whole batches
OTHER_IMAGES = {"limit", "extra", "pseudo_labels", "distil"}  # options with which it trained on other images


@dataclass(frozen=True)
class Ending:
    """How one training went.

    name: of the run, with the number of its fold if it has several. ended: what ended it.
    epochs: for how many it trained; None if that is not known.
    validations: how many there were; best: the number of the best one, from 1, by the metric of the training.
    late_gain: by how much the best score improved in the last fifth of the validations, 0 or above.
    """

    name: str
    ended: str
    epochs: float | None
    validations: int
    best: int
    best_score: float
    late_gain: float


def endings(name: str, context: ReportContext) -> list[Ending]:
    """Of each network with a history of a run."""
    run, histories = context.runs[name], context.records[name].histories
    names = [name] if len(histories) == 1 else [f"{name}, fold {fold}" for fold in range(1, len(histories) + 1)]
    fits = [fit.segments for fit in run.plan.fits] if len(run.plan.fits) == len(histories) else [()] * len(histories)
    metric = find_metric(run.score.metric)
    steps = steps_per_epoch(name, context)
    return [
        _ending(title, what_ended(run, segments, steps), epochs_of(segments, steps), history, metric)
        for title, segments, history in zip(names, fits, histories, strict=True)
    ]


def steps_per_epoch(name: str, context: ReportContext) -> int | None:
    """The steps in which a run's network used each of its training images once; None if their number is not known."""
    run = context.runs[name]
    if not isinstance(run.recipe, NeuralRecipe) or run.recipe.holdout or OTHER_IMAGES & run.options.keys():
        return None
    labelled, folds = len(context.train) + len(context.validation), len(fold_rows(context, name))
    images = labelled * (folds - 1) // folds if folds > 1 else labelled - len(context.validated[name])
    return Steps.of(images, run.recipe.batch_size).steps_per_epoch if images > 0 else None


def epochs_of(segments: tuple[Segment, ...], steps: int | None) -> float | None:
    """For how many epochs a network trained; None if that is not known. Arguments: see ``what_ended``."""
    if steps is None or not segments:
        return None
    return sum(segment.batches for segment in trainings(segments)[0]) / steps


def _ending(name: str, ended: str, epochs: float | None, history: dict[str, np.ndarray], metric: Metric) -> Ending:
    scores = history["validation_score"]
    ranks = np.array([metric.rank(score) for score in scores])
    best = len(ranks) - 1 - int(ranks[::-1].argmax())  # of equal ones the last is kept
    early = ranks[: max(1, round((1 - LATE) * len(ranks)))]
    late_gain = max(0.0, float(ranks.max() - early.max()))
    return Ending(name, ended, epochs, len(ranks), best + 1, float(scores[best]), late_gain)


def what_ended(run: Run, segments: tuple[Segment, ...], steps: int | None) -> str:
    """What ended the training of a network, and what happened on the way.

    segments: of it, and of its other seeds or points. steps: see ``steps_per_epoch``.
    """
    if not isinstance(run.recipe, NeuralRecipe) or not segments:
        return "not known"
    own = trainings(segments)[0]
    return "; ".join((_reason(run, run.recipe, own, epochs_of(segments, steps)), *_incidents(own)))


def _reason(run: Run, recipe: NeuralRecipe, own: tuple[Segment, ...], epochs: float | None) -> str:
    if own[-1].reached < 1 - SLIVER:
        return f"its loss or weights, which were not finite after {own[-1].reached:.0%} of the training"
    if run.plan.seconds is None:
        return f"all {counted(recipe.epochs, 'epoch')}"
    budget = f"its share of the time budget, {run.plan.seconds:,.0f} s"
    if epochs is None:
        return budget
    if epochs > (1 - NEARLY) * recipe.epochs:
        return f"all {counted(recipe.epochs, 'epoch')} of its recipe, before the time budget did"
    return f"{budget}, after {epochs:.1f} of at most {recipe.epochs} epochs"


def _incidents(own: tuple[Segment, ...]) -> list[str]:
    told = []
    if (parts := max(segment.parts for segment in own)) > 1:
        told.append(f"memory ran out, and batches were split into {parts}")
    if any(segment.planned is not None for segment in own):
        told.append("the machine slowed down, and a part was cut short")
    return told
