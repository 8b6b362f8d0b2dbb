"""The sizes at which images are cached, trained on and predicted."""

from dataclasses import dataclass
from typing import Self

from pipeline.data.cache_files import Size


@dataclass(frozen=True)
class ImageSizes:
    """The sizes of a competition's images, in pixels.

    cached: (height, width) of the images in the cache.
    trained, predicted: longer side of the images at which networks without an input size of their own train and
        predict; the shorter side keeps the ratio of ``cached``.
    """

    cached: Size
    trained: int
    predicted: int

    @classmethod
    def all_as(cls, size: Size) -> Self:
        """One size for everything."""
        return cls(size, max(size), max(size))
