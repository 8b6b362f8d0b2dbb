"""The training loop against the same network stepped in a bare loop on ready tensors.

    python benchmarks/training_loop.py [--size PX] [--batches N] [--rounds N]

Both sides train sprint on the same batches with the same optimisers, in the same precision, in a process set up as
``train.py`` does it. The loop also gathers, resizes and augments uint8 images, averages the weights and shows its
progress; the bare side only steps. The two take turns. Prints a line for each round, then the median ratio of their
images a second.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.data.augment import chain, shift, symmetric
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.registry import build_network
from pipeline.models.neural.batches import LabelledImages
from pipeline.models.neural.optimisers import build_optimisers
from pipeline.models.neural.time_budget import Segment
from pipeline.models.neural.training import Training
from pipeline.models.recipe import RECIPES, NeuralRecipe, load_recipe
from pipeline.runtime.devices import choose_device, mixed_precision

NORMALISATION = Normalisation((120.0,) * 3, (60.0,) * 3)


def main() -> None:
    options = parse()
    device = choose_device("cpu")
    recipe = load_recipe(RECIPES / "sprint.toml")
    images = random_images(options.batches * recipe.batch_size, options.size)
    ratios = []
    for number in range(options.rounds):
        bare = bare_speed(recipe, images, device)
        loop = loop_speed(recipe, images, options.batches, device)
        ratios.append(loop / bare)
        print(f"round {number + 1}: loop {loop:,.0f} images/s, bare {bare:,.0f} images/s, ratio {ratios[-1]:.3f}")
    print(f"median ratio {median(ratios):.3f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--batches", type=int, default=20, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def random_images(count: int, size: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(rng.integers(0, 256, (count, size, size, 3), np.uint8), rng.integers(0, 10, count))


def network(recipe: NeuralRecipe, shape: tuple[int, int]) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(recipe.network.name, 10, shape, **recipe.network.arguments)


def loop_speed(recipe: NeuralRecipe, images: LabelledImages, batches: int, device: torch.device) -> float:
    """Images a second of one segment, as history.csv says it."""
    shape = images.images.shape[1:3]
    with tempfile.TemporaryDirectory() as folder:
        augment = chain([shift(0.0625), symmetric("mirror")])
        predictor = Predictor(network(recipe, shape), NORMALISATION, shape, device)
        training = Training(predictor, recipe, augment, seed=0, folder=Path(folder))
        training.run(images, images.take(np.arange(8)), [Segment(max(shape), batches, 0.0, 0.5)], "loop")
        return training.history.records[0].images_per_second


def bare_speed(recipe: NeuralRecipe, images: LabelledImages, device: torch.device) -> float:
    stepped = network(recipe, images.images.shape[1:3]).to(memory_format=torch.channels_last).train()
    optimisers = build_optimisers(stepped, recipe.optimiser)
    inputs = NORMALISATION(images.images, device).split(recipe.batch_size)
    targets = torch.from_numpy(images.labels).split(recipe.batch_size)
    begun = time.monotonic()
    for batch, labels in zip(inputs, targets, strict=True):
        with mixed_precision(device):
            logits = stepped(batch)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
    return len(images) / (time.monotonic() - begun)


if __name__ == "__main__":
    main()
