"""What each choice of sprint gains: the recipe as it ships against the recipe with one choice taken back.

    python benchmarks/choices.py [--competition NAME|FOLDER|ZIP] [--data ZIP] [--width 32] [--seconds 250] [--seeds 1]

Every variant is a network of that width, trained for that many seconds and measured on the validation images. They take
turns, seed by seed. Prints a line for each training, then a table of the medians.
"""

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measuring import competition_arguments
from competition.sources import open_competition
from competition.spec import Competition
from pipeline.command_lines import train_settings
from pipeline.commands import run_main
from pipeline.data.training_data import TrainingData, open_training_data
from pipeline.models.networks.sprint import Group, Sprint
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.recipe import RECIPES, NeuralRecipe, Tier, load_recipe
from pipeline.parser import Parser, existing, positive
from pipeline.runtime.devices import choose_device
from pipeline.training.scores import text_table
from pipeline.training.symmetries import settle_symmetries

SHIPPED = load_recipe(RECIPES / "sprint.toml")


@dataclass(frozen=True)
class Variant:
    """recipe: other values for some of its keys; network: changes the network that was built."""

    recipe: Mapping[str, Any] = field(default_factory=dict)
    network: Callable[[Sprint], object] = lambda network: None


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    settings = train_settings(competition_arguments(options))
    device = choose_device("cpu")
    competition = open_competition(**settings.source)
    training_data = open_training_data(competition, settings)
    competition = settle_symmetries(competition, [SHIPPED], training_data, settings, device)
    accuracies: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for seed in range(options.seeds):
        for name, variant in VARIANTS.items():
            accuracies[name].append(trained(variant, competition, training_data, options, seed))
            print(f"{name:<{WIDEST}}  seed {seed}  {accuracies[name][-1]:.4f}", flush=True)
    print(table({name: median(values) for name, values in accuracies.items()}))


def parse(arguments: list[str]) -> Namespace:
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--competition", default="cifar10", metavar="NAME|FOLDER|ZIP", help="default: cifar10")
    parser.add_argument("--data", type=existing, metavar="FOLDER|ZIP", help="where the competition's files are")
    parser.add_argument("--width", type=positive, default=32, metavar="N", help="filters of the first group")
    parser.add_argument("--seconds", type=positive, default=250, metavar="N", help="seconds for each training")
    parser.add_argument("--seeds", type=positive, default=1, metavar="N")
    return parser.parse_args(arguments)


class Altered(NeuralNetwork):
    """A network that is changed after it is built."""

    alter: Callable[[Sprint], object]

    def _build_network(self, width: int | None = None) -> nn.Module:
        network = super()._build_network(width)
        self.alter(network)
        return network


def trained(
    variant: Variant, competition: Competition, training_data: TrainingData, options: Namespace, seed: int
) -> float:
    """The validation accuracy that the variant ends with."""
    (train, validation), labels = training_data.splits[0], training_data.labels
    seen, truth = training_data.images.subset(validation), labels[validation]
    plan = NetworkPlan(
        deadline=time.monotonic() + options.seconds, predictions_after=1, tier=Tier(size=1.0, width=options.width)
    )
    with tempfile.TemporaryDirectory() as folder:
        model = Altered(recipe_of(variant), len(competition.classes), Path(folder), competition.symmetries, plan, seed)
        model.alter = variant.network
        model.fit(training_data.images.subset(train), labels[train], seen, truth)
    return float((model.predict_proba(seen).argmax(axis=1) == truth).mean())


def recipe_of(variant: Variant) -> NeuralRecipe:
    return SHIPPED.model_copy(update={"grid": (dict(variant.recipe),)}).grid_points[0]


def with_random_filters(network: Sprint) -> None:
    """The first layer learns, from random filters."""
    network.whiten.weight.requires_grad_(True)
    network.initialise_from = lambda images: None


def with_learning_scales(network: Sprint) -> None:
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.weight.requires_grad_(True)


class PlainGroup(Group):
    """A group without the connection."""

    def forward(self, features: Tensor) -> Tensor:
        features = F.relu(self.norm1(F.max_pool2d(self.conv1(features), 2)))
        return F.relu(self.norm3(self.conv3(F.relu(self.norm2(self.conv2(features))))))


def without_connections(network: Sprint) -> None:
    for group in network.groups:
        group.__class__ = PlainGroup


def with_the_same_head_for_all(network: Sprint) -> None:
    network.head_scale = 0.19


def without(augmentation: str) -> Variant:
    return Variant({"augment": [step.model_dump() for step in SHIPPED.augment if step.name != augmentation]})


VARIANTS = {
    "as it ships": Variant(),
    "one view in prediction": Variant({"views": "one"}),
    "without shifts in training": without("Shift"),
    "without flips and turns in training": without("Symmetries"),
    "full size from the start": Variant({"growing": [1.0]}),
    "three quarters, then full size": Variant({"growing": [0.75, 1.0]}),
    "without averaged weights": Variant({"averaging": 0.0}),
    "without label smoothing": Variant({"label_smoothing": 0.0}),
    "Muon at 0.06": Variant({"optimiser": {"lr": 0.06}}),
    "Muon at 0.24": Variant({"optimiser": {"lr": 0.24}}),
    "warm-up of a fifth": Variant({"schedule": {"warmup": 0.2}}),
    "SGD at 0.1 for Muon": Variant({"optimiser": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}}),
    "Adam at 0.003 for Muon": Variant({"optimiser": {"name": "adam", "lr": 0.003}}),
    "batches of 512": Variant({"batch_size": 512}),
    "random first filters": Variant(network=with_random_filters),
    "norms that scale": Variant(network=with_learning_scales),
    "without connections": Variant(network=without_connections),
    "a head as for ten classes": Variant(network=with_the_same_head_for_all),
}
WIDEST = max(map(len, VARIANTS))


def table(accuracies: Mapping[str, float]) -> str:
    """Each variant's accuracy, and the gain of the choice that it takes back."""
    [shipped, *_] = accuracies.values()
    rows = [(name, f"{value:.4f}", f"{shipped - value:+.4f}") for name, value in accuracies.items()]
    return text_table(("variant", "accuracy", "gain of the choice"), rows)


if __name__ == "__main__":
    run_main(main)
