"""Grad-CAM: which parts of an image a convolutional network's answer rests on.

R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-Based Localization"
(arXiv:1610.02391, 2017).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_SIDE = 4  # cells of a map; a coarser one says little about places
SLACK = 1.5  # by how much the cells' aspect ratio may differ from the image's, as convolutions round sizes


@dataclass(eq=False)
class _Seen:
    """The output of one call of a module: its name, whether it is a vector, and its cells if it is a map."""

    name: str
    is_vector: bool
    cells: tuple[int, int] | None


@dataclass(eq=False)
class _Kept:
    """The output of the last call of one module."""

    maps: list[Tensor] = field(default_factory=list)

    def __call__(self, _: nn.Module, __: Any, output: Tensor) -> Tensor:
        self.maps = [output]
        return output.clone()  # what later layers change in place is the copy


def grad_cam(network: nn.Module, images: Tensor, weights: Tensor) -> np.ndarray | None:
    """How much each part of an image raises the weighted sum of its outputs, float32 ``[N, H, W]`` in 0-1.

    images: float32 ``[N, C, H, W]``, as the network takes them. weights: of its outputs, float32 ``[N, D]``, e.g. 1 for
        the class in question and 0 for the others.

    The network is used as it is in evaluation, and is not changed. None if it has no map of convolutions before its
    head, as transformers have none.
    """
    was_training = network.training
    network.eval()
    try:
        name = map_layer(network, images[:1])
        if name is None:
            return None
        pairs = zip(images.split(1), weights.split(1), strict=True)  # as the gradients of all need much memory
        return np.concatenate([_of_one(network, network.get_submodule(name), *pair) for pair in pairs])
    finally:
        network.train(was_training)


def map_layer(network: nn.Module, image: Tensor) -> str | None:
    """The name of the module whose output is the last map of convolutions with enough cells; None if there is none.

    image: ``[1, C, H, W]``. After the last map there may only be vectors: in a transformer tokens follow, which mix all
    places.
    """
    seen = _outputs(network, image)
    maps = [place for place, each in enumerate(seen) if each.cells is not None]
    if not maps or not all(each.is_vector for each in seen[maps[-1] + 1 :]):
        return None
    large = [place for place in maps if min(seen[place].cells or (0,)) >= LEAST_SIDE]
    return seen[(large or maps)[-1]].name


def _outputs(network: nn.Module, image: Tensor) -> list[_Seen]:
    """The outputs of all modules inside the network, in the order in which they were computed."""
    seen: list[_Seen] = []
    ratio = image.shape[3] / image.shape[2]

    def look(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: object) -> None:
            if isinstance(output, Tensor):
                seen.append(_Seen(name, output.shape[1:].numel() == output.shape[1], _cells(output, ratio)))

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _cells(output: Tensor, ratio: float) -> tuple[int, int] | None:
    """Height and width of a map ``[1, C, h, w]`` of more than one cell, shaped like the image; None of others."""
    if output.ndim != 4 or output.shape[2] * output.shape[3] == 1:
        return None
    height, width = output.shape[2:]
    return (height, width) if 1 / SLACK <= width / height / ratio <= SLACK else None


def _of_one(network: nn.Module, layer: nn.Module, image: Tensor, weights: Tensor) -> np.ndarray:
    kept = _Kept()
    handle = layer.register_forward_hook(kept)
    try:
        with torch.enable_grad():
            outputs = network(image.clone().requires_grad_())
        (slopes,) = torch.autograd.grad((outputs * weights).sum(), kept.maps)
    finally:
        handle.remove()
    (maps,) = kept.maps
    heat = F.relu((slopes.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True))
    heat = F.interpolate(heat.float(), image.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return (heat / heat.amax().clamp(min=torch.finfo(torch.float32).tiny)).cpu().numpy()
