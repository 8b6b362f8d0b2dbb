"""Normalisation: turns an image's bytes into a network's input."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from pipeline.runtime.devices import moved

LUMA = (0.299, 0.587, 0.114)  # brightness of red, green and blue (ITU-R BT.601)


@cache
def _on(device: torch.device, values: tuple[float, ...]) -> Tensor:
    """The values on the device, copied once: each copy would wait until the GPU has finished all its work."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)


@dataclass(frozen=True)
class Normalisation:
    """Computes ``(pixel - mean) / std`` per channel, with pixels in [0, 255].

    With one mean and one std instead of three, images are first converted to one grey channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of_unit_range(cls, mean: Sequence[float], std: Sequence[float]) -> Self:
        """The same for a mean and a std of pixels in [0, 1], as libraries give them."""
        return cls(tuple(255 * value for value in mean), tuple(255 * value for value in std))

    @property
    def channels(self) -> int:
        return len(self.mean)

    def __call__(self, images: np.ndarray | Tensor, device: torch.device) -> Tensor:
        """uint8 ``[N, H, W, 3]`` to float32 ``[N, channels, H, W]`` on the device, laid out as by ``placed``."""
        pixels = moved(images, device)
        pixels = pixels.to(torch.float32, copy=True)  # a copy, as features that are already float32 must not be changed
        if self.channels == 1 and pixels.shape[-1] == 3:
            pixels = (pixels @ _on(device, LUMA)).unsqueeze(-1)
        width = pixels.shape[2]
        mean, std = (_on(device, each).repeat(width) for each in (self.mean, self.std))
        pixels.flatten(2).sub_(mean).div_(std)  # whole rows at once, as three values are too few to vectorise
        channels_first = pixels.permute(0, 3, 1, 2)
        return channels_first.contiguous() if device.type == "mps" else channels_first
