"""Depthwise convolutions, each filter over one channel, that learn in float32 on a CPU, and faster than PyTorch's own.

PyTorch's backward pass of these in bfloat16 is slow where they stride or are 5 pixels wide, up to twenty times as
slow as in float32 (2.14, AVX-512 BF16); all other layers, and prediction, are the faster for bfloat16. In float32,
too, it takes up to four times as long for filters of 5 pixels as ``gradient_of_filters``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input, conv2d_weight

FAST = 3  # pixels: how wide a filter may be for oneDNN to compute its gradient in vectors


class Float32Convolution(nn.Conv2d):
    """A convolution in float32 whatever autocast says, whose output is in the precision of its input."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self._filtered(images.float()).to(images.dtype)

    def _filtered(self, images: Tensor) -> Tensor:
        if self.kernel_size[1] <= FAST or self.dilation != (1, 1) or isinstance(self.padding, str):
            return super().forward(images)
        filtered = _WideFilters.apply(images, self.weight, self.stride, self.padding)
        return filtered if self.bias is None else filtered + self.bias[:, None, None]


class _WideFilters(torch.autograd.Function):
    """A depthwise convolution, undilated, its images padded with zeros."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, filters: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(images, filters)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(images, filters, None, stride, padding, groups=len(filters))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (images, filters), groups = ctx.saved_tensors, gradient.shape[1]
        of_images = of_filters = None
        if ctx.needs_input_grad[0]:
            of_images = conv2d_input(images.shape, filters, gradient, ctx.stride, ctx.padding, groups=groups)
        if ctx.needs_input_grad[1]:
            of_filters = gradient_of_filters(images, filters, gradient, ctx.stride, ctx.padding)
        return of_images, of_filters, None, None


def gradient_of_filters(
    images: Tensor, filters: Tensor, gradient: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """The gradient of filters ``[C, 1, h, w]``, w at least 3, that were moved over images ``[N, C, H, W]``.

    It is put together from the gradients of filters of 3 columns, the last of which may overlap: columns from ``left``
    on see the images moved by ``left`` pixels.

    gradient: of what the filters gave, ``[N, C, ...]``.
    """
    result = torch.empty_like(filters)
    height, width = filters.shape[2:]
    seen = (gradient.shape[3] - 1) * stride[1] + FAST  # pixels across that three columns meet on their way
    for left in (*range(0, width - FAST, FAST), width - FAST):
        before = padding[1] - left  # columns of padding, or to be cut off where negative
        after = seen - before - images.shape[3]
        # Padded here, as oneDNN is slow, too, where it has to pad images that are lower than the filters.
        moved = F.pad(images, (before, after, padding[0], padding[0]))
        columns = (len(filters), 1, height, FAST)
        result[..., left : left + FAST] = conv2d_weight(moved, columns, gradient, stride, groups=len(filters))
    return result


def learn_in_float32(network: nn.Module) -> None:
    """Have the depthwise convolutions of a network on the CPU learn in float32; weights and names stay."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.groups == layer.in_channels > 1 and layer.weight.device.type == "cpu":
            layer.__class__ = Float32Convolution


def as_built(network: nn.Module) -> nn.Module:
    """The network itself, its convolutions the ordinary ones again."""
    for layer in network.modules():
        if isinstance(layer, Float32Convolution):
            layer.__class__ = nn.Conv2d  # type: ignore[assignment]  # its base class, with the same attributes
    return network
