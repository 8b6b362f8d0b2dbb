"""What a sample of the image files says about all: their own sizes, and whether they are drawings."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
from PIL import Image

from pipeline.data.decode import ImagePath, UnreadableImage, decode, decode_bytes, read_file
from pipeline.data.fitting import Size, flat_border
from pipeline.runtime.memory import raise_shortage

SAMPLE = 512  # files, spread over all, whose size is read
LOOKED_AT = 32  # of them, which are also decoded
THREADS = 8  # a file on a network is waited for
ORIENTATION, TURNED = 0x0112, 5  # EXIF's tag, and its least value that swaps width and height
SMALL = (64, 64)  # to which JPEGs may be reduced for a look at their borders
FLAT = 0.8  # of a border, at least, that has one colour: the picture lies on a page


@dataclass(frozen=True)
class NativeSizes:
    """The sizes of a sample of the images, at least one, and the files that they were read from."""

    sizes: tuple[Size, ...]
    paths: tuple[ImagePath, ...]

    @property
    def common(self) -> Size | None:
        """The size that all have; None if they differ."""
        return self.sizes[0] if len(set(self.sizes)) == 1 else None

    @property
    def typical(self) -> Size:
        """The medians of the heights and of the widths."""
        height, width = np.median(np.array(self.sizes), axis=0).round().astype(int).tolist()
        return height, width

    @cached_property
    def ratios(self) -> np.ndarray:
        """Width to height of each."""
        return np.array([width / height for height, width in self.sizes])

    def side(self, quantile: float) -> float:
        """The quantile of the sides of squares that have as many pixels."""
        return float(np.quantile([(height * width) ** 0.5 for height, width in self.sizes], quantile))

    @cached_property
    def are_drawings(self) -> bool:
        """Whether most borders have one colour, as those of drawings, scans and products on a page have."""
        borders = [share for path in spread(self.paths, LOOKED_AT) if (share := _flat_border(path)) is not None]
        return bool(borders) and median(borders) >= FLAT


def native_sizes(paths: Sequence[ImagePath]) -> NativeSizes | None:
    """The sizes of a sample of the files; None if none of it can be read."""
    sample = spread(paths, SAMPLE)
    with ThreadPoolExecutor(THREADS) as pool:
        sizes = list(pool.map(_size_in_header, sample))
    unknown = [place for place, size in enumerate(sizes) if size is None]
    for place in spread(unknown, LOOKED_AT):
        with suppress(UnreadableImage):
            height, width, _ = decode(sample[place]).shape
            sizes[place] = height, width
    found = {path: size for path, size in zip(sample, sizes, strict=True) if size is not None}
    return NativeSizes(tuple(found.values()), tuple(found)) if found else None


def spread(items: Sequence, count: int) -> list:
    """At most ``count`` of the items, evenly spread over all of them."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    return [items[place] for place in places]


def _size_in_header(path: ImagePath) -> Size | None:
    """(height, width) as a viewer shows the image; None for a file that only decoding tells the size of."""
    try:
        with Image.open(path) as image:
            is_turned = (
                image.format != "PNG" and image.getexif().get(ORIENTATION, 1) >= TURNED
            )  # a PNG would be decoded
            return image.size if is_turned else image.size[::-1]
    except Exception as error:  # Pillow's readers raise many types for damaged files
        raise_shortage(error)
        return None


def _flat_border(path: ImagePath) -> float | None:
    """``flat_border`` of the image; None if it cannot be read."""
    try:
        return flat_border(decode_bytes(read_file(path), SMALL))
    except (OSError, UnreadableImage):
        return None
