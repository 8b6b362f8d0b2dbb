"""Generalised-mean pooling in place of a network's global average.

F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (arXiv:1711.02512).
"""

from typing import Any

import torch
from torch import Tensor, nn

from competition.errors import UserError

FIRST_EXPONENT = 3.0  # as in the paper; 1 is the average, infinity the maximum
SMALLEST = 1e-6  # of the values that are raised to a power


class GlobalAverage(nn.Module):
    """The mean of each channel: ``[N, C, H, W]`` to ``[N, C]``."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


class GeM(nn.Module):
    """The generalised mean of each channel ``[N, C, H, W]``, with an exponent that is learnt.

    flat: whether the output is ``[N, C]`` and not ``[N, C, 1, 1]``.
    """

    def __init__(self, flat: bool = False) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.full((1,), FIRST_EXPONENT))
        self.flat = flat

    def forward(self, maps: Tensor) -> Tensor:
        powers = maps.float().clamp(min=SMALLEST).pow(self.exponent)
        return powers.mean((2, 3), keepdim=not self.flat).pow(1 / self.exponent)


def with_gem(network: nn.Module, name: str) -> nn.Module:
    """The network, whose last global average pooling is replaced.

    name: of the network, for the error. Raises UserError if none of its layers is such a pooling.
    """
    found = [(place, flat) for place, layer in network.named_modules() if (flat := _flattens(layer)) is not None]
    inner = tuple(
        f"{place}." for place, layer in network.named_modules() if type(layer).__name__ == "SqueezeExcitation"
    )
    found = [(place, flat) for place, flat in found if not place.startswith(inner)]
    if not found:
        raise UserError(f"network {name}: it has no layer of global average pooling; remove pooling from the recipe")
    place, flat = found[-1]
    network.set_submodule(place, GeM(flat))
    return network


def _flattens(layer: nn.Module) -> bool | None:
    """Whether a layer of global average pooling gives ``[N, C]``; None if the layer is another one."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return False if layer.output_size in (1, (1, 1)) else None
    if isinstance(layer, GlobalAverage):
        return True
    timms: Any = layer
    if type(layer).__name__ == "FastAdaptiveAvgPool" and tuple(timms.dim) == (2, 3):  # of maps [N, C, H, W]
        return bool(timms.flatten)
    return None
