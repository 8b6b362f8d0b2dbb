"""Depthwise convolutions (one filter per channel) that train in float32 on a CPU, faster than PyTorch's own.

In bfloat16, PyTorch's backward pass of a depthwise convolution is slow if the filter is strided or 5 pixels wide: up
to twenty times slower than in float32 (PyTorch 2.14, AVX-512 BF16). All other layers, and prediction, are faster in
bfloat16. Even in float32, for filters 5 pixels wide, it takes up to four times as long as ``gradient_of_filters``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input, conv2d_weight

FAST = 3  # pixels: the widest filter whose gradient oneDNN vectorises


class Float32Convolution(nn.Conv2d):
    """A convolution that computes in float32 even under autocast, and returns the dtype of its input."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self._filtered(images.float()).to(images.dtype)

    def _filtered(self, images: Tensor) -> Tensor:
        if self.kernel_size[1] <= FAST or self.dilation != (1, 1) or isinstance(self.padding, str):
            return super().forward(images)
        filtered = _WideFilters.apply(images, self.weight, self.stride, self.padding)
        return filtered if self.bias is None else filtered + self.bias[:, None, None]


class _WideFilters(torch.autograd.Function):
    """A depthwise convolution with zero padding and without dilation."""

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
    """The gradient of depthwise filters ``[C, 1, h, w]``, w at least 3, applied to images ``[N, C, H, W]``.

    It is assembled from the gradients of filters that are 3 columns wide; the last two may overlap. Columns from
    ``left`` on correspond to the images shifted by ``left`` pixels.

    gradient: of the convolution's output, ``[N, C, H', W']``.
    """
    result = torch.empty_like(filters)
    height, width = filters.shape[2:]
    covered = (gradient.shape[3] - 1) * stride[1] + FAST  # image columns that a filter of three columns passes over
    for left in (*range(0, width - FAST, FAST), width - FAST):
        before = padding[1] - left  # columns of padding; if negative, columns to crop
        after = covered - before - images.shape[3]
        # Pad here, as oneDNN is also slow at padding images that are lower than the filters.
        moved = F.pad(images, (before, after, padding[0], padding[0]))
        columns = (len(filters), 1, height, FAST)
        result[..., left : left + FAST] = conv2d_weight(moved, columns, gradient, stride, groups=len(filters))
    return result


def learn_in_float32(network: nn.Module) -> None:
    """Make a network's depthwise convolutions on the CPU train in float32, in place; weights and names stay."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.groups == layer.in_channels > 1 and layer.weight.device.type == "cpu":
            layer.__class__ = Float32Convolution


def as_built(network: nn.Module) -> nn.Module:
    """Undo ``learn_in_float32`` in place. Returns the network itself."""
    for layer in network.modules():
        if isinstance(layer, Float32Convolution):
            layer.__class__ = nn.Conv2d  # type: ignore[assignment]  # its base class, with the same attributes
    return network
