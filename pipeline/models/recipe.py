"""Recipes: one TOML file a system, read and checked."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from competition.checked_toml import CheckedModel, check_table, describe_fault, read_toml
from competition.errors import UserError, first_few
from competition.storage import atomic_write
from competition.wording import did_you_mean

if TYPE_CHECKING:
    import torch

    from pipeline.models.base import Model, ModelContext, Workload

RECIPES = Path(__file__).resolve().parent.parent / "recipes"

NAME = r"\w[\w.-]*"  # what a recipe may be called: it names folders, and is typed after --models

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Named(CheckedModel):
    """Something chosen by name, its further keys being its arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class Optimiser(CheckedModel):
    """lr is the peak rate; for ``muon`` that of the kernels, while ``sgd_lr`` drives all other parameters.

    momentum: of ``sgd`` and ``muon``.
    dense_l2: L2 penalty on the weights of the hidden dense layers alone, ``dense_l2 * sum(w ** 2)`` in the loss.
    """

    name: Literal["adam", "rmsprop", "sgd", "muon"]
    lr: PositiveFloat
    momentum: NonNegativeFloat = 0.9
    weight_decay: NonNegativeFloat = 0.0
    dense_l2: NonNegativeFloat = 0.0
    sgd_lr: PositiveFloat = 0.05


class Schedule(CheckedModel):
    """The learning rate over the training, or over one of its stages.

    constant; one-cycle: linearly up for ``warmup`` of the training, then linearly down to zero; plateau:
    times ``factor`` after ``patience`` epochs without a better validation score or loss (``monitor``), the score
    being by the competition's metric, never below ``floor``; exponential: down to ``final`` of the peak, by the same
    factor each epoch; warmup-exponential: linearly up for ``warmup`` of the training first; step: times ``factor``
    after every ``every`` of the recipe's epochs.
    """

    name: Literal["constant", "one-cycle", "plateau", "exponential", "warmup-exponential", "step"]
    warmup: Fraction = 0.2
    factor: Fraction = 0.1
    patience: PositiveInt = 10
    monitor: Literal["metric", "loss"] = "metric"
    floor: NonNegativeFloat = 0.0
    final: Fraction = 0.01
    every: PositiveInt = 5


Trained = Literal["all", "head", "head-and-last-convolution"] | PositiveInt


class Stage(CheckedModel):
    """A stretch of the training with an optimiser and a schedule of its own.

    after: whole epochs of the recipe before it begins.
    train: what is not frozen: everything, the head (the network's last child), the head and the last convolution, or
        a number of layers, counted from the output; layers are what has weights.
    """

    after: NonNegativeInt
    train: Trained = "all"
    optimiser: Optimiser
    schedule: Schedule


class Recipe(CheckedModel):
    """What every recipe says, and how its model is built.

    reported: what the report measured, for the record.
    budget_weight: its weight when a time budget is shared among several models.
    features: what it sees of the images; None for the pixels.

    Models import the recipes, so a recipe imports its model's class only when it is asked for one.
    """

    name: str
    summary: str
    reported: float | None = None
    budget_weight: PositiveFloat = 1.0
    features: Named | None = None

    def build(self, context: "ModelContext") -> "Model":
        """The recipe's model, not yet fitted. Raises UserError for names and arguments that are not there."""
        if self.features is None:
            return self._build_on_images(context)
        from pipeline.models.classical.features import OnFeatures, build_features

        features = build_features(self.features.name, **self.features.arguments)
        return OnFeatures(features, self._build_on_images(context), context.device, context.weights)

    def load(self, folder: Path, device: "torch.device | None" = None) -> "Model":
        """The fitted model that was saved to ``folder``."""
        if self.features is None:
            return self._model_class().load(folder, device)
        from pipeline.models.classical.features import OnFeatures

        return OnFeatures.load(folder, device)

    def _build_on_images(self, context: "ModelContext") -> "Model":
        raise NotImplementedError

    def _model_class(self) -> "type[Model]":
        """The class that loads what the recipe's model saved, features apart."""
        raise NotImplementedError


class ClassicalRecipe(Recipe):
    """A scikit-learn-like classifier."""

    kind: Literal["classical"]
    classifier: Named

    is_network: ClassVar[bool] = False
    epochs: ClassVar[int | None] = None
    pretrained_networks: ClassVar[tuple[str, ...]] = ()
    transfer_from: ClassVar[str | None] = None
    views: ClassVar[str] = "one"
    augment: ClassVar[tuple[Named, ...]] = ()

    @property
    def points(self) -> "list[ClassicalRecipe]":
        """The recipe at each of the values that it tries by itself."""
        table = self.classifier.model_dump()
        tried = [{key: [value]} for key in ("grid", "neighbours") for value in table.get(key, ())]
        return [self.model_copy(update={"classifier": Named(**table | each)}) for each in tried] or [self]

    def cost(self, workload: "Workload", images: int) -> float:
        """Estimated work of fitting to ``images`` of the training images, in the unit of ``Classifier.cost``.

        Features are computed of all images once, for all folds.
        """
        from pipeline.models.classical.features import build_features
        from pipeline.models.classical.registry import build_classifier

        classifier = build_classifier(self.classifier.name, workload.classes, **self.classifier.arguments)
        beforehand, values = 0.0, workload.values
        if self.features is not None:
            features = build_features(self.features.name, **self.features.arguments)
            values = features.count
            beforehand = features.cost(workload.train_images + workload.validation_images, workload.values)
        return beforehand + workload.folds * classifier.cost(images, workload.validation_images, values)

    def _build_on_images(self, context: "ModelContext") -> "Model":
        from pipeline.models.classical.registry import build_classifier

        classifier = build_classifier(self.classifier.name, context.classes, **self.classifier.arguments)
        return classifier.measured_by(context.metric)

    def _model_class(self) -> "type[Model]":
        from pipeline.models.classical.registry import find_classifier

        return find_classifier(self.classifier.name)


class Tier(CheckedModel):
    """size: of the images, as a share of what the cache or the recipe says; width: of the network.

    seeds: networks that differ in their seed alone, each with its share of the time; predictions are their mean.
    min_epochs: what it takes of each of them, where that is more than the recipe's ``min_epochs``.
    """

    size: Annotated[float, Field(gt=0, le=1)]
    width: PositiveInt
    seeds: PositiveInt = 1
    min_epochs: PositiveFloat = 1.0


class NeuralRecipe(Recipe):
    """A network and its protocol.

    input_size: pixels a side the network takes; None takes the images as they are cached.
    growing: image sizes over the training, as fractions of the input size, each for an equal share.
    augment: albumentations by their class names, or ``Shift``, ``Cutout`` and ``Symmetries`` of data/augment.py.
    averaging: time constant of the moving average of the weights, as a fraction of the training; 0 for none.
    holdout: share of train that is held out to choose the checkpoint, instead of the validation split.
    grey: one channel instead of three where no training image has colour.
    pretrained: the network starts from ImageNet weights (weights.py).
    transfer_from: a recipe; the network, the same, starts from the newest one trained by it on another competition.
    train: see ``Stage``; together with ``optimiser`` and ``schedule`` the first stage. stages: the later ones.
    views: predictions are of the image as it is, or the mean over its flips and turns, or over shifts of these, too.
    grid: tables with other values for some of the recipe's keys; each is trained, the best on validation is kept.
    tiers: what a time budget may choose from, the cheapest first: the dearest with which the network still sees
        every image ``min_epochs`` times and, counting repeats, ``min_images`` images.
    """

    kind: Literal["neural"]
    network: Named
    input_size: PositiveInt | None = None
    grey: bool = False
    normalise: Literal["unit", "symmetric", "standard", "imagenet"] = "standard"
    pretrained: bool = False
    transfer_from: str | None = None
    epochs: PositiveInt
    batch_size: PositiveInt
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    train: Trained = "all"
    optimiser: Optimiser
    schedule: Schedule
    stages: tuple[Stage, ...] = ()
    grid: tuple[dict[str, Any], ...] = ()
    augment: tuple[Named, ...] = ()
    growing: tuple[PositiveFloat, ...] = (1.0,)
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    holdout: Fraction | None = None
    views: Literal["one", "symmetries", "shifts"] = "one"
    tiers: tuple[Tier, ...] = ()
    min_epochs: PositiveFloat = 1.0
    min_images: NonNegativeInt = 0

    is_network: ClassVar[bool] = True

    @model_validator(mode="after")
    def _stages_follow_each_other(self) -> Self:
        starts = [stage.after for stage in self.all_stages] + [self.epochs]
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise ValueError("stages: each stage must begin after the one before it and before the last epoch")
        return self

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        first = Stage(after=0, train=self.train, optimiser=self.optimiser, schedule=self.schedule)
        return (first, *self.stages)

    @property
    def pretrained_networks(self) -> tuple[str, ...]:
        """The networks whose ImageNet weights it starts from."""
        return tuple(self.network.arguments.get("trunks", [self.network.name])) if self.pretrained else ()

    @property
    def points(self) -> "list[NeuralRecipe]":
        """The recipe at each of the values that it tries by itself."""
        return self.grid_points or [self]

    @property
    def grid_points(self) -> list["NeuralRecipe"]:
        """One recipe a point of the grid. Raises UserError for a key that is not there."""
        return [self._at(point) for point in self.grid]

    def _at(self, point: dict[str, Any]) -> "NeuralRecipe":
        table = _merged(self.model_dump() | {"grid": ()}, point)
        try:
            return NeuralRecipe(**table)
        except ValidationError as error:
            fault = describe_fault(error, NeuralRecipe, table)
            raise UserError(f"{self.name}: grid: {fault}; fix the recipe") from None

    def cost(self, workload: "Workload", images: int) -> float:
        """Nothing that is known beforehand: a network takes the time that it is given."""
        return 0.0

    def _build_on_images(self, context: "ModelContext") -> "Model":
        from pipeline.models.neural.grid import NetworkGrid
        from pipeline.models.neural.seed_ensemble import SeedEnsemble

        network = NetworkGrid if self.grid else SeedEnsemble
        return network(
            self,
            context.classes,
            context.folder,
            symmetries=context.symmetries,
            plan=context.plan,
            seed=context.seed,
            device=context.device,
            weights=context.weights,
            source=context.source,
            on_epoch=context.on_epoch,
            compile=context.compile,
            metric=context.metric,
        )

    def _model_class(self) -> "type[Model]":
        from pipeline.models.neural.seed_ensemble import SeedEnsemble

        return SeedEnsemble


AnyRecipe = Annotated[ClassicalRecipe | NeuralRecipe, Field(discriminator="kind")]


def _merged(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The table with the changes, sub-table by sub-table."""
    merged = table | changes
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            merged[key] = _merged(table[key], value)
    return merged


def fingerprint(*parts: object) -> str:
    """A short hash of anything that JSON can say; equal parts, equal fingerprint."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recipe_names(folder: Path = RECIPES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_recipe(path: Path) -> AnyRecipe:
    """Read one recipe. Raises UserError naming the file and the key that is wrong."""
    table = read_toml(path)
    if "name" in table:
        raise UserError(f"{path}: name: a recipe is called what its file is called; take that key out")
    kinds: dict[str, type[ClassicalRecipe] | type[NeuralRecipe]] = {
        "classical": ClassicalRecipe,
        "neural": NeuralRecipe,
    }
    kind = str(table.get("kind"))
    if kind not in kinds:
        hint = did_you_mean(kind, kinds)
        raise UserError(f'{path}: kind must be "classical" or "neural"{hint}; add the line kind = "..."')
    return check_table(path, kinds[kind], {"name": path.stem, **table})


def write_recipe(recipe: AnyRecipe, path: Path, remark: str) -> None:
    """Write a recipe that ``load_recipe`` reads as the same, but for its name. remark: the comment it begins with.

    Raises UserError where it could not be read back; the place then holds what it held.
    """
    table = recipe.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    sections = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = [f"# {remark}", *(f"{key} = {_toml(value)}" for key, value in table.items() if key not in sections)]
    for name, section in sections.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in section.items())]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if load_recipe(temporary).model_dump(exclude={"name"}) != recipe.model_dump(exclude={"name"}):
            raise UserError(f"{path}: the recipe would not be read as it is; write it by hand")


def _toml(value: Any) -> str:
    """A value in TOML, on one line but for a list of tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + "".join(f"    {_toml(each)},\n" for each in value) + "]"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # which writes a string, a number and a boolean as TOML has them


def choose_recipes(patterns: Iterable[str], *further: Path) -> list[AnyRecipe]:
    """The recipes of the given names, patterns (``fashion-*``) or TOML files, each once, in the order asked for.

    further: folders in which recipes are found besides those that ship; of equal names the last folder's counts.
    Raises UserError for a file that is no recipe, and, with the nearest names or all, for a pattern without a match.
    """
    known = {path.stem: path for folder in (RECIPES, *further) for path in sorted(folder.glob("*.toml"))}
    chosen: dict[Path, None] = {}
    for pattern in patterns:
        chosen |= dict.fromkeys([_own_file(pattern)] if pattern.endswith(".toml") else _matching(pattern, known))
    recipes = [load_recipe(path) for path in chosen]
    if twice := first_few([name for name, times in Counter(each.name for each in recipes).items() if times > 1]):
        raise UserError(f"--models: several recipes are called {twice}; rename the file of one of them")
    return recipes


def _own_file(path: str) -> Path:
    own = Path(path).expanduser().resolve()
    if not re.fullmatch(NAME, own.stem):
        raise UserError(f"{path}: a recipe's name has letters, digits, dots and dashes; rename the file")
    return own


def _matching(pattern: str, known: dict[str, Path]) -> list[Path]:
    matches = [path for name, path in sorted(known.items()) if fnmatchcase(name, pattern)]
    if not matches:
        near = get_close_matches(pattern, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
        raise UserError(f"no recipe is called {pattern!r}; {hint}")
    return matches
