"""Seconds to a validation accuracy: sprint in this pipeline, and ResNet-18 as one would write it without.

    python benchmarks/against_resnet.py [--competition NAME|FOLDER|ZIP] [--data ZIP] [--target 0.95] [--budget 90s]
                                        [--limit-minutes 60] [--every 100] [--precision float32|bfloat16]

Sprint's side is a whole run of ``pipeline/train.py --models sprint --budget TIME``, from the start of its process to
its end, decoding and caching included. It counts if the accuracy at its end reaches the target. It multiplies in
bfloat16 where the processor does so natively.

The other side is torchvision's ResNet-18 from scratch, with what a notebook usually has around it: a Dataset that
reads image files with cv2, albumentations, a DataLoader with two workers, Adam, batches of 64, all in float32 or, with
``--precision bfloat16``, under autocast. Every doubtful choice favours it: its imports are not timed, the clock stops
while it is evaluated within an epoch, and it ends at the first evaluation that reaches the target.

Both run on the CPU, with the same images, unpacked beforehand, and the same validation images. Prints a line for each
evaluation, then the ratio, or a lower bound where the other side does not reach the target within its limit.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the internet for a newer one

import albumentations
import cv2
import torch
import torch.nn.functional as F
from albumentations.pytorch import ToTensorV2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18

from benchmarks.measuring import competition_arguments
from competition.errors import UserError
from competition.sources import open_competition
from competition.spec import Split
from pipeline.command_lines import train_settings
from pipeline.commands import run_main
from pipeline.data.training_data import TrainingData, open_training_data
from pipeline.parser import Parser, existing, positive
from pipeline.training.runs import RunFolder, options_of, run_name

BATCH = 64
WORKERS = 2
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Evaluation:
    """seconds: on the clock so far; accuracy: on the validation images."""

    seconds: float
    accuracy: float

    def __str__(self) -> str:
        return f"{self.seconds:7.1f} s  {self.accuracy:.4f}"


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as work:
        command = train_arguments(options, work)
        settings = train_settings(command)
        competition = open_competition(**settings.source)
        runs = settings.runs_folder(competition.name)
        sprint = run_sprint(command, RunFolder(runs / run_name("sprint", options_of(settings))))
        check_reached(sprint, options.target)
        training_data = open_training_data(competition, settings)
        evaluations = train_resnet(training_data, len(competition.classes), options.every, options.precision)
        resnet = watch(evaluations, options.target, 60 * options.limit_minutes)
    print(verdict(sprint, resnet, options.target))


def parse(arguments: list[str]) -> Namespace:
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--competition", default="eurosat", metavar="NAME|FOLDER|ZIP", help="default: eurosat")
    parser.add_argument("--data", type=existing, metavar="FOLDER|ZIP", help="where the competition's files are")
    parser.add_argument("--target", type=float, default=0.95, metavar="SHARE", help="validation accuracy to reach")
    parser.add_argument("--budget", default="90s", metavar="TIME", help="wall clock of sprint's whole run")
    parser.add_argument("--limit-minutes", type=float, default=60, metavar="M", help="how long ResNet-18 may take")
    parser.add_argument("--every", type=positive, default=100, metavar="N", help="also evaluate it every N steps")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of ResNet-18")
    return parser.parse_args(arguments)


def train_arguments(options: Namespace, work: str) -> list[str]:
    chosen = ["--models", "sprint", "--budget", options.budget, "--device", "cpu", "--work", work]
    return [*competition_arguments(options), *chosen]


def run_sprint(command: list[str], folder: RunFolder) -> Evaluation:
    """Run train.py and print what it adds to ``history.csv`` in ``folder``. Returns seconds and accuracy at its end.

    Raises UserError where it trained nothing.
    """
    begun, shown = time.monotonic(), 0
    process = subprocess.Popen([sys.executable, ROOT / "pipeline" / "train.py", *command])
    while process.returncode is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
        seconds, accuracies = time.monotonic() - begun, validation_accuracies(folder.fold(".").history)
        for accuracy in accuracies[shown:]:
            print(f"sprint     {Evaluation(seconds, accuracy)}", flush=True)
        shown = len(accuracies)
    run = folder.finished()
    if process.returncode or run is None:
        raise UserError("pipeline/train.py trained no sprint; fix what it reports above")
    print(f"sprint     {Evaluation(seconds, run.score.value)}, the whole run", flush=True)
    return Evaluation(seconds, run.score.value)


def check_reached(sprint: Evaluation, target: float) -> None:
    """Raises UserError where the run ended below the target, so that there is nothing to compare."""
    if sprint.accuracy < target:
        raise UserError(f"sprint ended at {sprint.accuracy:.4f}, short of {target}; give it a larger --budget")


def validation_accuracies(history: Path) -> list[float]:
    """One for each epoch so far; none before the first has ended."""
    if not history.exists():
        return []
    with history.open(newline="", encoding="utf-8") as file:
        return [float(row["validation_accuracy"]) for row in csv.DictReader(file)]


class ImageFiles(Dataset):
    """Image files that are read and augmented one by one, whenever they are asked for."""

    def __init__(self, split: Split, transform: albumentations.Compose) -> None:
        self.paths, self.labels, self.transform = split.paths, split.labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image = cv2.cvtColor(cv2.imread(str(self.paths[row])), cv2.COLOR_BGR2RGB)
        return self.transform(image=image)["image"], int(self.labels[row])


class Stopwatch:
    """Seconds since it was made, without the pauses."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._begun += time.monotonic() - begun


def train_resnet(training_data: TrainingData, classes: int, every: int, precision: str) -> Iterator[Evaluation]:
    """Train without end; evaluate after every epoch and, with the clock stopped, every ``every`` steps."""
    torch.manual_seed(0)
    clock = Stopwatch()
    training, validation = loaders(training_data)
    network = resnet18(num_classes=classes)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    while True:
        for step, (images, labels) in enumerate(training, start=1):
            with mixed:
                logits = network(images)
            loss = F.cross_entropy(logits.float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % every == 0:
                with clock.paused():
                    accuracy = evaluate(network, validation, mixed)
                yield Evaluation(clock.seconds, accuracy)
        accuracy = evaluate(network, validation, mixed)
        yield Evaluation(clock.seconds, accuracy)


def loaders(training_data: TrainingData) -> tuple[DataLoader, DataLoader]:
    """Shuffled, augmented training images, and validation images. Images of other sizes are resized."""
    height, width = training_data.images.shape[1:3]
    plain = [albumentations.Resize(height, width), albumentations.Normalize(), ToTensorV2()]
    affine = albumentations.Affine(  # by the defaults of the former ShiftScaleRotate
        translate_percent=(-0.0625, 0.0625),
        scale=(0.9, 1.1),
        rotate=(-45, 45),
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.5,
    )
    augmented = [albumentations.HorizontalFlip(), affine, *plain]
    (train, validation), *_ = training_data.splits
    shared = {"batch_size": BATCH, "num_workers": WORKERS, "persistent_workers": True}
    return (
        DataLoader(
            ImageFiles(training_data.split.take(train), albumentations.Compose(augmented)),
            shuffle=True,
            drop_last=True,
            **shared,
        ),
        DataLoader(ImageFiles(training_data.split.take(validation), albumentations.Compose(plain)), **shared),
    )


@torch.inference_mode()
def evaluate(network: nn.Module, validation: DataLoader, mixed: torch.autocast) -> float:
    """Accuracy on the validation images; the network goes on training afterwards."""
    network.eval()
    with mixed:
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in validation)
    network.train()
    return right / len(validation.dataset)


def watch(evaluations: Iterable[Evaluation], target: float, limit: float) -> Evaluation:
    """Print the evaluations as they come. Returns the first that reaches the target or comes after the limit.

    limit: seconds.
    """
    for evaluation in evaluations:
        print(f"ResNet-18  {evaluation}", flush=True)
        if evaluation.accuracy >= target or evaluation.seconds >= limit:
            break
    return evaluation


def verdict(sprint: Evaluation, resnet: Evaluation, target: float) -> str:
    """How many times as fast sprint reached the target; a lower bound where the other side did not reach it."""
    ratio = resnet.seconds / sprint.seconds
    if resnet.accuracy < target:
        other, times = f"not within {resnet.seconds:.0f} s", f"more than {ratio:.1f}"
    else:
        other, times = f"{resnet.seconds:.0f} s", f"{ratio:.1f}"
    return f"to {target}: sprint {sprint.seconds:.0f} s, ResNet-18 {other}: sprint is {times} times as fast"


if __name__ == "__main__":
    run_main(main)
