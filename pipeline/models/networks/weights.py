"""ImageNet weights: where the file that a network needs is, and whether it is intact and fits.

What is published is known from ``backbones.py``. Eight or more hexadecimal digits at the end of a published file's name
are the beginning of its SHA-256; a file in the cache of the Hugging Face Hub is named by the whole of it.
"""

import hashlib
import importlib.util
import os
import re
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any

import torch
from torch import nn

from competition.errors import UserError, first_few
from competition.progress import Progress
from competition.remembered import remembered
from competition.storage import KAGGLE_INPUT, atomic_write
from competition.wording import fault_in
from pipeline.data.cache import Size
from pipeline.models.networks.backbones import Backbone, WeightsFile, backbone
from pipeline.models.networks.state import (
    AVERAGES,
    SUFFIXES,
    State,
    differences,
    hash_in,
    hashless,
    heads,
    read_state,
)
from pipeline.runtime.memory import raise_shortage

LITE0 = "lite0"
PATIENCE = 5  # seconds without data from the server until a download fails
NOT_FOUND = 404
CHUNK = 1 << 20  # bytes
HUB_STEMS = ("model", "pytorch_model", "open_clip_model", "open_clip_pytorch_model")  # of files on the hub
SHA256 = re.compile(r"[0-9a-f]{64}")


@cache
def weights_file(network: str) -> WeightsFile:
    """The published weights of a network. Raises UserError if there are none."""
    found = backbone(network)
    if found is None or found.weights is None:
        raise UserError(
            f"network {network}: it has no ImageNet weights; choose another, or remove pretrained from its recipe"
        )
    return found.weights


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
    names = first_few(f"{stem}{SUFFIXES[0]} and {stem}-HASH{SUFFIXES[0]}" for stem in stems)
    raise UserError(
        f"--weights {given}: the folder holds no weights for the chosen models; looked for {names} (also "
        f"{', '.join(SUFFIXES[1:])}); rename the file, or give the file itself"
    )


def find_weights(network: str, given: Path | None = None) -> Path:
    """The path of the weights of ``network``, checked.

    The search order is ``given``, the Python package with the weights, the inputs of a Kaggle notebook, and the caches
    of the Hugging Face Hub and of torch; otherwise the file is downloaded to the latter.

    given: a file, which is used if it fits the network, or a folder, in which the file is named like the published one
        with any hash or none, or lies under a name of the hub's in a folder that is named so.
    Raises UserError if no file is found, or if it is damaged or does not fit.
    """
    if given is not None and (own := _in_given(network, given)):
        return own
    wanted = weights_file(network)
    for path in _candidates(wanted):
        _verify(path, wanted)
        if wanted.repository is not None:  # its hash need not be known
            _check_fit(network, path)
        return path
    return _downloaded(wanted)


def load_weights(network: str, given: Path | None = None) -> State:
    """The state dict of ``network``, on the CPU. Raises UserError if the file is missing or not valid."""
    return read_state(find_weights(network, given))[0]


def in_form_of(network: nn.Module, name: str, state: State, shape: Size | None, **arguments: Any) -> State:
    """The weights with the names and shapes of the network's own, or as they are if they cannot be brought into them.

    Libraries publish some weights under older names, and position embeddings are resampled to the network's image size.
    name: of the network, a backbone or not. shape, arguments: those that it was built with.
    """
    found, head = backbone(name), heads(network)
    if found is None or found.converted is None or not differences(network.state_dict(), state, head):
        return state
    for classes in _classes_in(state, head, found):
        try:
            return found.converted(state, classes=classes, shape=shape or found.input_size, **arguments)
        except Exception as error:  # libraries' readers fail in many ways on weights of another network
            raise_shortage(error)
    return state


def _classes_in(state: State, head: Sequence[str], found: Backbone) -> Iterable[int]:
    """The number of classes that the weights were trained on; where they do not say it, all that it may be."""
    named = [value for name, value in state.items() if name.startswith(tuple(f"{each}." for each in head))]
    return [len(named[-1])] if named else [0, found.classes]


@remembered
def described(path: Path) -> str:
    """The path of a file of weights, and what is taken of a file that holds more than one state."""
    _, key = read_state(path)
    return f"{path} (its moving average, {key})" if key in AVERAGES else str(path)


@remembered
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
        _verify(given, wanted)
        return None if _misfit(network, given) else given
    for path in _named(wanted, given):
        _verify(path, wanted)
        _check_fit(network, path)
        return path
    return None


def _check_fit(network: str, path: Path) -> None:
    """Raises UserError if the weights in the file are not those of the network."""
    if misfit := _misfit(network, path):
        raise UserError(f"{path} does not fit {network}: {misfit}; use another file")


def _named(wanted: WeightsFile, folder: Path) -> list[Path]:
    """The files in the folder that are named like the published one, that one first, safetensors before pickles."""
    names = (*wanted.names, wanted.architecture)
    found = [path for path in _weights_in(folder) if _is_named(path, names)]
    return sorted(found, key=lambda path: (path.name != wanted.name, path.suffix != SUFFIXES[-1], path))


def _weights_in(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (Path(place, name) for name in names if name.endswith(SUFFIXES))


def _is_named(path: Path, names: Sequence[str]) -> bool:
    """Whether the file has one of the names; of one with a name of the hub's, whether a folder around it has."""
    spelled = {_spelled(name) for name in names}
    if path.stem in HUB_STEMS:
        return any(_spelled(part) in spelled for part in path.parts[:-1])
    return _spelled(hashless(path.name)) in spelled


def _spelled(name: str) -> str:
    """The name as Kaggle spells it in an address, without what the cache of the Hugging Face Hub puts before it."""
    return re.sub(r"[^a-z0-9]+", "-", name.rpartition("--")[2].lower())


@remembered
def _misfit(network: str, path: Path) -> str:
    """How the weights in the file differ from the network's, whatever the number of classes; empty if they fit."""
    own = _published(network)
    state = in_form_of(own, network, read_state(path)[0], None)
    return differences(own.state_dict(), state, heads(own))


@cache
def _published(network: str) -> nn.Module:
    """The network as it was published, without values; with random ones where timm of 2025 needs some."""
    found = backbone(network)
    assert found is not None
    try:
        with torch.device("meta"):
            return found.build(found.classes, shape=found.input_size)
    except RuntimeError:
        return found.build(found.classes, shape=found.input_size)


def _candidates(wanted: WeightsFile) -> Iterable[Path]:
    """The places where weights are looked for without being told.

    Where a hash is published with the name, only the published file itself is taken.
    """
    yield from _in_package(wanted)
    yield from (path for path in _attached() if _is_published(path, wanted))
    if wanted.repository is not None:
        yield from _in_hub_cache(wanted.repository)
    yield from (path for path in sorted(_torch_cache().glob("*")) if _is_published(path, wanted))


def _is_published(path: Path, wanted: WeightsFile) -> bool:
    if wanted.repository is None:
        return path.name == wanted.name
    return path.suffix in SUFFIXES and _is_named(path, wanted.names)


def _in_package(wanted: WeightsFile) -> list[Path]:
    if wanted.package is None:
        return []
    package = importlib.util.find_spec(wanted.package.replace("-", "_"))
    return [] if package is None or package.origin is None else sorted(Path(package.origin).parent.rglob(wanted.name))


@remembered
def _attached() -> tuple[Path, ...]:
    return tuple(sorted(_weights_in(KAGGLE_INPUT), key=_safe_first))


def _in_hub_cache(repository: str) -> list[Path]:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE, f"models--{repository.replace('/', '--')}", "snapshots")
    return sorted((path for path in _weights_in(folder) if path.stem in HUB_STEMS), key=_safe_first)


def _hub_is_off() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _safe_first(path: Path) -> tuple[bool, Path]:
    """Sorts safetensors before pickles."""
    return path.suffix != ".safetensors", path


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _verify(path: Path, wanted: WeightsFile) -> None:
    """Check the hash that the file was published with; the user's own files may have any name."""
    is_published = path.name == wanted.name or path.parent == _torch_cache()
    blob = path.resolve().name  # in the cache of the Hugging Face Hub
    promised = blob if SHA256.fullmatch(blob) else hash_in(path.name) if is_published else ""
    if not (digest := sha256(path)).startswith(promised):
        raise UserError(
            f"{path} is damaged: its SHA-256 begins with {digest[:8]}, not {promised[:8]}; download it again"
        )


def _downloaded(wanted: WeightsFile) -> Path:
    if not wanted.urls:
        raise UserError(_missing(wanted, "are part of a Python package"))
    if wanted.repository is not None and _hub_is_off():
        raise UserError(_missing(wanted, "are not downloaded, as HF_HUB_OFFLINE is set"))
    for url in wanted.urls:
        try:
            return _fetched(url, wanted)
        except OSError as error:
            reason = getattr(error, "reason", error)
            if getattr(error, "code", None) != NOT_FOUND:
                break
    raise UserError(_missing(wanted, f"cannot be downloaded ({reason})"))


def _fetched(url: str, wanted: WeightsFile) -> Path:
    """Download the file to torch's cache. Raises OSError if it cannot be had, UserError if it is damaged."""
    answer, promised = _opened(url)
    suffix = next(each for each in SUFFIXES if url.endswith(each))
    target = _torch_cache() / (f"{wanted.stem}-{promised}{suffix}" if promised else wanted.name)
    size = round(int(answer.headers.get("Content-Length") or 0) / CHUNK)
    with (
        answer,
        atomic_write(target) as path,
        path.open("wb") as file,
        Progress(desc=wanted.network, unit="MB", total=size) as bar,
    ):
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            bar.update()
    try:
        _verify(target, wanted)
    except UserError:
        target.unlink()
        sha256.cache_clear()
        raise
    return target


def _opened(url: str) -> tuple[HTTPResponse, str]:
    """The server's answer, and the SHA-256 of the file if the server tells it; else an empty string."""
    redirections = _Redirections()
    opener = urllib.request.build_opener(redirections)
    return opener.open(url, timeout=PATIENCE), redirections.sha256


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows redirections, and notes the SHA-256 that the Hugging Face Hub sends with one."""

    sha256 = ""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        etag = headers.get("X-Linked-Etag", "").strip('"')
        self.sha256 = etag if SHA256.fullmatch(etag) else self.sha256
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _missing(wanted: WeightsFile, reason: str) -> str:
    what = f"{wanted.network} needs the ImageNet weights {wanted.name} ({_megabytes(wanted):.0f} MB)"
    return f"{what}, which are not on this machine and {reason}; {wanted.remedy}"


def _megabytes(wanted: WeightsFile) -> float:
    """The size of the file; if it is not published, that of the network's values in float32."""
    values = sum(value.numel() for value in _published(wanted.network).state_dict().values())
    return wanted.megabytes or 4 * values / 1e6
