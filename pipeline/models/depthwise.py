"""Depthwise convolutions, each filter over one channel, that learn in float32 on a CPU.

PyTorch's backward pass of these in bfloat16 is slow where they stride or are 5 pixels wide, up to twenty times as
slow as in float32 (2.14, AVX-512 BF16); all other layers, and prediction, are the faster for bfloat16.
"""

import torch
from torch import Tensor, nn


class Float32Convolution(nn.Conv2d):
    """A convolution in float32 whatever autocast says, whose output is in the precision of its input."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return super().forward(images.float()).to(images.dtype)


def learn_in_float32(network: nn.Module) -> None:
    """Have the depthwise convolutions of a network on the CPU learn in float32; weights and names stay."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.groups == layer.in_channels > 1 and layer.weight.device.type == "cpu":
            layer.__class__ = Float32Convolution


def as_built(network: nn.Module) -> nn.Module:
    """The network itself, its convolutions the ordinary ones again."""
    for layer in network.modules():
        if type(layer) is Float32Convolution:
            layer.__class__ = nn.Conv2d
    return network
