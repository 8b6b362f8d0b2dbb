"""The plan: which models fit in the time budget, and how much time and how many images each gets."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from competition.metrics import ACCURACY
from competition.spec import Competition, Symmetries
from competition.storage import atomic_write
from competition.wording import fault_in, printable
from pipeline.data.image_size import ImageSizes
from pipeline.data.small_images import small_size
from pipeline.data.training_data import TrainingData
from pipeline.models.base import Workload
from pipeline.models.neural.stages import SLIVER
from pipeline.models.neural.time_budget import Segment, trainings
from pipeline.models.recipe import NAME, AnyRecipe, NeuralRecipe, Tier
from pipeline.settings import MOST_EPOCHS, MOST_FOLDS, MOST_IMAGES, MOST_PIXELS, MOST_SECONDS, MOST_SEED, Settings

CAUTION = 1.3  # safety factor for the estimated cost of a classical model, which is rarely further off
FEWEST_IMAGES = 10  # per class; with fewer, a classical model is not worth its time
MOST_BATCHES = 10**7  # of a segment
SOON, AT_MOST = 5.0, 0.5  # seconds, and share of the rest, for a classical model if none fits in its own share
TOO_SHORT = "fitting it to ten images of each class takes longer than its share of the budget"


Count = Annotated[int, Field(ge=1, le=MOST_IMAGES)]  # of images


def _checked(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The segments of one or more trainings. Raises ValueError if they cannot be trained."""
    end = 0.0
    for segment in segments:
        if not (1 <= segment.size <= MOST_PIXELS and 1 <= segment.batches <= MOST_BATCHES):
            raise ValueError(f"a segment needs a size of 1 to {MOST_PIXELS:,} and 1 to {MOST_BATCHES:,} batches")
        if not 1 <= segment.parts <= MOST_BATCHES:
            raise ValueError("a segment needs 1 or more parts of each batch")
        if segment.planned is not None and not segment.batches <= segment.planned <= MOST_BATCHES:
            raise ValueError("a segment that was cut off has fewer batches than were planned")
        if not 0 <= segment.start < segment.end <= 1:
            raise ValueError("a segment needs 0 <= start < end <= 1")
        if segment.start and abs(segment.start - end) > SLIVER:
            raise ValueError("a segment must begin at 0 or where the one before it ends")
        end = segment.reached
    return segments


def _bounded(recipe: AnyRecipe) -> AnyRecipe:
    """The recipe. Raises ValueError if it cannot name a folder, or trains for ever."""
    if not re.fullmatch(NAME, recipe.name):
        raise ValueError("a name may have only letters, digits, _, . and -")
    if recipe.epochs is not None and recipe.epochs > MOST_EPOCHS:
        raise ValueError(f"at most {MOST_EPOCHS:,} epochs can be trained")
    return recipe


def _first_fault(error: ValidationError) -> str:
    """The first invalid key and its error message."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    words = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {words}" if where else words


@dataclass(frozen=True)
class Fit:
    """How one model was trained: the tier chosen for the budget, if any, and the segments of a network's training."""

    tier: Tier | None
    segments: Annotated[tuple[Segment, ...], AfterValidator(_checked)]


@dataclass(frozen=True)
class ModelPlan:
    """What one model is given.

    recipe: the whole recipe, so that a plan repeats a run even if the recipe's file has changed since.
    images: number of training images, drawn class by class; None for all.
    seconds: its share of the budget, in wall-clock time; None for no limit.
    fits: one per fold, filled in after the training; a repetition follows them exactly.
    """

    recipe: Annotated[AnyRecipe, AfterValidator(_bounded)]
    images: Count | None = None
    seconds: Annotated[float, Field(le=MOST_SECONDS, allow_inf_nan=False)] | None = None
    fits: tuple[Fit, ...] = ()

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def work(self) -> float:
        """How long it trains, in seconds if there is a budget, otherwise in a unit of its own."""
        return float(self.recipe.is_network) if self.seconds is None else self.seconds

    def trainings_of(self, fit: Fit) -> int:
        """How many networks were trained for one of its ``fits``."""
        if isinstance(self.recipe, NeuralRecipe):
            return len(self.recipe.grid) or (fit.tier.seeds if fit.tier is not None else 1)
        return 0


def _repeatable(models: tuple[ModelPlan, ...]) -> tuple[ModelPlan, ...]:
    """The models. Raises ValueError if there are none, two of one name, or trainings missing."""
    if not models or len({model.name for model in models}) < len(models):
        raise ValueError("a plan needs models, each of another name")
    for model in models:
        if any(len(trainings(fit.segments)) < model.trainings_of(fit) for fit in model.fits):
            raise ValueError(f"segments of {model.name} are missing")
    return models


def _cacheable(sizes: ImageSizes | None) -> ImageSizes | None:
    """The sizes. Raises ValueError if no image can have them."""
    if sizes and not all(1 <= side <= MOST_PIXELS for side in (*sizes.cached, sizes.trained, sizes.predicted)):
        raise ValueError(f"images have 1 to {MOST_PIXELS:,} pixels a side")
    return sizes


@dataclass(frozen=True)
class Plan:
    """Everything needed to repeat a run, as stored in plan.json."""

    competition: str
    symmetries: Symmetries | None
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)]
    limit: Count | None
    folds: Annotated[int, Field(ge=2, le=MOST_FOLDS)] | None
    size: Annotated[int, Field(ge=1, le=MOST_PIXELS)] | None
    models: Annotated[tuple[ModelPlan, ...], AfterValidator(_repeatable)]
    sizes: Annotated[ImageSizes | None, AfterValidator(_cacheable)] = None
    left_out: dict[str, str] = field(default_factory=dict)
    metric: str = ACCURACY.name

    def write(self, path: Path) -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(TypeAdapter(Plan).dump_json(self, indent=1))

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read a plan.json. Raises UserError if the file is not a plan."""
        try:
            return TypeAdapter(Plan).validate_json(path.read_bytes())
        except OSError as error:
            fault = printable(error, most=200)
        except ValidationError as error:
            fault = printable(_first_fault(error), most=200)
        raise fault_in(path, f"not a plan.json of train.py ({fault})", "give another file")

    def applied_to(self, settings: Settings) -> Settings:
        """The settings with the values that the plan sets; a metric in the settings takes precedence."""
        return replace(
            settings,
            metric=settings.metric or self.metric,
            seed=self.seed,
            limit=self.limit,
            folds=self.folds,
            size=self.size,
        )

    def with_model(self, model: ModelPlan) -> "Plan":
        """The plan with its entry for this model replaced."""
        models = tuple(model if each.name == model.name else each for each in self.models)
        return replace(self, models=models)

    def without(self, model: ModelPlan, reason: str) -> "Plan":
        """The plan without this model, which is left out for that reason."""
        models = tuple(each for each in self.models if each.name != model.name)
        return replace(self, models=models, left_out=self.left_out | {model.name: reason})

    def shares(self, ranks: int) -> list[tuple[ModelPlan, ...]]:
        """The models shared out to so many ranks, so that all have about as much to do; in the plan's order."""
        work = [0.0] * ranks
        shares: list[list[ModelPlan]] = [[] for _ in work]
        for model in sorted(self.models, key=lambda model: -model.work):
            least = work.index(min(work))
            work[least] += model.work
            shares[least].append(model)
        return [tuple(model for model in self.models if model in share) for share in shares]

    def share_of(self, model: ModelPlan) -> float:
        """Its part, in (0, 1], of the time that is left for it and the models after it; by their ``budget_weight``."""
        names = [each.name for each in self.models]
        weights = [each.recipe.budget_weight for each in self.models[names.index(model.name) :]]
        return weights[0] / sum(weights)

    def seconds_after(self, model: ModelPlan) -> float:
        """The total seconds of the models that come after ``model``."""
        names = [each.name for each in self.models]
        return sum(each.seconds or 0.0 for each in self.models[names.index(model.name) + 1 :])


def make_plan(
    recipes: Sequence[AnyRecipe],
    settings: Settings,
    competition: Competition,
    workload: Workload,
    seconds: float | None,
    sizes: ImageSizes | None = None,
) -> Plan:
    """Share the remaining ``seconds`` among the models and print the result; None trains each recipe in full.

    sizes: of the images, for the repetition.

    If there is no time for any model, the one with the least work is planned all the same.
    """
    models = [ModelPlan(recipe) for recipe in recipes]
    left_out: dict[str, str] = {}
    if seconds is not None:
        seconds = max(0.0, seconds)
        models, left_out = _share_out(recipes, workload, seconds)
        print(_described(models, left_out, workload, seconds))
    return Plan(
        competition=competition.name,
        symmetries=competition.symmetries,
        seed=settings.seed,
        limit=settings.limit,
        folds=workload.folds if workload.folds > 1 else None,
        size=settings.size,
        models=tuple(models),
        sizes=sizes,
        left_out=left_out,
        metric=competition.metric.name,
    )


def workload_of(competition: Competition, training_data: TrainingData) -> Workload:
    train, validation = training_data.splits[0]
    return Workload(
        train_images=len(train),
        validation_images=len(validation),
        values=3 * prod(small_size(training_data.images.shape[1:3])),
        classes=competition.task.choices,
        folds=len(training_data.splits),
        targets=competition.task.target_count,
    )


def _share_out(
    recipes: Sequence[AnyRecipe], workload: Workload, seconds: float
) -> tuple[list[ModelPlan], dict[str, str]]:
    """Give each classical model at most its share; the networks share the remaining time by weight.

    Returns the models, fastest first so that a valid result is on disk soon, and the reasons for those left out.
    """
    networks = [recipe for recipe in recipes if recipe.is_network]
    classical = [recipe for recipe in recipes if not recipe.is_network]
    second = seconds / sum(recipe.budget_weight for recipe in recipes)
    rate = products_a_second()
    plans = {recipe.name: classical_plan(recipe, workload, second * recipe.budget_weight, rate) for recipe in classical}
    models = [plan for plan in plans.values() if plan is not None]
    left = seconds - sum(model.seconds or 0.0 for model in models)
    weights = sum(recipe.budget_weight for recipe in networks)
    models += [ModelPlan(recipe, seconds=left * recipe.budget_weight / weights) for recipe in networks]
    left_out = {name: TOO_SHORT for name, plan in plans.items() if plan is None}
    if left_out and all(plan is None for plan in plans.values()):
        least, needed = _least_work(classical, workload, rate)
        most = AT_MOST * seconds if least.recipe.features is None else 0.0  # features take as long for a few images
        if not networks or needed <= max(SOON, most):
            models = [least, *models]
            del left_out[least.name]
    return sorted(models, key=lambda model: model.seconds or 0.0), left_out


def _least_work(recipes: Sequence[AnyRecipe], workload: Workload, rate: float) -> tuple[ModelPlan, float]:
    """The classical model that is fitted first if there is no time for any, on the fewest images, and its seconds."""
    fewest = min(workload.train_images, FEWEST_IMAGES * workload.classes)
    recipe = min(recipes, key=lambda recipe: recipe.cost(workload, fewest))
    return ModelPlan(recipe, images=fewest, seconds=0.0), CAUTION * recipe.cost(workload, fewest) / rate


def classical_plan(
    recipe: AnyRecipe, workload: Workload, seconds: float, rate: float, has_features: bool = False
) -> ModelPlan | None:
    """The plan with the most training images that fit in ``seconds``; None if these are too few to be worth it.

    rate: floating-point operations per second. has_features: see ``ClassicalRecipe.cost``.
    """

    def estimate(images: int) -> float:
        return CAUTION * recipe.cost(workload, images, has_features) / rate

    if (needed := estimate(workload.train_images)) <= seconds:
        return ModelPlan(recipe, seconds=needed)
    fewest = min(workload.train_images, FEWEST_IMAGES * workload.classes)
    sizes = np.geomspace(fewest, workload.train_images, 100).astype(int).tolist()
    fitting = [size for size in sizes if estimate(size) <= seconds]
    return ModelPlan(recipe, max(fitting), estimate(max(fitting))) if fitting else None


def products_a_second() -> float:
    """Floating-point operations per second in a large float32 matrix product, the median of three runs.

    On a slow machine it is that of fewer runs, which take about a second.

    The best run would be one that other processes happened not to disturb.
    """
    matrix = np.ones((2048, 2048), np.float32)
    times: list[float] = []
    while len(times) < 3 and sum(times) < 1:
        begun = time.monotonic()
        matrix @ matrix
        times.append(time.monotonic() - begun)
    return 2 * len(matrix) ** 3 / median(times)


def _described(models: list[ModelPlan], left_out: dict[str, str], workload: Workload, seconds: float) -> str:
    """The plan for the terminal, one line per model."""
    lines = [f"plan for the remaining {clock(seconds)} (time that a model does not use goes to those below it):"]
    width = max(18, *(len(name) for name in (*(model.name for model in models), *left_out)))
    for model in models:
        images = f"{model.images:,} of the {workload.train_images:,} images" if model.images else "all images"
        lines.append(f"  {model.name:<{width}} {clock(model.seconds or 0.0):>7}  {images}")
    lines += [f"  {name:<{width}} left out: {reason}" for name, reason in left_out.items()]
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """A duration such as ``4m 05s`` or ``12s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
