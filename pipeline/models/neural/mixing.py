"""Mixing: images of a batch are blended in pairs, and what is to be predicted of them is blended likewise.

H. Zhang et al., "mixup: Beyond Empirical Risk Minimization" (arXiv:1710.09412); S. Yun et al., "CutMix" (1905.04899).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from pipeline.data.augment import Batch as Images
from pipeline.models.recipe import Mix


@dataclass(frozen=True)
class Mixture:
    """How the images of a batch were mixed.

    partners: int64 ``[n]``, for each image the row of the one that it was mixed with.
    share: of the image itself, in [0.5, 1]; the rest is the partner's.
    """

    partners: np.ndarray
    share: float

    def of(self, target: Tensor) -> Tensor:
        """What is to be predicted of the mixed images, float32 ``[n * T, K]``. target: of the images themselves."""
        by_image = target.unflatten(0, (len(self.partners), -1))
        partners = by_image[torch.from_numpy(self.partners).to(target.device)]
        return by_image.lerp(partners, 1 - self.share).flatten(0, 1)


def mixed(images: Images, mix: Mix, rng: np.random.Generator) -> tuple[Images, Mixture | None]:
    """A batch of uint8 ``[n, H, W, 3]``, mixed or, for a part of the batches, as it was, with None.

    The larger part of every mixed image is the image's own, so that its label stays the likeliest.
    """
    if rng.random() >= mix.share:
        return images, None
    pastes = bool(mix.cutmix) and (not mix.mixup or rng.random() < 0.5)
    alpha = mix.cutmix if pastes else mix.mixup
    share = float(rng.beta(alpha, alpha))
    share, partners = max(share, 1 - share), rng.permutation(len(images))
    if pastes:
        return _pasted(images, partners, share, rng)
    return _blended(images, partners, share), Mixture(partners, share)


def _blended(images: Images, partners: np.ndarray, share: float) -> Images:
    if isinstance(images, Tensor):
        return images.float().lerp(images[partners].float(), 1 - share).round().to(images.dtype)
    flat, others = (each.reshape(len(images), -1) for each in (images, images[partners]))
    return cv2.addWeighted(flat, share, others, 1 - share, 0).reshape(images.shape)


def _pasted(images: Images, partners: np.ndarray, share: float, rng: np.random.Generator) -> tuple[Images, Mixture]:
    """Paste the same rectangle of every partner, around a random place; the share is that of the pixels that remain."""
    _, height, width, _ = images.shape
    sides = np.sqrt(1 - share) * np.array([height, width])
    centre = rng.integers(0, (height, width))
    (top, left), (bottom, right) = (
        np.clip(np.round(centre + way * sides / 2), 0, (height, width)).astype(int).tolist() for way in (-1, 1)
    )
    pasted: Any = images.clone() if isinstance(images, Tensor) else images.copy()
    pasted[:, top:bottom, left:right] = images[partners, top:bottom, left:right]
    return pasted, Mixture(partners, 1 - (bottom - top) * (right - left) / (height * width))
