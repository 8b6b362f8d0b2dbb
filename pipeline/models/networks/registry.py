"""The networks by name, built but not trained.

The last child of each network is its head, the dense layers; everything before it is its trunk.
"""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import nn

from competition.errors import UserError
from pipeline.models.networks.cnn import cnn
from pipeline.models.networks.lite0 import Lite0
from pipeline.models.networks.pretrained import TORCHVISION, Fusion, from_torchvision
from pipeline.models.networks.sprint import Sprint
from pipeline.models.networks.vgg import vgg
from pipeline.runtime.memory import is_out_of_memory

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "cnn": cnn,
    "sprint": Sprint,
    "vgg": vgg,
    "lite0": Lite0,
    "fusion": Fusion,
}
NETWORKS |= {name: partial(from_torchvision, name) for name in TORCHVISION}


def build_network(name: str, classes: int, shape: tuple[int, int], channels: int = 3, **arguments: Any) -> nn.Module:
    """The network of that name for ``classes`` classes and images ``[N, channels, *shape]``, shape (height, width).

    Raises UserError for an unknown name or argument, and for images that are too small. If memory runs out,
    PyTorch's error is raised; see ``is_out_of_memory``.
    """
    if name not in NETWORKS:
        raise UserError(f"no network is called {name!r}; choose one of {', '.join(NETWORKS)}")
    asked_for = signature(NETWORKS[name]).parameters
    if channels != 3 and "channels" not in asked_for:
        raise UserError(f"network {name} takes three channels; remove grey = true from the recipe")
    arguments |= {key: value for key, value in {"shape": shape, "channels": channels}.items() if key in asked_for}
    try:
        signature(NETWORKS[name]).bind(classes, **arguments)
    except TypeError as error:
        raise UserError(f"network {name}: {error}; fix the recipe") from None
    try:
        network = NETWORKS[name](classes, **arguments)
        _try_out(network, channels, shape)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise UserError(
            f"network {name}: images of {shape[0]}x{shape[1]} pixels are too small for it ({reason}); "
            "use larger ones with --size PX or with input_size in the recipe"
        ) from None
    return network


def takes_one_size(name: str) -> bool:
    """Whether the network is built for one image size, as those are that connect every pixel to a dense layer."""
    return name in NETWORKS and "shape" in signature(NETWORKS[name]).parameters


@torch.inference_mode()
def _try_out(network: nn.Module, channels: int, shape: tuple[int, int]) -> None:
    network.eval()(torch.zeros(1, channels, *shape))
    network.train()
