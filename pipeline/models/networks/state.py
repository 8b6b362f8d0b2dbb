"""State dicts: read from a file in any of the usual forms, and compared with a network's own."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from competition.errors import first_few
from competition.wording import fault_in, listed
from pipeline.runtime.memory import raise_shortage

State = dict[str, Tensor]

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
AVERAGES = ("state_dict_ema", "model_ema")  # a moving average of the weights, which is better than the last ones
WRAPPERS = (*AVERAGES, "state_dict", "model_state_dict", "model")  # keys of a training script's checkpoint, best first
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile and Lightning


def read_state(path: Path) -> tuple[State, str]:
    """The weights in a file, in float32 on the CPU, and the key that they were under; an empty key if under none.

    Programs in the file are never executed. Raises UserError if it is damaged or holds no finite weights.
    """
    try:
        content, key = _unwrapped(_content(path))
        state = {_bare_name(str(name)): _as_float32(each) for name, each in content.items() if isinstance(each, Tensor)}
        odd = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    except Exception as error:  # torch and safetensors raise many kinds of error for a file of another format
        raise_shortage(error)
        reason = str(error).partition("\n")[0] or type(error).__name__
        reason = "PyTorch finds no plain weights in it" if "weights_only" in reason else reason
        raise fault_in(path, f"not a file of weights ({reason})", "download it again or save a state_dict()") from None
    if not state:
        raise fault_in(path, f"no weights in it, only {listed(content) or 'nothing'}", "save a network's state_dict()")
    if odd:
        raise fault_in(path, f"{listed(odd)} has values that are not finite", "use another file")
    return state, key


def _content(path: Path) -> dict[Any, Any]:
    if path.suffix == ".safetensors":
        return load_file(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):  # torch ignores the checksums
        raise ValueError(f"the checksum of {damaged} is wrong")
    return content if isinstance(content, dict) else {}


def _unwrapped(content: dict[Any, Any]) -> tuple[dict[Any, Any], str]:
    """The innermost state dict, and the outermost key that leads to it."""
    key = next((key for key in WRAPPERS if isinstance(content.get(key), dict)), "")
    return (_unwrapped(content[key])[0], key) if key else (content, "")


def _bare_name(name: str) -> str:
    """The name as this pipeline's networks have it."""
    while name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return re.sub(r"(^|\.)_", r"\1", name)


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def hashless(name: str) -> str:
    """The name of a file of weights without its suffix and hash."""
    return _without_suffix(name).removesuffix(f"-{hash_in(name)}")


def hash_in(name: str) -> str:
    """The hash in the name of a file of weights, eight or more hexadecimal digits after a dash; empty if none."""
    found = re.search(r"-([0-9a-f]{8,})$", _without_suffix(name))
    return found[1] if found else ""


def _without_suffix(name: str) -> str:
    suffix = next((each for each in SUFFIXES if name.endswith(each)), "")
    return name.removesuffix(suffix)


def heads(network: nn.Module) -> tuple[str, ...]:
    """The names of the modules that give the logits: as timm's configuration says, else the last child."""
    named = getattr(network, "pretrained_cfg", {}).get("classifier")
    if named is None:
        return (last_child(network),)
    return (named,) if isinstance(named, str) else tuple(named)


def last_child(network: nn.Module) -> str:
    """The name of the network's head, its last child."""
    return [name for name, _ in network.named_children()][-1]


def differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor], head: str | Sequence[str] = ()) -> str:
    """The first weights outside the head that a network and a state do not share; empty if they share all.

    own: the network's state dict. head: names of children or layers; empty if everything must fit.
    """
    free = tuple(f"{each}." for each in ([head] if isinstance(head, str) else head))
    counters = ("num_batches_tracked", "n_averaged", "exponent")  # missing in old files, or not of the network
    names = [name for name in {**own, **state} if not name.startswith(free) and not name.endswith(counters)]
    found = (_difference(name, own.get(name), state.get(name)) for name in names)
    return first_few([each for each in found if each], most=2)


def _difference(name: str, own: Tensor | None, given: Tensor | None) -> str:
    if own is None:
        return f"the network has no {name}"
    if given is None:
        return f"{name} is missing"
    shapes = ("x".join(map(str, each.shape)) or "one value" for each in (given, own))
    return "" if given.shape == own.shape else "{} is {} and not {}".format(name, *shapes)
