"""The pipeline on a GPU: its tests, training and prediction, as one Markdown table within four minutes.

    python benchmarks/gpu.py [--output FILE.md] [--device cuda|cpu]

Runs the tests marked ``gpu``, then trains sprint and EfficientNet-Lite0 (weights drawn at random) on drawn images in
mixed precision: images a second of the training loop, of bare steps of the same network on ready tensors, and of
prediction, each beside the peak memory. Last, the GPU's probabilities are compared with the CPU's. A measurement that
fails becomes a line of the table, and the others go on. ``--device cpu`` runs the same path on tiny inputs, to try the
script; its figures mean nothing.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.measuring import draw_images, peak_memory, timed
from pipeline.commands import run_main
from pipeline.models.networks.registry import build_network
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.neural.optimisers import build_optimisers
from pipeline.models.recipe import RECIPES, NeuralRecipe, load_recipe
from pipeline.runtime.devices import choose_device, mixed_precision, product_precision
from pipeline.settings import Parser

CLASSES = 10
TESTS_SECONDS = 60  # for the tests marked gpu
TESTS = ["-m", "pytest", "-m", "gpu", "-q", "--override-ini", "addopts=--import-mode=importlib"]
MARK = "mark.gpu"
COMPARED = 256  # images that the CPU predicts, too

Row = tuple[str, str]


@dataclass(frozen=True)
class Case:
    """One network on drawn images.

    side: pixels of the drawn images, which the network also takes. copies: how often each is repeated.
    steps: of the bare side, after as many that warm up.
    """

    recipe: NeuralRecipe
    side: int
    images: int
    copies: int
    epochs: int
    steps: int

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """uint8 ``[images * copies, side, side, 3]`` and labels int64; the same at every call."""
        images, labels = draw_images(self.images, self.side, CLASSES, seed=1)
        return np.tile(images, (self.copies, 1, 1, 1)), np.tile(labels, self.copies)

    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """A few other images of the same classes."""
        return draw_images(min(self.images, COMPARED), self.side, CLASSES, seed=2)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as work:
        rows = [tried("tests marked `gpu`", lambda: run_tests(ROOT / "tests"))]
        for case in cases(small=device.type == "cpu"):
            rows += measure(case, device, Path(work) / case.recipe.name)
    table = markdown(heading(device), rows)
    if options.output:
        options.output.write_text(table, encoding="utf-8")
    print(table, end="")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="also write the table to this file")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: tiny inputs, to try the script")
    return parser.parse_args(arguments)


def cases(small: bool) -> list[Case]:
    """Sprint and EfficientNet-Lite0, at full size from the start, all of it learning."""
    sprint = load_recipe(RECIPES / "sprint.toml").model_copy(update={"growing": (1.0,), "tiers": ()})
    changes = {"pretrained": False, "train": "all", "stages": ()}
    lite0 = load_recipe(RECIPES / "efficientnet-lite0.toml").model_copy(update=changes)
    if small:
        tiny = {"input_size": 32, "batch_size": 8}
        return [Case(each.model_copy(update=tiny), 32, 32, 1, 2, 1) for each in (sprint, lite0)]
    return [Case(sprint, 64, 5000, 8, 6, 100), Case(lite0, 128, 2500, 4, 4, 100)]


def measure(case: Case, device: torch.device, folder: Path) -> list[Row]:
    """All rows of one network."""
    name, trained = case.recipe.name, NetworkRun(case, device, folder)
    return [
        tried(f"{name}: training loop, {case.side} pixels, batches of {case.recipe.batch_size}", trained.train),
        tried(f"{name}: bare steps of the same network", lambda: bare_speed(case, device)),
        tried(f"{name}: prediction, all views", trained.predict),
        tried(f"{name}: probabilities, {device.type} against cpu", trained.compare),
    ]


def tried(what: str, measurement: Callable[[], str]) -> Row:
    """What was measured and its result; the error in one line where it failed."""
    try:
        result, seconds = timed(measurement)
    except Exception as error:  # whatever it is, the others are still worth measuring
        reason = " ".join(str(error).split())[:200]
        return what, f"failed: {type(error).__name__}: {reason}".replace("|", "/")
    print(f"{what}: {result}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return what, result


def run_tests(folder: Path) -> str:
    """pytest's last line, of the tests marked ``gpu`` in a folder. Raises RuntimeError where one failed.

    Only files with such tests are imported: the others may need packages that this machine has not.
    """
    files = [str(path) for path in sorted(folder.rglob("test_*.py")) if MARK in path.read_text(encoding="utf-8")]
    command = [sys.executable, *TESTS, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TESTS_SECONDS)
    last = (done.stdout.strip() or done.stderr.strip() or "pytest said nothing").splitlines()[-1].strip("= ")
    if done.returncode != 0:
        raise RuntimeError(last)
    return last


class NetworkRun:
    """One network, trained by the pipeline itself, and what it predicts."""

    def __init__(self, case: Case, device: torch.device, folder: Path) -> None:
        self.case, self.device, self.folder = case, device, folder

    def train(self) -> str:
        """The median speed of all epochs but the first, as history.csv has it."""
        self.folder.mkdir(parents=True)
        plan = NetworkPlan(epochs=self.case.epochs)
        network = NeuralNetwork(self.case.recipe, CLASSES, self.folder, plan=plan, device=self.device)
        start_measuring_memory(self.device)
        network.fit(*self.case.draw(), *self.case.held_out()).save(self.folder)
        with (self.folder / "history.csv").open(newline="", encoding="utf-8") as file:
            history = list(csv.DictReader(file))
        speed = median(float(row["images_per_second"]) for row in history[1:])
        accuracy = float(history[-1]["validation_accuracy"])
        return f"{with_memory(speed, self.device)}, accuracy on drawn images {accuracy:.2f}"

    def predict(self) -> str:
        """Images a second over all views; the second time, as the first one warms up."""
        network, (images, _) = NeuralNetwork.load(self.folder, self.device), self.case.draw()
        network.predict_proba(images)
        start_measuring_memory(self.device)
        _, seconds = timed(lambda: network.predict_proba(images))
        return with_memory(len(images) / seconds, self.device)

    def compare(self) -> str:
        """The largest difference between the probabilities of the two devices."""
        images, _ = self.case.held_out()
        ours, reference = (
            NeuralNetwork.load(self.folder, device).predict_proba(images)
            for device in (self.device, torch.device("cpu"))
        )
        same = float((ours.argmax(axis=1) == reference.argmax(axis=1)).mean())
        return f"largest difference {np.abs(ours - reference).max():.4f}, {same:.1%} of the labels equal"


def bare_speed(case: Case, device: torch.device) -> str:
    """Steps on tensors that lie on the device: no gathering, augmenting, averaging or validating."""
    images, labels = case.draw()
    torch.manual_seed(0)
    shape = (case.side, case.side)
    network = build_network(case.recipe.network.name, CLASSES, shape, **case.recipe.network.arguments)
    network = network.to(device, memory_format=torch.channels_last).train()
    size = min(case.recipe.batch_size, len(images))
    inputs = torch.from_numpy(images[:size]).to(device).permute(0, 3, 1, 2).float().sub(120).div(60)
    targets = torch.from_numpy(labels[:size]).to(device)
    start_measuring_memory(device)
    step = bare_step(case.recipe, network, device)
    for _ in range(case.steps):
        step(inputs, targets)
    wait_for(device)
    begun = time.perf_counter()
    for _ in range(case.steps):
        step(inputs, targets)
    wait_for(device)
    return with_memory(case.steps * size / (time.perf_counter() - begun), device)


def bare_step(
    recipe: NeuralRecipe, network: nn.Module, device: torch.device
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """One step as a plain loop has it, in the loop's precision and with its optimisers."""
    optimisers = build_optimisers(network, recipe.optimiser)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> None:
        with mixed_precision(device):
            logits = network(inputs)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        for optimiser in optimisers:
            scaler.step(optimiser)
        scaler.update()

    return step


def start_measuring_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def with_memory(images_per_second: float, device: torch.device) -> str:
    """The speed, and the most memory that was in use: of the GPU since it was last asked, or of this process."""
    peak = torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else peak_memory()
    return f"{images_per_second:,.0f} images/s, peak {peak:,} MB"


def heading(device: torch.device) -> str:
    """The machine, the versions and the precision."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"
    precision = str(product_precision(device)).removeprefix("torch.")
    return f"{name}, PyTorch {torch.__version__}, CUDA {torch.version.cuda or 'none'}, products in {precision}"


def markdown(title: str, rows: list[Row]) -> str:
    lines = [f"| {what} | {result} |" for what, result in rows]
    return "\n".join([title, "", "| measurement | result |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    run_main(main)
