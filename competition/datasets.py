"""Public data sets, written as Kaggle competitions.

fashion-mnist: 60,000 / 10,000 grey 28x28, labels 0 to 9 (Xiao et al. 2017).
cifar10: 50,000 / 10,000 RGB 32x32, labels by name (Krizhevsky 2009).
eurosat: 27,000 RGB 64x64, labels by name, a stratified 20 % of them as test split (Helber et al. 2019).
"""

import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from competition.containers.idx import idx_array
from competition.errors import UserError
from competition.progress import Progress
from competition.splits import stratified_rows
from competition.storage import build_folder
from competition.tables import write_table
from competition.task import Label
from competition.wording import fault_in, printable

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
_PUBLIC = 0.3
_CHUNK = 250


@dataclass(frozen=True)
class Pictures:
    """Labelled images. read: returns image ``i`` as uint8, grey ``[H, W]`` or BGR ``[H, W, 3]``."""

    labels: Sequence[Label]
    read: Callable[[int], np.ndarray]

    def take(self, rows: np.ndarray) -> "Pictures":
        """The given rows, in the given order."""
        return Pictures([self.labels[row] for row in rows], lambda place: self.read(rows[place]))


def write_dataset(name: str, folder: Path, answers: Path, fetched: Path) -> None:
    """Fill ``folder`` with one of ``DATASETS`` as a competition, and ``answers`` with its test labels.

    fetched: the folder for torchvision's downloads. Raises UserError if the download fails.
    """
    train, test = DATASETS[name](fetched)
    write_competition(name, train, test, folder, answers)


def write_competition(name: str, train: Pictures, test: Pictures, folder: Path, answers: Path, seed: int = 0) -> None:
    """Write CSVs and PNGs to ``folder``; the test labels (``Image,Class,Usage``) to ``answers``.

    30 % of the test images are Public, the rest Private. The images are shuffled and renamed, so that neither
    name nor time stamp gives a class away.
    """
    generator = np.random.default_rng(seed)
    train, test = (pictures.take(generator.permutation(len(pictures.labels))) for pictures in (train, test))
    train_ids = [f"{number:05d}.png" for number in range(len(train.labels))]
    test_ids = [f"{uuid.UUID(bytes=generator.bytes(16), version=4)}.png" for _ in test.labels]
    is_public = generator.permutation(len(test_ids)) < round(_PUBLIC * len(test_ids))
    usage = np.where(is_public, "Public", "Private")
    for split, ids, pictures in (("train", train_ids, train), ("test", test_ids, test)):
        _write_images(f"writing {name} ({split})", folder / f"{split}_images", ids, pictures)
    guesses = [min(train.labels)] * len(test_ids)
    write_table(folder / "train.csv", {"Image": train_ids, "Class": train.labels})
    write_table(folder / "test.csv", {"Image": test_ids})
    write_table(folder / "sample_submission.csv", {"Image": test_ids, "Class": guesses})
    write_table(answers, {"Image": test_ids, "Class": test.labels, "Usage": usage})


def _write_images(title: str, folder: Path, names: Sequence[str], pictures: Pictures) -> None:
    folder.mkdir(parents=True)

    def write(rows: range) -> int:
        for row in rows:
            (folder / names[row]).write_bytes(cv2.imencode(".png", pictures.read(row))[1].tobytes())
        return len(rows)

    chunks = [range(start, min(start + _CHUNK, len(names))) for start in range(0, len(names), _CHUNK)]
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress(total=len(names), desc=title, unit="image") as bar,
    ):
        for written in pool.map(write, chunks):
            bar.update(written)


def _fashion_mnist(fetched: Path) -> tuple[Pictures, Pictures]:
    folder = DEBIAN_FASHION_MNIST
    if not folder.is_dir():

        def download(root: Path) -> None:
            from torchvision.datasets import FashionMNIST

            FashionMNIST(root, download=True)

        folder = _fetch("fashion-mnist", fetched, download) / "FashionMNIST" / "raw"
    return idx_pictures(folder, "train"), idx_pictures(folder, "t10k")


def idx_pictures(folder: Path, part: str) -> Pictures:
    """Read one part (``train`` or ``t10k``) of a data set that is stored in MNIST's gzipped idx files."""
    images, labels = (idx_array(folder / f"{part}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    return Pictures(labels.tolist(), images.__getitem__)


def _cifar10(fetched: Path) -> tuple[Pictures, Pictures]:
    from torchvision.datasets import CIFAR10

    root = _fetch("cifar10", fetched, lambda root: CIFAR10(root, download=True))

    def pictures(train: bool) -> Pictures:
        part = CIFAR10(root, train=train)
        bgr = part.data[..., ::-1]
        return Pictures([part.classes[target] for target in part.targets], bgr.__getitem__)

    return pictures(True), pictures(False)


def _eurosat(fetched: Path) -> tuple[Pictures, Pictures]:
    from torchvision.datasets import EuroSAT

    images = EuroSAT(_fetch("eurosat", fetched, lambda root: EuroSAT(root, download=True)))
    test_rows = stratified_rows(np.array(images.targets), round(0.2 * len(images)), seed=0)
    train_rows = np.setdiff1d(np.arange(len(images)), test_rows)
    labels = [images.classes[target] for target in images.targets]
    every = Pictures(labels, lambda row: _read_image(Path(images.samples[row][0])))
    return every.take(train_rows), every.take(test_rows)


def _read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise fault_in(path, "not a readable image", "remove the data set's folder to download it again")
    return image


def _fetch(name: str, fetched: Path, download: Callable[[Path], object]) -> Path:
    """The folder of torchvision's files. A download that fails leaves nothing behind."""
    try:
        return build_folder(fetched / name, download)
    except (OSError, RuntimeError) as error:
        fault = f"the data set {name} could not be downloaded ({printable(error)})"
        raise UserError(f"{fault}; give a copy of it, a folder or ZIP with train.csv, with --data") from error


DATASETS: dict[str, Callable[[Path], tuple[Pictures, Pictures]]] = {
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "eurosat": _eurosat,
}
