"""Fixtures: small competitions in Kaggle's format, with images that any model can classify after training."""

import os

# Two test processes share two cores, so each of them and its child processes use one thread. Libraries read this when
# they are imported.
for _library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
os.environ["OPENCV_FOR_THREADS_NUM"] = os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import csv
import gc
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from filelock import FileLock

from competition.stand_in.sandbox import Limits, Sandbox
from competition.stand_in.server import StandIn
from pipeline.runtime import devices
from tests.stand_in import client_environment, hosted, kaggle

torch.set_num_threads(1)
torch.set_num_interop_threads(1)

LONG = ("test_recipes.py", "test_distributed.py", "test_kaggle_day.py", "test_train_and_predict.py", "test_tune.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long tests first, so that no test process waits for the other one at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish() -> None:
    """What is imported and collected stays: garbage collection need not go through it again and again."""
    gc.freeze()


IMAGE_FOLDERS = {
    "split_images": {"train": "train_images", "val": "val_images", "test": "test_images"},
    "split": {"train": "train", "val": "validation", "test": "test"},
    "images": dict.fromkeys(("train", "val", "test"), "images"),
    "beside": dict.fromkeys(("train", "val", "test"), "."),
}


def _write_csv(path: Path, rows: Iterable[Sequence]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _picture(
    label: int, classes: int, size: tuple[int, int], generator: np.random.Generator, variety: float
) -> np.ndarray:
    """BGR uint8 ``[H, W, 3]``: the class sets hue and width of the stripes; noise and the stripes' phase vary."""
    width, height = size
    hsv = np.full((1, 1, 3), (180 * label / classes, 200, 160), np.uint8)
    colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR).astype(np.float32)
    stripes = np.sin((np.arange(width) + generator.integers(width)) * 2 * np.pi / (3 + label % 5))
    noise = generator.normal(0, 15, (height, width, 3))
    return (colour + variety * (40 * stripes[None, :, None] + noise)).clip(0, 255).astype(np.uint8)


def _names(split: str, count: int, generator: np.random.Generator) -> list[str]:
    """Names of images: distinct five-digit numbers in train and val, random hexadecimal digits in test."""
    if split == "test":
        return [generator.bytes(6).hex() for _ in range(count)]
    start = {"train": 0, "val": 50_000}[split]
    return [f"{number:05d}" for number in range(start, start + count)]


def _make_competition(
    folder: Path,
    classes: Sequence[str | int] = ("ant", "bee", "cat"),
    train: int = 30,
    val: int = 9,
    test: int = 12,
    size: tuple[int, int] = (16, 16),
    extension: str = ".png",
    layout: str = "split_images",
    seed: int = 0,
    with_sample: bool = True,
    with_val: bool = True,
    ids_with_extension: bool = True,
    variety: float = 1.0,
) -> Path:
    """Write a competition with the columns Image and Class, and its test labels to ``<folder>_answers.csv``.

    train, val, test: number of images; size: (width, height) in pixels; layout: a key of ``IMAGE_FOLDERS``.
    variety: how much images of one class differ; at 0 each image is a single colour.
    """
    generator = np.random.default_rng(seed)
    rows = {}
    for split, count in {"train": train, "val": val * with_val, "test": test}.items():
        images = folder / IMAGE_FOLDERS[layout][split]
        if count:
            images.mkdir(parents=True, exist_ok=True)
        names = _names(split, count, generator)
        labels = generator.permutation(np.arange(count) % len(classes))
        for name, label in zip(names, labels, strict=True):
            picture = _picture(label, len(classes), size, generator, variety)
            (images / f"{name}{extension}").write_bytes(cv2.imencode(extension.lower(), picture)[1])
        ids = [name + extension * ids_with_extension for name in names]
        rows[split] = [(image_id, classes[label]) for image_id, label in zip(ids, labels, strict=True)]
    _write_csv(folder / "train.csv", [("Image", "Class"), *rows["train"]])
    if with_val:
        _write_csv(folder / "val.csv", [("Image", "Class"), *rows["val"]])
    _write_csv(folder / "test.csv", [("Image",), *(row[:1] for row in rows["test"])])
    if with_sample:
        guesses = [(image_id, classes[0]) for image_id, _ in rows["test"]]
        _write_csv(folder / "sample_submission.csv", [("Image", "Class"), *guesses])
    answers = [(*row, "Private" if place % 10 > 2 else "Public") for place, row in enumerate(rows["test"])]
    _write_csv(folder.with_name(f"{folder.name}_answers.csv"), [("Image", "Class", "Usage"), *answers])
    return folder


@pytest.fixture(scope="session", autouse=True)
def freed_memory_is_given_back() -> Iterator[None]:
    """Commands set their process to keep freed memory. A process that runs all the tests would need too much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "_keep_freed_memory", lambda: None)
        yield


@pytest.fixture(scope="session")
def make_competition() -> Callable[..., Path]:
    """A function that writes a competition into a folder and returns the folder."""
    return _make_competition


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A function that fills a folder once for all test processes and returns it. Tests must not change the folder."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder_of(name: str, fill: Callable[[Path], object]) -> Path:
        folder = root / f"once-{name}"
        with FileLock(f"{folder}.lock"):
            if not folder.with_suffix(".made").exists():
                folder.mkdir()
                fill(folder)
                folder.with_suffix(".made").touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The sandbox in which kernels run, with the same Python as the tests."""
    return Sandbox(Path(sys.executable), Limits(seconds=300, gigabytes=4))


@pytest.fixture(scope="session")
def needs_sandbox(sandbox) -> None:
    """Skips the test if this machine cannot run kernels."""
    if sandbox.problem:
        pytest.skip(f"this machine cannot run kernels ({sandbox.problem})")


@pytest.fixture
def stand_in(make_competition, sandbox, tmp_path) -> Iterator[StandIn]:
    """A running stand-in for Kaggle's server that hosts the competition insects; its state is in ``tmp_path``."""
    insects = hosted(make_competition(tmp_path / "hosted" / "insects"))
    with StandIn(insects, tmp_path / "state", sandbox=sandbox) as server:
        yield server


@pytest.fixture
def client(stand_in, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs the real ``kaggle`` client in ``tmp_path``, with an empty home folder."""
    return partial(kaggle, client_environment(stand_in, tmp_path / "home"), cwd=tmp_path)
