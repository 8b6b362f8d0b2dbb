"""Sprint: a small residual network for small images, trained from scratch in minutes on a CPU.

The design follows K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv:2404.00498): a frozen
whitening layer, a few wide 3x3 convolutions, early pooling and a scaled linear head. It adds residual connections
as in D. Page, "How to train your ResNet" (2018).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WHITENED = 24
HEAD_SCALE = 0.109  # logits are multiplied by this and by classes ** 0.25: with more classes the head must train faster


class Sprint(nn.Module):
    """Logits ``[N, classes]`` for images ``[N, 3, H, W]`` of at least 16 pixels a side.

    width: filters of the first group; the second group has twice, the third four times as many.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, WHITENED, 3, padding=1, bias=False)
        self.whiten.weight.requires_grad_(False)  # with no bias either, there is no backward pass at full size
        self.groups = nn.Sequential(Group(WHITENED, width), Group(width, 2 * width), Group(2 * width, 4 * width))
        self.head = nn.Linear(4 * width, classes, bias=False)
        self.head_scale = HEAD_SCALE * classes**0.25

    def forward(self, images: Tensor) -> Tensor:
        features = self.groups(F.relu(self.whiten(images)))
        return self.head(F.adaptive_max_pool2d(features, 1).flatten(1)) * self.head_scale

    @torch.no_grad()
    def initialise_from(self, images: Tensor) -> None:
        """Set the first layer to the whitening transform of the 3x3 patches of ``images`` ``[N, 3, H, W]``.

        Each of the strongest principal directions is used twice, once with each sign, so that no information is lost
        in the ReLU that follows.
        """
        patches = F.unfold(images, 3).transpose(1, 2).reshape(-1, 27)
        patches = patches - patches.mean(dim=0)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = directions / (variances.clamp(min=0) + 5e-4).sqrt()
        strongest = filters.flip(1)[:, : WHITENED // 2].T.reshape(-1, 3, 3, 3)
        self.whiten.weight.copy_(torch.cat([strongest, -strongest]))


class Group(nn.Module):
    """conv - pool - batch norm - ReLU, then two more conv - batch norm - ReLU with a skip connection around them."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm1 = shifting_norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = shifting_norm(width)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm3 = shifting_norm(width)

    def forward(self, features: Tensor) -> Tensor:
        features = F.relu(self.norm1(F.max_pool2d(self.conv1(features), 2)))
        residual = F.relu(self.norm2(self.conv2(features)))
        return features + F.relu(self.norm3(self.conv3(residual)))


def shifting_norm(width: int) -> nn.BatchNorm2d:
    """A batch norm whose scales stay at 1, so that the shifts can use a high learning rate."""
    norm = nn.BatchNorm2d(width)
    norm.weight.requires_grad_(False)
    return norm
