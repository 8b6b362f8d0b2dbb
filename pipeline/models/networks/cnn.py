"""The plain networks of the reports: a stack of convolutions, then dense layers, all built by one function."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn

from competition.errors import UserError

Pool = int | list[int] | Literal["global"]


def cnn(
    classes: int,
    shape: tuple[int, int],
    channels: int = 3,
    filters: Sequence[int] = (),
    kernel: int | list[int] = 3,
    stride: int | list[int] = 1,
    padding: str | list[str] = "valid",
    norm: Literal["none", "before", "after"] = "none",
    pool: Pool | list[Pool] = 1,
    norm_after_pool: bool = False,
    conv_dropout: float | list[float] = 0.0,
    global_pool: bool = False,
    dense: Sequence[int] = (),
    dense_dropout: float | list[float] = 0.0,
    dense_norm: bool = False,
) -> nn.Sequential:
    """Logits ``[N, classes]`` for images ``[N, channels, H, W]`` of ``shape`` (H, W).

    The child ``features`` holds the convolutions and ends with a flatten; the child ``head`` holds the dense layers.
    An argument that accepts a list takes one entry per convolution (``dense_dropout``: per hidden dense layer); a
    single value applies to all.

    filters: output channels of each convolution. dense: widths of the hidden dense layers. A dropout of 0 is none.
    norm: batch norm ``before`` or ``after`` the ReLU; ``after`` matches Keras convolutions with a built-in activation.
    pool: side of the max-pooling window (1 for none), [side, stride], or ``global`` for the mean over the whole image.
    norm_after_pool: add a batch norm between pooling and dropout.
    global_pool: take the mean over the whole image after the last convolution.
    dense_norm: batch norm after the last hidden dense layer, before its dropout.
    Raises UserError for a list of the wrong length, RuntimeError if the images are too small.
    """
    each = zip(
        pairwise([channels, *filters]),
        *(_one_each(value, len(filters)) for value in (kernel, stride, padding, pool, conv_dropout)),
        strict=True,
    )
    features = nn.Sequential()
    for (before, after), side, step, pad, pooling, dropout in each:
        features.extend([*_convolution(before, after, side, step, pad), *_activation(after, norm), *_pooling(pooling)])
        features.extend([nn.BatchNorm2d(after)] if norm_after_pool else [])
        features.extend(_dropout(dropout))
    features.extend([nn.AdaptiveAvgPool2d(1)] if global_pool else [])
    features.append(nn.Flatten())
    head = dense_head(flat_size(features, channels, shape), classes, dense, dense_dropout, dense_norm)
    return nn.Sequential(OrderedDict(features=features, head=head))


def dense_head(
    inputs: int, classes: int, dense: Sequence[int], dropout: float | list[float] = 0.0, norm: bool = False
) -> nn.Sequential:
    """Dense layers with ReLU and dropout, then the output layer. norm: batch norm before the last dropout."""
    head = nn.Sequential()
    for position, (width, share) in enumerate(zip(dense, _one_each(dropout, len(dense)), strict=True)):
        head.extend([nn.Linear(inputs, width), nn.ReLU()])
        head.extend([nn.BatchNorm1d(width)] if norm and position == len(dense) - 1 else [])
        head.extend(_dropout(share))
        inputs = width
    return head.append(nn.Linear(inputs, classes))


@torch.inference_mode()
def flat_size(features: nn.Module, channels: int, shape: tuple[int, int]) -> int:
    """The number of values that ``features`` outputs for one image of ``shape`` (height, width)."""
    size = features.eval()(torch.zeros(1, channels, *shape)).numel()
    features.train()
    return size


def _one_each(value: Any, count: int) -> list[Any]:
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count:
        raise UserError(f"network: the list {values} has {len(values)} entries for {count} layers; fix the recipe")
    return values


def _convolution(before: int, after: int, kernel: int, stride: int, padding: str) -> list[nn.Module]:
    if padding == "same" and kernel % 2 == 0:  # avoids PyTorch's warning about copying the images
        low, high = (kernel - 1) // 2, kernel // 2
        return [nn.ZeroPad2d((low, high, low, high)), nn.Conv2d(before, after, kernel, stride)]
    return [nn.Conv2d(before, after, kernel, stride, padding)]


def _activation(filters: int, norm: str) -> list[nn.Module]:
    layers: dict[str, list[nn.Module]] = {
        "none": [nn.ReLU()],
        "before": [nn.BatchNorm2d(filters), nn.ReLU()],
        "after": [nn.ReLU(), nn.BatchNorm2d(filters)],
    }
    return layers[norm]


def _pooling(pool: Pool) -> list[nn.Module]:
    if pool == "global":
        return [nn.AdaptiveAvgPool2d(1)]
    if isinstance(pool, list):
        return [nn.MaxPool2d(*pool)]  # type: ignore[arg-type]  # side and stride
    return [nn.MaxPool2d(pool)] if pool > 1 else []


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share else []
