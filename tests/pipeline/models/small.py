"""A small sample and small networks, for the tests of these."""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.models.networks.registry import build_network
from pipeline.models.recipe import RECIPES, NeuralRecipe, Tier, load_recipe

CLASSES = 4
ARGUMENTS = {
    "sprint": {"width": 8},
    "vgg": {"conv_dropout": 0.6, "head_dropout": 0.7},
    "cnn": {"filters": [8, 12, 16], "norm": "before", "pool": [2, 2, 1], "dense": [16]},
    "fusion": {"trunks": ["alexnet", "mobilenet_v2"], "spatial": 2, "dense": [8], "dropout": 0.5},
}
TINTS = np.array([[120, 0, 0], [0, 120, 0], [0, 0, 120], [60, 60, 60]])
Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw(count: int, seed: int, shape: tuple[int, int] = (16, 16)) -> tuple[np.ndarray, np.ndarray]:
    """A tint for each class, in noise, brighter to the left."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(seed).integers(0, 96, (count, *shape, 3))
    light = np.linspace(39, 0, shape[1]).astype(int)[:, None]
    return (TINTS[labels, None, None] + noise + light).astype(np.uint8), labels


LADDER = [{"size": 0.5, "width": 8}, {"size": 1.0, "width": 8}, {"size": 1.0, "width": 12}]
NARROW = Tier(size=1.0, width=8)
SAMPLE: Sample = *draw(64, seed=1), *draw(24, seed=2)


def sprint(**changes) -> NeuralRecipe:
    """The recipe that ships, with small batches and little averaging."""
    changes = {"batch_size": 16, "averaging": 0.1} | changes
    recipe = load_recipe(RECIPES / "sprint.toml")
    return NeuralRecipe(**(recipe.model_dump() | changes))


def small_network(name: str) -> nn.Module:
    """Any one of NETWORKS, for ``tinted_noise`` and five classes."""
    return build_network(name, 5, (64, 64), **ARGUMENTS.get(name, {}))


def tinted_noise() -> Tensor:
    """Eight images of 64 pixels a side, as a network takes them, each with a tint of its own."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 1, 1, generator=generator) + torch.randn(8, 3, 64, 64, generator=generator)
