"""Augmentation: random views of a batch of uint8 images, and the fixed views that predictions average over."""

import os
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from competition.errors import UserError
from competition.spec import Symmetries
from pipeline.data.decode import resize

Batch = np.ndarray | Tensor  # a tensor where the images lie on a GPU
View = Callable[[Batch], Batch]
Augmentation = Callable[[Batch, np.random.Generator], Batch]

GREY = 128
VIEW_SHIFT = 1 / 24  # of the shorter side; the best or as good at 32, 64 and 96 pixels, see benchmarks/TRIALS.md


def resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 ``[N, H, W, 3]`` to ``[N, height, width, 3]``."""
    if images.shape[1:3] == (height, width):
        return images
    return np.stack([resize(image, height, width) for image in images])


def shift(fraction: float) -> Augmentation:
    """Shifts by up to ``fraction`` of the side, the border mirrored in."""

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
    """That fraction of the images' shorter side, at least one."""
    return max(1, round(fraction * min(images.shape[1:3])))


def _mirrored_in(images: Batch, reach: int) -> Batch:
    """The images with ``reach`` more pixels on each side."""
    if not isinstance(images, Tensor):
        return np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    rows, columns = (np.pad(np.arange(side), reach, mode="reflect") for side in images.shape[1:3])
    return images[:, rows][:, :, columns]


def cutout(fraction: float) -> Augmentation:
    """A grey square of ``fraction`` of the shorter side in each image, whose centre may be any pixel.

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


def symmetric(symmetries: Symmetries) -> Augmentation:
    """A random one of the views that leave a class what it is: see ``views``."""

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        kinds = views(symmetries, square=images.shape[1] == images.shape[2])
        chosen = rng.integers(0, len(kinds), size=len(images))
        turned: Any = deepcopy(images)
        for number, view in enumerate(kinds[1:], start=1):  # the first is the image itself
            turned[chosen == number] = view(images[chosen == number])
        return turned

    return augment


def views(symmetries: Symmetries, square: bool) -> list[View]:
    """Functions ``[N, H, W, 3] -> [N, H, W, 3]``: the image itself, its mirror image, or all flips and turns.

    Transposes are left out where images are not square.
    """
    flips: dict[Symmetries, list[tuple[int, ...]]]
    flips = {"none": [()], "mirror": [(), (2,)], "all": [(), (2,), (1,), (1, 2)]}
    turns = (False, True) if symmetries == "all" and square else (False,)
    return [_view(axes, turn) for turn in turns for axes in flips[symmetries]]


def shifted_views(symmetries: Symmetries, square: bool) -> list[View]:
    """``views`` and, if these are one or two, each of them shifted along the diagonal, too, either way.

    As in K. Jordan's multi-crop evaluation (arXiv:2404.00498), whose one pixel of 32 is ``VIEW_SHIFT`` here.
    """
    kinds = views(symmetries, square)
    return kinds if len(kinds) > 2 else [_shifted(kind, sign) for kind in kinds for sign in (0, -1, 1)]


def _shifted(view: View, sign: int) -> View:
    """Up and to the left (-1), not at all (0) or down and to the right (1), the border mirrored in."""

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


def resized_crop(**arguments: Any) -> Augmentation:
    """albumentations' RandomResizedCrop, back to the size that the images have."""

    @cache
    def crop(height: int, width: int) -> Augmentation:
        return _one_by_one(_albumentations().RandomResizedCrop((height, width), **arguments))

    crop(64, 64)  # a wrong argument is said now
    return lambda images, rng: crop(*images.shape[1:3])(images, rng)


def build_augmentation(name: str, arguments: dict[str, Any], symmetries: Symmetries) -> Augmentation:
    """``Shift``, ``Cutout``, ``Symmetries`` or, by its class name, any transform of albumentations.

    Raises UserError for a name or an argument that is not known.
    """
    turned = partial(symmetric, symmetries)
    own: dict[str, Callable[..., Augmentation]] = {
        "Shift": shift,
        "Cutout": cutout,
        "Symmetries": turned,
        "RandomResizedCrop": resized_crop,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # or albumentations would only warn of a wrong argument
            if name in own:
                return own[name](**arguments)
            return _one_by_one(getattr(_albumentations(), name)(**arguments))
    except (AttributeError, TypeError, ValueError, UserWarning) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"augmentation {name}: {reason}; see the transforms of albumentations") from None


@cache
def _albumentations() -> ModuleType:
    """Imported once a recipe asks for it, as that takes a while; what it warns of then is no fault of the recipe."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the internet for a newer one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import albumentations
    return albumentations


def _one_by_one(transform: Any) -> Augmentation:
    """An albumentations transform, applied to one image after the other."""
    composed = _albumentations().Compose([transform])

    def augment(images: Batch, rng: np.random.Generator) -> np.ndarray:
        images = images.cpu().numpy() if isinstance(images, Tensor) else images
        composed.set_random_seed(int(rng.integers(2**31)))
        return np.stack([composed(image=image)["image"] for image in images])

    return augment


def chain(steps: list[Augmentation]) -> Augmentation:
    """One step after the other."""

    def augment(images: Batch, rng: np.random.Generator) -> Batch:
        for step in steps:
            images = step(images, rng)
        return images

    return augment
