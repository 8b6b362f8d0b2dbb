"""Augmentation: random changes to a batch of uint8 images, and the fixed views that predictions are averaged over."""

import os
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from threading import local
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from competition.errors import UserError
from competition.spec import Symmetries
from pipeline.data.decode import resize

Batch = np.ndarray | Tensor  # uint8 [N, H, W, 3]; a tensor if the images are on a GPU
View = Callable[[Batch], Batch]
Augmentation = Callable[[Batch, np.random.Generator], Batch]

GREY = 128
VIEW_SHIFT = 1 / 24  # of the shorter side; best or equal to the best at 32, 64, 96 pixels, see benchmarks/TRIALS.md


def resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 ``[N, H, W, 3]`` to ``[N, height, width, 3]``."""
    if images.shape[1:3] == (height, width):
        return images
    return np.stack([resize(image, height, width) for image in images])


def shift(fraction: float) -> Augmentation:
    """Random shifts by up to ``fraction`` of the shorter side; the gap is filled by reflecting the image."""

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        _, height, width, _ = images.shape
        reach = _pixels(fraction, images)
        padded: Any = _mirrored_in(images, reach)
        shifted: Any = deepcopy(images)
        for row, (down, right) in enumerate(rng.integers(0, 2 * reach + 1, size=(len(images), 2))):
            shifted[row] = padded[row, down : down + height, right : right + width]
        return shifted

    return augment


def _pixels(fraction: float, images: Batch) -> int:
    """The given fraction of the images' shorter side in pixels, at least 1."""
    return max(1, round(fraction * min(images.shape[1:3])))


def _mirrored_in(images: Batch, reach: int) -> Batch:
    """The images with ``reach`` reflected pixels more on each of the four sides."""
    if not isinstance(images, Tensor):
        return np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    rows, columns = (np.pad(np.arange(side), reach, mode="reflect") for side in images.shape[1:3])
    return images[:, rows][:, :, columns]


def cutout(fraction: float) -> Augmentation:
    """A grey square at a random place in each image; its side is ``fraction`` of the image's shorter side.

    Its centre may be any pixel, so part of it may lie outside the image.

    T. DeVries, G. W. Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (arXiv:1708.04552).
    """

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        _, height, width, _ = images.shape
        side = _pixels(fraction, images)
        cut: Any = deepcopy(images)
        corners = rng.integers(0, (height, width), size=(len(images), 2)) - side // 2
        for image, (top, left) in zip(cut, corners.tolist(), strict=True):
            image[max(0, top) : top + side, max(0, left) : left + side] = GREY
        return cut

    return augment


def random_erasing(
    p: float = 0.5, scale: tuple[float, float] = (0.02, 0.33), ratio: tuple[float, float] = (0.3, 3.3)
) -> Augmentation:
    """Noise in a random rectangle of some images.

    Z. Zhong et al., "Random Erasing Data Augmentation" (arXiv:1708.04896).

    p: share of the images. scale: least and largest share of the image's area. ratio: of height and width.
    """
    if not (0 <= p <= 1 and 0 < scale[0] <= scale[1] < 1 and 0 < ratio[0] <= ratio[1]):
        raise ValueError("p must be from 0 to 1, scale two ascending shares below 1, ratio two ascending numbers")

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        _, height, width, _ = images.shape
        erased: Any = deepcopy(images)
        rows = np.flatnonzero(rng.random(len(images)) < p)
        areas = rng.uniform(*scale, len(rows)) * height * width
        shapes = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), len(rows)))
        sides = np.stack([np.sqrt(areas * shapes), np.sqrt(areas / shapes)], axis=1)
        sides = sides.round().clip(1, (height, width)).astype(np.int64)
        corners = rng.integers(0, np.array([height, width]) - sides + 1)
        for row, (down, right), (top, left) in zip(rows, sides.tolist(), corners.tolist(), strict=True):
            noise: Any = rng.integers(0, 256, (down, right, 3), np.uint8)
            erased[row, top : top + down, left : left + right] = _like(images, noise)
        return erased

    return augment


def _like(images: Batch, values: np.ndarray) -> Batch:
    """The values as what the images are: an array, or a tensor on their device."""
    return torch.from_numpy(values).to(images.device) if isinstance(images, Tensor) else values


def symmetric(symmetries: Symmetries) -> Augmentation:
    """A random view of each image, out of those that do not change its class: see ``views``."""

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        kinds = views(symmetries, square=images.shape[1] == images.shape[2])
        chosen = rng.integers(0, len(kinds), size=len(images))
        turned: Any = deepcopy(images)
        for number, view in enumerate(kinds[1:], start=1):  # the first is the image itself
            turned[chosen == number] = view(images[chosen == number])
        return turned

    return augment


def views(symmetries: Symmetries, square: bool) -> list[View]:
    """Functions ``[N, H, W, 3] -> [N, H, W, 3]``: the image itself, then its mirror image or all flips and rotations.

    The number of views is 1 for ``none``, 2 for ``mirror``, and for ``all`` 8 if the images are square, otherwise 4:
    rotations by 90 degrees would change their shape.
    """
    flips: dict[Symmetries, list[tuple[int, ...]]]
    flips = {"none": [()], "mirror": [(), (2,)], "all": [(), (2,), (1,), (1, 2)]}
    turns = (False, True) if symmetries == "all" and square else (False,)
    return [_view(axes, turn) for turn in turns for axes in flips[symmetries]]


def shifted_views(symmetries: Symmetries, square: bool) -> list[View]:
    """The ``views``; if there are only one or two, also each of them shifted along the diagonal in both directions.

    As in K. Jordan's multi-crop evaluation (arXiv:2404.00498), which shifts 32-pixel images by one pixel; here the
    shift is ``VIEW_SHIFT``.
    """
    kinds = views(symmetries, square)
    return kinds if len(kinds) > 2 else [_shifted(kind, sign) for kind in kinds for sign in (0, -1, 1)]


def _shifted(view: View, sign: int) -> View:
    """The view shifted up and left (-1), not at all (0) or down and right (1); the gap is filled by reflection."""

    def shifted(images: Batch) -> Batch:
        seen = view(images)
        if sign == 0:
            return seen
        _, height, width, _ = seen.shape
        reach = _pixels(VIEW_SHIFT, seen)
        padded, start = _mirrored_in(seen, reach), reach - sign * reach
        return padded[:, start : start + height, start : start + width]

    return shifted


def _view(axes: tuple[int, ...], transpose: bool) -> View:
    def view(images: Batch) -> Batch:
        turned = images.swapaxes(1, 2) if transpose else images
        if not axes:
            return turned
        return turned.flip(axes) if isinstance(turned, Tensor) else np.flip(turned, axes)

    return view


@dataclass(frozen=True)
class Crop:
    """albumentations' RandomResizedCrop.

    at: the crop that is resized to a (height, width) in pixels. As an ``Augmentation`` it keeps the images' size.
    """

    at: Callable[[int, int], Augmentation]

    def __call__(self, images: Batch, rng: np.random.Generator) -> Batch:
        return self.at(*images.shape[1:3])(images, rng)


def resized_crop(**arguments: Any) -> Crop:
    @cache
    def crop(height: int, width: int) -> Augmentation:
        return _one_by_one(_albumentations().RandomResizedCrop((height, width), **arguments))

    crop(64, 64)  # raises now if an argument is wrong
    return Crop(crop)


def build_augmentation(name: str, arguments: dict[str, Any], symmetries: Symmetries) -> Augmentation:
    """The augmentation of that name: one of this package, or any transform of albumentations by its class name.

    Raises UserError if the name or an argument is unknown.
    """
    from pipeline.data.policies import rand_augment, trivial_augment  # which imports this module

    turned = partial(symmetric, symmetries)
    own: dict[str, Callable[..., Augmentation]] = {
        "Shift": shift,
        "Cutout": cutout,
        "Symmetries": turned,
        "RandomResizedCrop": resized_crop,
        "RandomErasing": random_erasing,
        "TrivialAugment": trivial_augment,
        "RandAugment": rand_augment,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # albumentations only warns about a wrong argument
            if name in own:
                return own[name](**arguments)
            return _one_by_one(getattr(_albumentations(), name)(**arguments))
    except (AttributeError, TypeError, ValueError, UserWarning) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"augmentation {name}: {reason}; correct it as in albumentations' documentation") from None


@cache
def _albumentations() -> ModuleType:
    """The module albumentations, imported only if a recipe needs it, because it is slow to import."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the import checks online for a newer version
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the import are not about the recipe
        import albumentations
    return albumentations


def _one_by_one(transform: Any) -> Augmentation:
    """An albumentations transform, applied to each image in turn."""
    of_thread = local()  # as the transform keeps its random state, each thread has a copy

    def augment(images: Batch, rng: np.random.Generator) -> np.ndarray:
        images = images.cpu().numpy() if isinstance(images, Tensor) else images
        if not hasattr(of_thread, "composed"):
            of_thread.composed = _albumentations().Compose([deepcopy(transform)])
        of_thread.composed.set_random_seed(int(rng.integers(2**31)))
        return np.stack([of_thread.composed(image=image)["image"] for image in images])

    return augment


def chain(steps: Sequence[Augmentation]) -> Augmentation:
    """An augmentation that applies the steps in order."""

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        for step in steps:
            images = step(images, rng)
        return images

    return augment
