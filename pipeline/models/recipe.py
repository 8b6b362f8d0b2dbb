"""Recipes: each describes one model in a TOML file, which is read and checked here."""

import hashlib
import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
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
from competition.storage import atomic_write, expanded
from competition.wording import did_you_mean

if TYPE_CHECKING:
    import torch

    from pipeline.models.base import Model, ModelContext, Workload

RECIPES = Path(__file__).resolve().parent.parent / "recipes"

NAME = r"\w[\w.-]*"  # of a recipe; it is used as a folder name and typed after --models

TIMM, TORCHVISION = "timm/", "torchvision/"  # what the names of these libraries' networks begin with
LITES = ("lite0", "lite1", "lite2")  # this pipeline's own networks with published weights
FINE_TUNING = RECIPES / "fine-tuning.toml"  # the recipe for a network that is named in place of a recipe

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Named(CheckedModel):
    """Something chosen by name; all other keys are its arguments. A string is a name without arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _without_arguments(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class Optimiser(CheckedModel):
    """The optimiser and its settings.

    lr: peak learning rate; with ``muon``, that of the convolution kernels.
    momentum: of ``sgd`` and ``muon``.
    layer_decay: what the learning rate is multiplied by for each twelfth of the layers, from the output to the input.
    dense_l2: L2 penalty on the weights of the hidden dense layers only, ``dense_l2 * sum(w ** 2)`` in the loss.
    sgd_lr: with ``muon``, the peak learning rate of all other parameters.
    """

    name: Literal["adam", "adamw", "rmsprop", "sgd", "muon"]
    lr: PositiveFloat
    momentum: NonNegativeFloat = 0.9
    weight_decay: NonNegativeFloat = 0.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    dense_l2: NonNegativeFloat = 0.0
    sgd_lr: PositiveFloat = 0.05


class Schedule(CheckedModel):
    """The learning rate over the training, or over one of its stages.

    constant: always the peak rate.
    one-cycle: rises linearly for the share ``warmup`` of the training, then falls linearly to zero.
    plateau: is multiplied by ``factor`` after ``patience`` epochs in which ``monitor`` did not improve on validation
        (the score by the competition's metric, or the loss); never falls below ``floor``.
    exponential: falls to the share ``final`` of the peak, by the same factor each epoch.
    warmup-exponential: rises linearly for the share ``warmup`` of the training, then falls exponentially.
    step: is multiplied by ``factor`` after every ``every`` epochs of the recipe.
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
    """A part of the training with its own optimiser and schedule.

    after: epochs of the recipe before the stage begins.
    train: what is not frozen: everything, the head (the network's last child), the head and the last convolution, or
        a number of layers with weights, counted from the output.
    """

    after: NonNegativeInt
    train: Trained = "all"
    optimiser: Optimiser
    schedule: Schedule


class Recipe(CheckedModel):
    """The keys that all recipes share, and how the model is built.

    summary: one sentence for tables and reports.
    reported: the accuracy given by the source of the recipe, for the record.
    budget_weight: weight of this recipe when several models share a time budget.
    features: the input of the model; None for the pixels.

    Models import this module, so a recipe imports the class of its model only when it builds or loads one.
    """

    name: str
    summary: str
    reported: float | None = None
    budget_weight: PositiveFloat = 1.0
    features: Named | None = None

    def build(self, context: "ModelContext") -> "Model":
        """The recipe's model, not yet fitted. Raises UserError for an unknown name or argument."""
        if self.features is None:
            return self._build_on_images(context)
        from pipeline.models.classical.features import OnFeatures, build_features

        features = build_features(self.features.name, **self.features.arguments)
        model = self._build_on_images(replace(context, sizes=None))
        return OnFeatures(features, model, context.device, context.weights)

    def load(self, folder: Path, device: "torch.device | None" = None) -> "Model":
        """The fitted model that was saved to ``folder``."""
        if self.features is None:
            return self._load_on_images(folder, device)
        from pipeline.models.classical.features import OnFeatures

        return OnFeatures.load(folder, device)

    @abstractmethod
    def _build_on_images(self, context: "ModelContext") -> "Model":
        """The model without the features."""

    @abstractmethod
    def _load_on_images(self, folder: Path, device: "torch.device | None") -> "Model":
        """The fitted model without features."""


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
        """One recipe for each setting that this recipe tries; the recipe itself if it tries only one."""
        table = self.classifier.model_dump()
        tried = [{key: [value]} for key in ("grid", "neighbours") for value in table.get(key, ())]
        return [self.model_copy(update={"classifier": Named(**table | each)}) for each in tried] or [self]

    def cost(self, workload: "Workload", images: int, has_features: bool = False) -> float:
        """Estimated work of fitting to ``images`` of the training images, in the unit of ``Classifier.cost``.

        Features are computed once for all images and shared by all folds. has_features: they are computed already.
        """
        from pipeline.models.classical.features import build_features
        from pipeline.models.classical.registry import build_classifier

        classifier = build_classifier(self.classifier.name, workload.classes, **self.classifier.arguments)
        beforehand, values = 0.0, workload.values
        if self.features is not None:
            features = build_features(self.features.name, **self.features.arguments)
            values = features.count
            if not has_features:
                beforehand = features.cost(workload.train_images + workload.validation_images, workload.values)
        fits = workload.folds * workload.targets
        return beforehand + fits * classifier.cost(images, workload.validation_images, values)

    def _build_on_images(self, context: "ModelContext") -> "Model":
        from pipeline.models.classical.base import Classifier
        from pipeline.models.classical.per_target import PerTarget
        from pipeline.models.classical.registry import build_classifier

        def build() -> Classifier:
            return build_classifier(self.classifier.name, context.classes, **self.classifier.arguments)

        return PerTarget(build, context.targets) if context.targets > 1 else build().measured_by(context.metric)

    def _load_on_images(self, folder: Path, device: "torch.device | None") -> "Model":
        from pipeline.models.classical.per_target import load_classifier

        return load_classifier(folder)


class Tier(CheckedModel):
    """One of the network sizes that a time budget chooses from.

    size: image size, as a share of the recipe's ``input_size`` or, without one, of the size in the cache.
    width: width of the network.
    seeds: number of networks that differ only in their seed; they share the time, and predictions are their mean.
    min_epochs: fewest epochs of each network, if that is more than the recipe's ``min_epochs``.
    """

    size: Annotated[float, Field(gt=0, le=1)]
    width: Annotated[int, Field(gt=0, le=10_000)]
    seeds: PositiveInt = 1
    min_epochs: PositiveFloat = 1.0


class Mix(CheckedModel):
    """Blends images of a batch in pairs, and their targets with them.

    mixup, cutmix: parameter of the beta distribution from which the share of the two images is drawn; 0 for neither. If
        both are given, each mixed batch uses one of them, as likely as the other.
    share: share of the batches that are mixed.
    """

    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        if not (self.mixup or self.cutmix):
            raise ValueError("give mixup or cutmix a value above 0")
        return self


class NeuralRecipe(Recipe):
    """A network and how it is trained.

    input_size: side of the network's input in pixels; None for the size that is chosen for the images.
    min_size: least longer side of the network's input in pixels, to which smaller images are enlarged.
    growing: image sizes over the training, as fractions of the input size, each used for an equal share.
    augment: albumentations by their class names, or those of data/augment.py.
    mix: how images of a batch are blended; None for not at all.
    loss: focal weighs what is already predicted well less; see losses.py.
    class_weights: balanced makes every class count the same in the loss, within bounds; None for no weights.
    sampling: balanced shows images of each class equally often; None shows each image once per epoch.
    pooling: gem replaces the network's global average pooling; None keeps it.
    averaging: time constant of the moving average of the weights, as a fraction of the training; 0 for none.
    norms: whether batch norms learn and take the averages of each ``batch``, or stay ``fixed`` as they are in the
        weights that the training starts from; in a short training they hardly get to know the new images.
    keep: the weights with the ``best`` validation score, or the ``last`` ones.
    holdout: share of the training set held out to choose the checkpoint, in place of the validation set.
    grey: use one channel instead of three if no training image has colour.
    pretrained: the network starts from ImageNet weights (weights.py).
    transfer_from: name of a recipe with the same network; training starts from the newest network that it trained on
        another competition.
    train: see ``Stage``; ``train``, ``optimiser`` and ``schedule`` describe the first stage.
    stages: the later stages.
    views: what predictions are averaged over: the image alone, its flips and rotations, or these and shifts of them.
    grid: tables with other values for some of the recipe's keys; each is trained, and the best on validation is kept.
    tiers: the tiers that a time budget chooses from, cheapest first. It chooses the most expensive tier that still
        trains for ``min_epochs`` epochs and on ``min_images`` images, counting repeats; otherwise the first.
    """

    kind: Literal["neural"]
    network: Named
    input_size: Annotated[int, Field(gt=0, le=10_000)] | None = None
    min_size: Annotated[int, Field(gt=0, le=10_000)] | None = None
    grey: bool = False
    normalise: Literal["unit", "symmetric", "standard", "imagenet", "pretrained"] = "standard"
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
    mix: Mix | None = None
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    class_weights: Literal["balanced"] | None = None
    sampling: Literal["balanced"] | None = None
    pooling: Literal["gem"] | None = None
    growing: tuple[PositiveFloat, ...] = (1.0,)
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    norms: Literal["batch", "fixed"] = "batch"
    keep: Literal["best", "last"] = "best"
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
        """The networks whose ImageNet weights the training starts from."""
        return tuple(self.network.arguments.get("trunks", [self.network.name])) if self.pretrained else ()

    @property
    def points(self) -> "list[NeuralRecipe]":
        """One recipe for each setting that this recipe tries; the recipe itself if it tries only one."""
        return self.grid_points or [self]

    @property
    def grid_points(self) -> list["NeuralRecipe"]:
        """One recipe for each point of the grid. Raises UserError for an unknown key or an invalid value."""
        return [self._at(point) for point in self.grid]

    def _at(self, point: dict[str, Any]) -> "NeuralRecipe":
        table = _merged(self.model_dump() | {"grid": ()}, point)
        try:
            return NeuralRecipe(**table)
        except ValidationError as error:
            fault = describe_fault(error, NeuralRecipe, table)
            raise UserError(f"{self.name}: grid: {fault}; fix the recipe") from None

    def cost(self, workload: "Workload", images: int, has_features: bool = False) -> float:
        """Always 0: a network's cost is not known in advance, since it trains for the time it is given."""
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
            fingerprint=context.fingerprint,
            targets=context.targets,
            ordered=context.ordered,
            sizes=context.sizes,
            soft=context.soft,
        )

    def _load_on_images(self, folder: Path, device: "torch.device | None") -> "Model":
        from pipeline.models.neural.seed_ensemble import SeedEnsemble

        return SeedEnsemble.load(folder, device)


AnyRecipe = Annotated[ClassicalRecipe | NeuralRecipe, Field(discriminator="kind")]


def _merged(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The table with the changes applied, recursively in sub-tables."""
    merged = table | changes
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            merged[key] = _merged(table[key], value)
    return merged


def fingerprint(*parts: object) -> str:
    """A hash of 16 hex digits; equal parts give the same one. Values that JSON cannot hold are hashed as strings."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recipe_names(folder: Path = RECIPES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_recipe(path: Path) -> AnyRecipe:
    """Read one recipe. Raises UserError that names the file and the wrong key."""
    table = read_toml(path)
    if "name" in table:
        raise UserError(f"{path}: name: a recipe takes its name from its file; remove this key")
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
    """Write a recipe so that ``load_recipe`` reads it back unchanged, except for its name.

    remark: comment on the first line.
    Raises UserError if the recipe cannot be read back unchanged; an existing file is then left as it was.
    """
    table = recipe.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    sections = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = [f"# {remark}", *(f"{key} = {_toml(value)}" for key, value in table.items() if key not in sections)]
    for name, section in sections.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in section.items())]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if load_recipe(temporary).model_dump(exclude={"name"}) != recipe.model_dump(exclude={"name"}):
            raise UserError(f"{path}: the recipe would not read back unchanged; write the file by hand")


def _toml(value: Any) -> str:
    """A value in TOML, on one line unless it is a list of tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + "".join(f"    {_toml(each)},\n" for each in value) + "]"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans look the same in TOML


def choose_recipes(patterns: Iterable[str], *further: Path) -> list[AnyRecipe]:
    """The recipes with the given names, patterns (``fashion-*``) or TOML files, each once, in the order given.

    A network, such as ``lite1`` or ``timm/convnext_tiny.fb_in22k_ft_in1k``, stands for the recipe that fine-tunes it.
    further: folders with recipes besides the built-in ones; if a name occurs twice, the last folder wins.
    Raises UserError for a file that is not a recipe, for a pattern without a match (with the nearest names),
    and for two files of the same name.
    """
    known = {path.stem: path for folder in (RECIPES, *further) for path in sorted(folder.glob("*.toml"))}
    chosen: dict[Path | str, None] = {}
    for pattern in patterns:
        if pattern in LITES or is_of_library(pattern):
            chosen[pattern] = None
        else:
            chosen |= dict.fromkeys([_own_file(pattern)] if pattern.endswith(".toml") else _matching(pattern, known))
    recipes = [load_recipe(each) if isinstance(each, Path) else fine_tuning(each) for each in chosen]
    if twice := first_few([name for name, times in Counter(each.name for each in recipes).items() if times > 1]):
        raise UserError(f"--models: several recipes are called {twice}; rename all but one of the files")
    return recipes


def is_of_library(name: str) -> bool:
    """Whether it is the name of a network of timm or torchvision, with the library before it."""
    return name.startswith((TIMM, TORCHVISION)) and not name.endswith(".toml")


def recipe_name(given: str) -> str:
    """The name of the recipe that a word after --models stands for: a name, a TOML file or a library's network."""
    if is_of_library(given):
        return given.replace("/", "-")
    return Path(given).stem if given.endswith(".toml") else given


def fine_tuning(network: str) -> "NeuralRecipe":
    """The recipe that fine-tunes a network. Raises UserError if its library has none of that name."""
    from pipeline.models.networks.backbones import backbone  # here, as it imports PyTorch and the library

    backbone(network)
    table = read_toml(FINE_TUNING) | {"name": recipe_name(network), "network": network}
    table["summary"] = f"{network} with its published weights, fine-tuned as fine-tuning.toml says"
    return check_table(FINE_TUNING, NeuralRecipe, table)


def _own_file(path: str) -> Path:
    own = expanded(path).resolve()
    if not re.fullmatch(NAME, own.stem):
        raise UserError(f"{path}: the name of a recipe may have only letters, digits, _, . and -; rename the file")
    return own


def _matching(pattern: str, known: dict[str, Path]) -> list[Path]:
    matches = [path for name, path in sorted(known.items()) if fnmatchcase(name, pattern)]
    if not matches:
        near = ", ".join(get_close_matches(pattern, known, n=3, cutoff=0.4))
        nearest = ", ".join(get_close_matches(pattern, known, n=3, cutoff=0.0))
        hint = f"did you mean {near}?" if near else f"the nearest are {nearest}; docs/RECIPES.md lists all"
        raise UserError(f"no recipe is called {pattern!r}; {hint}")
    return matches
