"""The networks by name, built but not trained.

The last child of each network is its head, the dense layers; everything before it is its trunk.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import nn

from competition.errors import UserError
from pipeline.data.cache import Size
from pipeline.models.networks.backbones import LITES, PLAIN, Backbone, backbone
from pipeline.models.networks.cnn import cnn
from pipeline.models.networks.pretrained import Fusion
from pipeline.models.networks.sprint import Sprint
from pipeline.models.networks.vgg import vgg
from pipeline.models.recipe import TIMM, TORCHVISION
from pipeline.runtime.memory import is_out_of_memory

OWN: dict[str, Callable[..., nn.Module]] = {"cnn": cnn, "sprint": Sprint, "vgg": vgg, "fusion": Fusion}
NETWORKS = (*OWN, *LITES, *PLAIN)


def build_network(name: str, classes: int, shape: Size, channels: int = 3, **arguments: Any) -> nn.Module:
    """The network of that name for ``classes`` classes and images ``[N, channels, *shape]``, shape (height, width).

    The name is one of NETWORKS, or that of a library's network after ``timm/`` or ``torchvision/``.
    Raises UserError for an unknown name or argument, and for images of a size that the network does not take. If memory
    runs out, PyTorch's error is raised; see ``is_out_of_memory``.
    """
    found = backbone(name)
    if found is None and name not in OWN:
        libraries = f"or a library's after {TIMM} or {TORCHVISION}"
        raise UserError(f"no network is called {name!r}; choose one of {', '.join(NETWORKS)}, {libraries}")
    build = OWN[name] if found is None else found.build
    asked_for = signature(build).parameters
    if channels != 3 and "channels" not in asked_for:
        raise UserError(f"network {name} takes three channels; remove grey = true from the recipe")
    arguments |= {key: value for key, value in {"shape": shape, "channels": channels}.items() if key in asked_for}
    try:
        network = build(classes, **arguments)
        _try_out(network, channels, shape)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise _refusal_of(shape, name, found, error) from None
    return network


def is_for_one_size(name: str) -> bool:
    """Whether the network is built for one image size, as those are that connect every pixel to a dense layer."""
    return name in OWN and "shape" in signature(OWN[name]).parameters


def _refusal_of(shape: Size, name: str, found: Backbone | None, error: Exception) -> UserError:
    """The error for what a network does not take: an argument, or images of that size."""
    size, reason = f"images of {shape[0]}x{shape[1]} pixels", str(error).partition("\n")[0]
    if found is not None and found.takes_one_size and not isinstance(error, TypeError):
        remedy = f"set input_size = {found.input_size[0]} in the recipe"
        return UserError(f"network {name} does not take {size} ({reason}); {remedy}")
    if isinstance(error, TypeError | ValueError):
        return UserError(f"network {name}: {reason}; fix the recipe")
    remedy = "use larger ones with --size PX or with input_size in the recipe"
    return UserError(f"network {name}: {size} are too small for it ({reason}); {remedy}")


@torch.inference_mode()
def _try_out(network: nn.Module, channels: int, shape: tuple[int, int]) -> None:
    network.eval()(torch.zeros(1, channels, *shape))
    network.train()
