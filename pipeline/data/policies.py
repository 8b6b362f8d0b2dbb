"""TrivialAugment and RandAugment: one or a few random changes of geometry or colour to each image.

They are applied group by group of a batch, with torchvision's functions on uint8, on a CPU or a GPU: of all images that
draw the same operation, the strength is the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.data.augment import GREY, Augmentation, Batch

Operation = Callable[[Tensor, float], Tensor]  # takes uint8 [n, 3, H, W] and a strength
BINS = 31  # strengths that are told apart
DEEPEST = 8  # bits of a colour


@dataclass(frozen=True)
class Strongest:
    """What a strength of 1 stands for.

    shear: of one pixel against the next. shift: in pixels, or below 1 in shares of the sides. rotation: in degrees.
    factor: by which brightness, saturation, contrast and sharpness are changed. bits: taken from each colour.
    """

    shear: float
    shift: float
    rotation: float
    factor: float
    bits: float


def trivial_augment() -> Augmentation:
    """One operation for each image, of any strength.

    S. Müller, F. Hutter, "TrivialAugment" (arXiv:2103.10158), in its wide form.
    """
    strongest = Strongest(shear=0.99, shift=32.0, rotation=135.0, factor=0.99, bits=6.0)
    return _policy(strongest, 1, lambda rng: rng.integers(BINS) / (BINS - 1))


def rand_augment(operations: int = 2, magnitude: int = 9) -> Augmentation:
    """Several operations one after the other for each image, all of the same strength.

    E. Cubuk et al., "RandAugment" (arXiv:1909.13719). magnitude: from 0 to 30.
    """
    if operations < 1 or not 0 <= magnitude < BINS:
        raise ValueError(f"operations must be 1 or more, magnitude from 0 to {BINS - 1}")
    strongest = Strongest(shear=0.3, shift=150 / 331, rotation=30.0, factor=0.9, bits=4.0)
    return _policy(strongest, operations, lambda rng: magnitude / (BINS - 1))


def _policy(strongest: Strongest, rounds: int, strength: Callable[[np.random.Generator], float]) -> Augmentation:
    """Apply ``rounds`` operations to each image, each as strong as ``strength`` draws, in [0, 1]."""
    operations = _operations(strongest)

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        changed = torch.as_tensor(images).permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
        for _ in range(rounds):
            chosen = rng.integers(0, 1 + len(operations), size=len(images))  # the last one changes nothing
            for number, operation in enumerate(operations):
                rows = np.flatnonzero(chosen == number)
                sign, size = rng.choice([-1.0, 1.0]), strength(rng)
                if len(rows):
                    changed[rows] = operation(changed[rows], sign * size)
        augmented = changed.permute(0, 2, 3, 1)
        return augmented if isinstance(images, Tensor) else np.ascontiguousarray(augmented.numpy())

    return augment


def _operations(strongest: Strongest) -> list[Operation]:
    """The operations, each for a strength from -1 to 1. Those without a direction take its absolute value."""
    from torchvision.transforms.v2 import functional as F

    def moved(images: Tensor, right: float = 0.0, down: float = 0.0) -> Tensor:
        height, width = images.shape[2:] if strongest.shift < 1 else (1, 1)
        moves = [strongest.shift * right * width, strongest.shift * down * height]
        return F.affine(images, 0.0, moves, 1.0, [0.0, 0.0], fill=GREY)

    def slanted(images: Tensor, along_x: float = 0.0, along_y: float = 0.0) -> Tensor:
        slants = [math.degrees(math.atan(strongest.shear * each)) for each in (along_x, along_y)]
        return F.affine(images, 0.0, [0.0, 0.0], 1.0, slants, fill=GREY)

    def coloured(change: Callable[[Tensor, float], Tensor]) -> Operation:
        return lambda images, strength: change(images, 1 + strongest.factor * strength)

    return [
        lambda images, strength: moved(images, right=strength),
        lambda images, strength: moved(images, down=strength),
        lambda images, strength: slanted(images, along_x=strength),
        lambda images, strength: slanted(images, along_y=strength),
        lambda images, strength: F.rotate(images, strongest.rotation * strength, fill=GREY),
        coloured(F.adjust_brightness),
        coloured(F.adjust_saturation),
        coloured(F.adjust_contrast),
        coloured(F.adjust_sharpness),
        lambda images, strength: F.posterize(images, DEEPEST - round(strongest.bits * abs(strength))),
        lambda images, strength: F.solarize(images, 255 * (1 - abs(strength))),
        lambda images, _: F.autocontrast(images),
        lambda images, _: F.equalize(images),
    ]
