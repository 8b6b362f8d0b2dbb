"""A small sample and a quick sprint, for the tests of networks."""

import numpy as np

from pipeline.models.recipe import RECIPES, NeuralRecipe, Rung, load_recipe

CLASSES = 4
TINTS = np.array([[120, 0, 0], [0, 120, 0], [0, 0, 120], [60, 60, 60]])
Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw(count: int, seed: int, shape: tuple[int, int] = (16, 16)) -> tuple[np.ndarray, np.ndarray]:
    """A tint for each class, in noise, brighter to the left."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(seed).integers(0, 96, (count, *shape, 3))
    light = np.linspace(39, 0, shape[1]).astype(int)[:, None]
    return (TINTS[labels, None, None] + noise + light).astype(np.uint8), labels


LADDER = [{"size": 0.5, "width": 8}, {"size": 1.0, "width": 8}, {"size": 1.0, "width": 12}]
NARROW = Rung(size=1.0, width=8)
SAMPLE: Sample = *draw(64, seed=1), *draw(24, seed=2)


def sprint(**changes) -> NeuralRecipe:
    """The recipe that ships, with small batches and little averaging."""
    changes = {"batch_size": 16, "averaging": 0.1} | changes
    recipe = load_recipe(RECIPES / "sprint.toml")
    return NeuralRecipe(**(recipe.model_dump() | changes))
