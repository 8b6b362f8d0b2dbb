"""The sizes at which images are cached, trained on and predicted, and how they are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np

from pipeline.data.complaints import unheard
from pipeline.data.decode import ImagePath
from pipeline.data.fitting import Fit, Size
from pipeline.data.native_sizes import NativeSizes, native_sizes

LARGEST_NATIVE_SIDE = 128  # pixels; images that share a size up to this one stay as they are
NOTHING_READ = (64, 64)  # the size if no image can be read
UPPER = 0.75  # quantile of the images' own sizes that is enough; most would be enlarged to a greater one
ALIKE, MOST = 1.2, 0.9  # images share a ratio if this share of them is within this factor of the median
SQUARE = 1.05  # a ratio nearer to 1 counts as 1, so that images can be turned
# Sides in pixels of squares with as many pixels: trained, predicted, cached
STEPS = (
    (96, 128, 192),
    (128, 160, 256),
    (160, 192, 256),
    (192, 224, 256),
    (224, 256, 288),
    (288, 320, 384),
    (384, 448, 512),
)
AT_160, AT_224 = 2, 4
LONG = 1800.0  # seconds of budget from which a CPU trains at more than 160 pixels
EPOCHS, FROM_SCRATCH = 2, 8  # that have to fit into SHARE of the budget
SHARE = 0.6
# Images of 160 x 160 pixels a second on which a pretrained network of moderate size is trained
SPEED = {"cpu": 60.0, "mps": 100.0, "cuda": 300.0}


@dataclass(frozen=True)
class ImageSizes:
    """The sizes of a competition's images, in pixels.

    cached: (height, width) of the images in the cache.
    trained, predicted: longer side of the images at which networks without an input size of their own train and
        predict; the shorter side keeps the ratio of ``cached``.
    fit: how images of another aspect ratio are brought to the cached size.
    """

    cached: Size
    trained: int
    predicted: int
    fit: Fit = "crop"

    @classmethod
    def all_as(cls, size: Size, fit: Fit = "crop") -> Self:
        """One size for everything."""
        return cls(size, max(size), max(size), fit)


@dataclass(frozen=True)
class Means:
    """What decides how large images can be, besides their own size.

    images: number of images to train on, to validate and to predict. budget: seconds; None for no limit.
    device: type of the device. pretrained: whether a model starts from ImageNet weights.
    """

    images: int
    budget: float | None = None
    device: str = "cpu"
    pretrained: bool = False

    @property
    def sides(self) -> tuple[int, int, int]:
        """The largest of ``STEPS`` at which a network can be trained for enough epochs within the budget.

        The smallest is for networks from scratch only, as weights from ImageNet were trained on larger images.
        """
        is_short = self.budget is None or self.budget < LONG
        most = (AT_160 if is_short else AT_224) if self.device == "cpu" else (AT_224 if is_short else len(STEPS) - 1)
        steps = STEPS[1 if self.pretrained else 0 : most + 1]
        if self.budget is None:
            return steps[-1]
        seen = self.images * (EPOCHS if self.pretrained else FROM_SCRATCH)
        side = 160 * sqrt(SHARE * self.budget * SPEED[self.device] / seen)
        return next((step for step in reversed(steps) if step[0] <= side), steps[0])


@unheard()
def choose_sizes(paths: Sequence[ImagePath], means: Means) -> ImageSizes:
    """The sizes for these files, by their own sizes and what there is. It is printed unless the images are small."""
    native = native_sizes(paths)
    if native is None:
        return ImageSizes.all_as(NOTHING_READ)
    if native.common and max(native.common) <= LARGEST_NATIVE_SIDE:
        return ImageSizes.all_as(native.common)
    sizes = _within(native, means)
    print(_described(native, sizes))
    return sizes


def _within(native: NativeSizes, means: Means) -> ImageSizes:
    """The sizes for images that have to be resized; none is larger than most of the images are."""
    upper = native.side(UPPER)
    trained, predicted, side = (min(side, upper) for side in means.sides)
    ratio = _common_ratio(native)
    cached = round(side / sqrt(ratio)), round(side * sqrt(ratio))
    longer = max(sqrt(ratio), 1 / sqrt(ratio))
    fit: Fit = "pad" if _ratios_differ(native, ratio) and native.are_drawings else "crop"
    return ImageSizes(cached, round(trained * longer), round(predicted * longer), fit)


def _common_ratio(native: NativeSizes) -> float:
    """Width to height of the images if most share it; otherwise 1."""
    middle = float(np.median(native.ratios))
    is_shared = float((_distance(native.ratios, middle) <= ALIKE).mean()) >= MOST
    return middle if is_shared and max(middle, 1 / middle) > SQUARE else 1.0


def _ratios_differ(native: NativeSizes, ratio: float) -> bool:
    return bool((_distance(native.ratios, ratio) > SQUARE).any())


def _distance(ratios: np.ndarray, ratio: float) -> np.ndarray:
    """The factors, at least 1, by which the ratios differ from the given one."""
    return np.maximum(ratios / ratio, ratio / ratios)


def _described(native: NativeSizes, sizes: ImageSizes) -> str:
    """The choice in one line, as ``photographs of about 1,024 x 768: trained at 185 x 139, predicted at 222 x 166``."""
    height, width = native.typical
    about = "" if native.common else "about "
    fitted = ""
    if _ratios_differ(native, sizes.cached[1] / sizes.cached[0]):
        fitted = f", {'padded' if sizes.fit == 'pad' else 'cropped'} to {_ratio_text(sizes.cached)}"
    kind = "drawings" if sizes.fit == "pad" else "photographs"
    at = f"trained at {_text(sizes, sizes.trained)}, predicted at {_text(sizes, sizes.predicted)}"
    return f"{kind} of {about}{width:,} x {height:,}{fitted}: {at}; --size decides"


def _ratio_text(size: Size) -> str:
    height, width = size
    return "squares" if height == width else f"the ratio {width / height:.2f}"


def _text(sizes: ImageSizes, longer: int) -> str:
    """Width x height of images with that longer side; one number for squares."""
    height, width = (round(side * longer / max(sizes.cached)) for side in sizes.cached)
    return str(width) if height == width else f"{width} x {height}"
