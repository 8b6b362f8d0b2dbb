"""Normalisation: turns an image's bytes into a network's input."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # brightness of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class Normalisation:
    """Computes ``(pixel - mean) / std`` per channel, with pixels in [0, 255].

    With one mean and one std instead of three, images are first converted to one grey channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        return len(self.mean)

    def __call__(self, images: np.ndarray | Tensor, device: torch.device) -> Tensor:
        """uint8 ``[N, H, W, 3]`` to float32 ``[N, channels, H, W]`` on the device, channels last in memory."""
        pixels = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
        pixels = pixels.to(device, non_blocking=True)
        pixels = pixels.to(torch.float32, copy=True)  # a copy, as features that are already float32 must not be changed
        if self.channels == 1 and pixels.shape[-1] == 3:
            pixels = (pixels @ torch.tensor(LUMA, device=device)).unsqueeze(-1)
        width = pixels.shape[2]
        mean = torch.tensor(self.mean, device=device).repeat(width)
        std = torch.tensor(self.std, device=device).repeat(width)
        pixels.flatten(2).sub_(mean).div_(std)  # whole rows at once, as three values are too few to vectorise
        return pixels.permute(0, 3, 1, 2)
