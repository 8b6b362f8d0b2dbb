"""Prediction against the plain forward pass.

    python benchmarks/prediction.py [--rounds N]

All sides predict the same images with the same network, averaged over the same views. The plain side is what one would
write first: evaluation mode, torch.inference_mode, torchvision's normalize, batches of 512, one view after the other;
once in float32, PyTorch's default, and once tuned: channels last, in the precision that our side uses. The three take
turns. Prints a line for each case: the medians of their images a second, the median ratios of ours to the other two,
and the largest differences between the probabilities.
"""

import argparse
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from benchmarks.measuring import draw_images, timed
from competition.spec import Symmetries
from pipeline.data.augment import View, resized, views
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.registry import build_network
from pipeline.models.recipe import RECIPES, load_recipe
from pipeline.runtime.devices import choose_device, mixed_precision

Timed = tuple[np.ndarray, float]  # answers and seconds

CLASSES = 10
PLAIN_BATCH = 512
SAMPLE = 64  # images that set the norms
MEAN, STD = (120.0,) * 3, (60.0,) * 3


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
    """One line: our images a second, then each plain pass's, the ratio, and how far its probabilities are off."""
    images, _ = draw_images(case.images, case.size, CLASSES, seed=0)
    network, input_size = network_of(case, images)
    kinds = views(case.symmetries, square=True)
    predictor = Predictor(network, Normalisation(MEAN, STD), input_size, device)
    tuned = deepcopy(network).to(memory_format=torch.channels_last)
    float32 = torch.autocast(device.type, enabled=False)
    sides: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: predictor.predict_proba(images, kinds),
        "plain in float32": lambda: plain_forward_pass(network, images, input_size, kinds, float32),
        "plain, tuned": lambda: plain_forward_pass(tuned, images, input_size, kinds, mixed_precision(device)),
    }
    taken = [{side: timed(work) for side, work in sides.items()} for _ in range(rounds)]
    columns = [f"{case.recipe:17} {case.size} pixels, {len(kinds)} views", speed_of("ours", taken, case.images)]
    columns += [f"{speed_of(side, taken, case.images)}, {against(side, taken)}" for side in list(sides)[1:]]
    print("; ".join(columns))


def speed_of(side: str, taken: list[dict[str, Timed]], images: int) -> str:
    return f"{side} {median(images / each[side][1] for each in taken):,.0f} images/s"


def against(side: str, taken: list[dict[str, Timed]]) -> str:
    ratio = median(each[side][1] / each["ours"][1] for each in taken)
    difference = max(np.abs(each["ours"][0] - each[side][0]).max() for each in taken)
    return f"ratio {ratio:.2f}, probabilities within {difference:.4f}"


def network_of(case: Case, images: np.ndarray) -> tuple[nn.Module, tuple[int, int]]:
    """The case's network, its norms set by some of the images, and the (height, width) that it takes."""
    recipe = load_recipe(RECIPES / f"{case.recipe}.toml")
    input_size = (recipe.input_size or case.size,) * 2
    arguments = recipe.network.arguments | ({"width": case.width} if case.width else {})
    torch.manual_seed(0)
    network = build_network(recipe.network.name, CLASSES, input_size, **arguments)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        network(pixels_of(resized(images[:SAMPLE], *input_size)))
    return network, input_size


@torch.inference_mode()
def plain_forward_pass(
    network: nn.Module, images: np.ndarray, input_size: tuple[int, int], kinds: list[View], precision: torch.autocast
) -> np.ndarray:
    network.eval()
    rows = []
    for start in range(0, len(images), PLAIN_BATCH):
        batch = resized(images[start : start + PLAIN_BATCH], *input_size)
        answers = []
        for view in kinds:
            with precision:
                answers.append(network(pixels_of(view(batch))).float().softmax(1))
        rows.append(torch.stack(answers).mean(0))
    return torch.cat(rows).numpy()


def pixels_of(images: np.ndarray) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    return normalize(pixels, MEAN, STD)


if __name__ == "__main__":
    main()
