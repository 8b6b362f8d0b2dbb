"""The pipeline on a GPU: its tests, training and prediction, as one Markdown table within four minutes.

    python benchmarks/gpu.py [--output FILE.md] [--device cuda|mps|cpu]

Runs the tests marked ``gpu``, then works on drawn pictures, with weights drawn at random:

- seconds until sprint is right for a set share of pictures of CIFAR-10's kind: 32 pixels, ten classes, at any place;
- sprint, EfficientNet-Lite0 and a ResNet-50 of timm (of torchvision, if timm is missing): images a second of the
  training loop, of bare steps of the same network on ready tensors (in mixed precision, in float32, compiled), of
  prediction and of bare forward passes, each beside the peak memory; the GPU's answers beside the CPU's;
- a training for whose batches the memory is too small, and the plain command on all GPUs.

A measurement that fails, or for which no time is left, becomes a line of the table, and the others go on.
``--device cpu`` runs the same lines of code on tiny inputs, to try the script; its figures mean nothing.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cv2
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
from pipeline.parser import Parser
from pipeline.runtime.devices import choose_device, compiled, gradient_scaler, mixed_precision, product_precision

CLASSES = 10
LAST_START = 200.0  # seconds; no measurement begins later
TESTS_SECONDS = 60  # for the tests marked gpu
COMMAND_SECONDS = 60  # for the plain command
TESTS = ["-m", "pytest", "-m", "gpu", "-q", "--override-ini", "addopts=--import-mode=importlib"]
MARK = "mark.gpu"
COMPARED = 64  # images that the CPU predicts, too
WARMING = 10  # bare steps that are not measured
TARGET = 0.9  # accuracy on pictures of CIFAR-10's kind
LITTLE = 2 << 30  # bytes of memory, for batches that need more

Row = tuple[str, str]
Drawn = tuple[np.ndarray, np.ndarray]  # uint8 [N, side, side, 3] and labels int64 [N]


@dataclass(frozen=True)
class Case:
    """One network on drawn images.

    side: pixels of the drawn images, which the network also takes. copies: how often each is repeated.
    steps: of the bare side.
    """

    recipe: NeuralRecipe
    side: int
    images: int
    copies: int
    epochs: int
    steps: int

    def draw(self) -> Drawn:
        """The same at every call."""
        images, labels = draw_images(self.images, self.side, CLASSES, seed=1)
        return np.tile(images, (self.copies, 1, 1, 1)), np.tile(labels, self.copies)

    def held_out(self) -> Drawn:
        """A few other images of the same classes."""
        return draw_images(min(self.images, COMPARED), self.side, CLASSES, seed=2)


def main(arguments: list[str]) -> None:
    options, begun = parse(arguments), time.monotonic()
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        table = Table(begun + LAST_START)
        table.add("tests marked `gpu`", lambda: run_tests(ROOT / "tests"))
        fill(table, device, Path(folder))
    text = markdown(heading(device), table.rows)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    print(text, end="")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="also write the table to this file")
    parser.add_argument(
        "--device", choices=("cuda", "mps", "cpu"), default="cuda", help="cpu: tiny inputs, to try the script"
    )
    return parser.parse_args(arguments)


def fill(table: "Table", device: torch.device, work: Path) -> None:
    """Measure everything but the tests."""
    is_small = device.type == "cpu"
    sprint, lite0, resnet = cases(is_small)
    learn = Pictures(device, work / "pictures", *((80, 1) if is_small else (20_000, 10)))
    table.add(f"sprint on pictures of 32 pixels: seconds to {TARGET:.0%}", learn.seconds_to_target)
    for case in (sprint, lite0, resnet):
        measure(table, case, device, work / case.recipe.name)
    table.add("lite0 with little memory", lambda: train_with_little_memory(lite0, device, work / "little"))
    table.add("train.py with two networks", lambda: run_command(device, work / "command"))
    for case in (sprint, resnet):  # last, as compiling takes longest
        table.add(f"{case.recipe.name}: bare steps, compiled", Bare(case, device, is_compiled=True).train)


def cases(small: bool) -> list[Case]:
    """Networks at full size from the start, all of each learning."""
    sprint = load_recipe(RECIPES / "sprint.toml").model_copy(update={"growing": (1.0,), "tiers": ()})
    changes = {"pretrained": False, "train": "all", "stages": ()}
    lite0 = load_recipe(RECIPES / "efficientnet-lite0.toml").model_copy(update=changes)
    name, library = "resnet18" if small else "resnet50", "timm" if find_spec("timm") else "torchvision"
    network = lite0.network.model_copy(update={"name": f"{library}/{name}"})
    resnet = lite0.model_copy(update={"name": name, "network": network, "input_size": 224, "augment": ()})
    if small:
        tiny = {"input_size": 32, "batch_size": 8}
        return [Case(each.model_copy(update=tiny), 32, 32, 1, 2, 1) for each in (sprint, lite0, resnet)]
    return [Case(sprint, 64, 5000, 4, 4, 40), Case(lite0, 128, 2500, 2, 3, 40), Case(resnet, 224, 750, 2, 3, 15)]


def measure(table: "Table", case: Case, device: torch.device, folder: Path) -> None:
    """All rows of one network."""
    name, trained, bare = case.recipe.name, NetworkRun(case, device, folder), Bare(case, device)
    table.add(f"{name}: training loop, {case.side} pixels, batches of {case.recipe.batch_size}", trained.train)
    table.add(f"{name}: bare steps of the same network", bare.train)
    table.add(f"{name}: bare steps in float32", replace(bare, is_mixed=False).train)
    table.add(f"{name}: prediction, one view", trained.predict)
    table.add(f"{name}: bare forward passes", bare.predict)
    table.add(f"{name}: probabilities, {device.type} against cpu", trained.compare)


class Table:
    """The rows that are measured. end: when the last one begins, on the clock of ``time.monotonic``."""

    def __init__(self, end: float) -> None:
        self.end = end
        self.rows: list[Row] = []

    def add(self, what: str, measurement: Callable[[], str]) -> None:
        """What was measured and its result; the error in one line where it failed."""
        if time.monotonic() > self.end:
            self.rows.append((what, "left out: no time is left"))
            return
        try:
            result, seconds = timed(measurement)
        except Exception as error:  # whatever it is, the others are still worth measuring
            reason = " ".join(str(error).split())[:200]
            self.rows.append((what, f"failed: {type(error).__name__}: {reason}".replace("|", "/")))
            return
        print(f"{what}: {result}, {seconds:.0f} s", file=sys.stderr, flush=True)
        self.rows.append((what, result))


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


@dataclass(frozen=True)
class Pictures:
    """Sprint, learning pictures of CIFAR-10's kind: 32 pixels, ten classes, each of them anywhere in the picture."""

    device: torch.device
    folder: Path
    images: int
    epochs: int

    def seconds_to_target(self) -> str:
        reached: list[float] = []
        begun = time.monotonic()

        def note(progress: float, accuracy: float) -> None:
            if accuracy >= TARGET:
                reached.append(time.monotonic() - begun)

        recipe = load_recipe(RECIPES / "sprint.toml").model_copy(update={"tiers": ()})
        plan = NetworkPlan(epochs=self.epochs)
        network = NeuralNetwork(recipe, CLASSES, self.folder, plan=plan, device=self.device, on_epoch=note)
        data = *self.draw(self.images, seed=1), *self.draw(self.images // 10, seed=2)
        self.folder.mkdir(parents=True)
        begun = time.monotonic()
        network.fit(*data)
        first = f"{reached[0]:.1f} s" if reached else "not reached"
        return f"{first}; {network.best_score:.3f} after {time.monotonic() - begun:.1f} s"

    def draw(self, count: int, seed: int) -> Drawn:
        """The pattern of the class, mirrored or not, more or less faint at a random place of a smooth picture."""
        patterns = np.random.default_rng(0).normal(128, 60, (CLASSES, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
        pictures, labels = draw_images(count, 32, CLASSES, seed)
        rng = np.random.default_rng(seed)
        for picture, label, (top, left) in zip(pictures, labels, rng.integers(0, 17, (count, 2)), strict=True):
            strength, pattern = rng.uniform(0.2, 0.8), patterns[label][:, :: rng.choice((-1, 1))]
            place = picture[top : top + 16, left : left + 16]
            place[:] = np.clip((1 - strength) * place + strength * pattern, 0, 255)
        return pictures, labels


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
        """Images a second; the second time, as the first one warms up."""
        network, (images, _) = NeuralNetwork.load(self.folder, self.device), self.case.draw()
        network.predict_proba(images, test_time_views=False)
        start_measuring_memory(self.device)
        _, seconds = timed(lambda: network.predict_proba(images, test_time_views=False))
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


@dataclass(frozen=True)
class Bare:
    """A plain loop of the case's network on tensors that lie on the device: nothing is gathered or augmented."""

    case: Case
    device: torch.device
    is_mixed: bool = True
    is_compiled: bool = False

    def train(self) -> str:
        network, inputs, targets = self._prepared()
        step = self._step(network.train())
        start_measuring_memory(self.device)
        return self._speed(lambda: step(inputs, targets), len(inputs))

    def predict(self) -> str:
        network, inputs, _ = self._prepared()
        network.eval()

        def forward() -> None:
            with torch.inference_mode(), mixed_precision(self.device):
                network(inputs)

        start_measuring_memory(self.device)
        return self._speed(forward, len(inputs))

    def _prepared(self) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
        """The network, and images and labels of one batch, all on the device."""
        recipe, shape, (images, labels) = self.case.recipe, (self.case.side,) * 2, self.case.draw()
        torch.manual_seed(0)
        network = build_network(recipe.network.name, CLASSES, shape, **recipe.network.arguments)
        network = network.to(self.device, memory_format=torch.channels_last)
        size = min(recipe.batch_size, len(images))
        inputs = torch.from_numpy(images[:size]).to(self.device).permute(0, 3, 1, 2).float().sub(120).div(60)
        return network, inputs, torch.from_numpy(labels[:size]).to(self.device)

    def _step(self, network: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], None]:
        """One step as a plain loop has it, with the recipe's optimisers."""
        recipe, scaler = self.case.recipe, gradient_scaler(self.device)
        optimisers = build_optimisers(network, recipe.optimiser)
        learner = compiled(network, self.device) if self.is_compiled else network

        def step(inputs: torch.Tensor, targets: torch.Tensor) -> None:
            with mixed_precision(self.device) if self.is_mixed else nullcontext():
                logits = learner(inputs)
            loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            for optimiser in optimisers:
                scaler.step(optimiser)
            scaler.update()

        return step

    def _speed(self, work: Callable[[], None], images: int) -> str:
        for _ in range(min(WARMING, self.case.steps)):
            work()
        wait_for(self.device)
        begun = time.perf_counter()
        for _ in range(self.case.steps):
            work()
        wait_for(self.device)
        return with_memory(self.case.steps * images / (time.perf_counter() - begun), self.device)


def train_with_little_memory(case: Case, device: torch.device, folder: Path) -> str:
    """How many images fit in the end, in a training whose whole batches need more memory than it may take."""
    images, labels = case.draw()
    recipe = case.recipe.model_copy(update={"batch_size": len(images) // 8})
    folder.mkdir(parents=True)
    network = NeuralNetwork(recipe, CLASSES, folder, plan=NetworkPlan(epochs=1), device=device)
    limit_memory(device, LITTLE)
    try:
        network.fit(images, labels, *case.held_out())
    finally:
        limit_memory(device, None)
    (segment,) = network.trained
    return f"{recipe.batch_size // segment.parts} of the {recipe.batch_size} images of a batch fit"


def limit_memory(device: torch.device, most: int | None) -> None:
    """Let this process take so many bytes of a CUDA device; None: all."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(1.0 if most is None else min(1.0, most / whole), device)


def run_command(device: torch.device, folder: Path) -> str:
    """The seconds of train.py with two networks, which several GPUs train side by side; two processes on a CPU."""
    case = Case(cases(small=True)[0].recipe, 32, 500, 1, 1, 1)
    write_competition(folder, *case.draw())
    options = ["--competition", folder, "--work", folder, "--device", device.type, "--epochs", "2"]
    command = [sys.executable, ROOT / "pipeline" / "train.py", *options, "--models", "cifar-cnn-base", "dhc-cnn-3x32"]
    variables = os.environ | ({"STAND_IN_DEVICES": "2"} if device.type == "cpu" else {})
    done, seconds = timed(
        lambda: subprocess.run(command, env=variables, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    together = [line for line in done.stdout.splitlines() if "ranks train together" in line]
    trained = sum(" on validation, trained" in line for line in done.stdout.splitlines())
    return f"{together[0] if together else 'one process'}; {trained} networks in {seconds:.0f} s"


def write_competition(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """A contest of PNG files: train.csv, and test.csv with a few of the same."""
    folder.mkdir(parents=True)
    (folder / "images").mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
    lines = [f"{number}.png,{label}" for number, label in enumerate(labels)]
    (folder / "train.csv").write_text("\n".join(["Image,Class", *lines]), encoding="utf-8")
    (folder / "test.csv").write_text(
        "\n".join(["Image", *(line.partition(",")[0] for line in lines[:10])]), encoding="utf-8"
    )


def start_measuring_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def with_memory(images_per_second: float, device: torch.device) -> str:
    """The speed, and the most memory that was in use: of the GPU since it was last asked, or of this process."""
    peak = torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else peak_memory()
    return f"{images_per_second:,.0f} images/s, peak {peak:,} MB"


def heading(device: torch.device) -> str:
    """The machine, the versions and the precision."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {os.cpu_count()} cores"
    precision = str(product_precision(device)).removeprefix("torch.")
    return f"{name}, PyTorch {torch.__version__}, CUDA {torch.version.cuda or 'none'}, products in {precision}"


def markdown(title: str, rows: list[Row]) -> str:
    lines = [f"| {what} | {result} |" for what, result in rows]
    return "\n".join([title, "", "| measurement | result |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    run_main(main)
