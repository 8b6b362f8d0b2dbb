"""Prediction against the plain forward pass.

    python benchmarks/prediction.py [--rounds N]

Both sides answer the same images with the same network, averaged over the same views, in the same precision and
channels last. The plain side is what one would write first: evaluation mode, torch.inference_mode, autocast,
torchvision's normalize, batches of 512, one view after the other. The two take turns; a line a case with the medians
of their images a second, the median ratio and the largest difference between their probabilities.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch import nn
from torchvision.transforms.functional import normalize

from competition.spec import Symmetries
from pipeline.devices import choose_device, mixed_precision
from pipeline.images.augment import View, resized, views
from pipeline.models.inference import predict
from pipeline.models.networks import build_network
from pipeline.models.normalisation import Normalisation
from pipeline.models.recipe import RECIPES, load_recipe

CLASSES = 10
PLAIN_BATCH = 512
MEAN, DEVIATION = (120.0,) * 3, (60.0,) * 3


@dataclass(frozen=True)
class Case:
    """images: how many, of size pixels a side. width: of sprint; None leaves the recipe's network."""

    recipe: str
    width: int | None
    size: int
    symmetries: Symmetries
    images: int


CASES = [
    Case("sprint", 64, 64, "all", 512),
    Case("sprint", 64, 64, "mirror", 1024),
    Case("sprint", 64, 32, "all", 1024),
    Case("sprint", 64, 32, "mirror", 2048),
    Case("dhc-cnn32", None, 64, "none", 8192),
    Case("eurosat-mobilenet", None, 64, "none", 4096),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    device = choose_device("cpu")
    for case in CASES:
        compare(case, rounds, device)


def compare(case: Case, rounds: int, device: torch.device) -> None:
    network, full = network_of(case)
    images = np.random.default_rng(0).integers(0, 256, (case.images, case.size, case.size, 3), np.uint8)
    kinds = views(case.symmetries, square=True)
    normalise = Normalisation(MEAN, DEVIATION)
    ours, plain, differences = [], [], []
    for _ in range(rounds):
        expected, seconds = timed(lambda: plain_forward_pass(network, images, full, device, kinds))
        plain.append(case.images / seconds)
        found, seconds = timed(lambda: predict(network, images, normalise, full, device, kinds))
        ours.append(case.images / seconds)
        differences.append(np.abs(found - expected).max())
    ratio = median(one / other for one, other in zip(ours, plain, strict=True))
    print(
        f"{case.recipe:17} {case.size} pixels, {len(kinds)} views: {median(ours):8,.0f} images/s, plain "
        f"{median(plain):8,.0f} images/s, ratio {ratio:.2f}; probabilities differ by at most {max(differences):.4f}"
    )


def network_of(case: Case) -> tuple[nn.Module, tuple[int, int]]:
    """The case's network, channels last, and the (height, width) that it takes."""
    recipe = load_recipe(RECIPES / f"{case.recipe}.toml")
    full = (recipe.input_size or case.size,) * 2
    arguments = recipe.network.arguments | ({"width": case.width} if case.width else {})
    torch.manual_seed(0)
    network = build_network(recipe.network.name, CLASSES, full, **arguments)
    return network.to(memory_format=torch.channels_last), full


@torch.inference_mode()
def plain_forward_pass(
    network: nn.Module, images: np.ndarray, full: tuple[int, int], device: torch.device, kinds: list[View]
) -> np.ndarray:
    network.eval()
    rows = []
    for start in range(0, len(images), PLAIN_BATCH):
        batch = resized(images[start : start + PLAIN_BATCH], *full)
        answers = []
        for view in kinds:
            pixels = torch.from_numpy(np.ascontiguousarray(view(batch))).permute(0, 3, 1, 2).float()
            with mixed_precision(device):
                answers.append(network(normalize(pixels, MEAN, DEVIATION)).float().softmax(1))
        rows.append(torch.stack(answers).mean(0))
    return torch.cat(rows).numpy()


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


if __name__ == "__main__":
    main()
