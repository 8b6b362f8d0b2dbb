"""What is kept about each image to compare it with all others: hashes, a thumbnail and a few figures, 172 bytes in all.

They are taken of the images as they are cached, in the pass that decodes them.
"""

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from pipeline.data.fitting import Size, resize
from pipeline.runtime.sealed import DamagedFile, read_arrays, write_arrays

SIDE = 12  # of a thumbnail, in pixels
SCALE = 32  # steps of a thumbnail's values in a standard deviation
LEAST_CONTRAST = 0.05  # levels; of less, nothing but rounding is left
FAINT = 2.0  # levels; pictures with less contrast are measured without rounding in between
BLANK = 1.0  # level: the standard deviation of each channel of a blank picture is less
LONGEST = 2**16 - 1  # pixels of a side that are told
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
MULTIPLIER = 0x9E3779B97F4A7C15  # of the hash of pixels: any odd number whose powers look random


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Of ``N`` images.

    contents: the ``content_hash`` of each file, uint64 ``[N]``; 0 if it could not be read.
    pixels: a hash of each image's pixels in the cache, uint64 ``[N]``.
    thumbnails: the brightness of the parts of each image, int8 ``[N, SIDE, SIDE]``: how far it lies above the mean, in
        1 / SCALE of its standard deviation.
    sizes: (height, width) of each image in its file, as a viewer shows it, at most LONGEST, uint16 ``[N, 2]``.
    colours: the mean of each channel, RGB, uint8 ``[N, 3]``.
    brightness, contrast: mean and standard deviation of the brightness of the image's parts, in levels of 0..255,
        float16 ``[N]``.
    blank: whether each image is of a single colour, bool ``[N]``.
    damaged: whether each is a JPEG that is damaged inside, so that parts of it are wrong, bool ``[N]``.
    """

    contents: np.ndarray
    pixels: np.ndarray
    thumbnails: np.ndarray
    sizes: np.ndarray
    colours: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    blank: np.ndarray
    damaged: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Self:
        """Of images that are yet to be looked at; all zero."""
        return cls(
            np.zeros(count, np.uint64),
            np.zeros(count, np.uint64),
            np.zeros((count, SIDE, SIDE), np.int8),
            np.zeros((count, 2), np.uint16),
            np.zeros((count, 3), np.uint8),
            np.zeros(count, np.float16),
            np.zeros(count, np.float16),
            np.zeros(count, bool),
            np.zeros(count, bool),
        )

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def known(self) -> np.ndarray:
        """Whether the file of each image could be read, bool ``[N]``; if not, the rest is that of a black image."""
        return self.contents != 0

    def take(self, rows: slice | np.ndarray) -> Self:
        """Those of the given rows; a slice copies nothing."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def look_at(self, images: np.ndarray) -> None:
        """Fill in what the images, uint8 ``[N, H, W, 3]``, show: all but ``contents``, ``sizes`` and ``damaged``."""
        parts = _parts(images)
        brightness = _shrunk(parts @ LUMA, (SIDE, SIDE)).reshape(len(images), -1)
        if parts.shape != images.shape:  # they are rounded, which leaves little of a calm sea
            for row in np.flatnonzero(brightness.std(axis=1) < FAINT):
                brightness[row] = _shrunk(images[[row]] @ LUMA, (SIDE, SIDE)).ravel()
        mean, deviation = brightness.mean(axis=1), brightness.std(axis=1)
        standard = (brightness - mean[:, None]) * (SCALE / np.maximum(deviation, LEAST_CONTRAST))[:, None]
        self.thumbnails[:] = np.rint(standard).clip(-127, 127).reshape(self.thumbnails.shape)
        self.brightness[:], self.contrast[:] = mean, deviation
        self.colours[:] = np.rint(_mean_colours(parts))
        for row in np.flatnonzero(deviation < BLANK):
            self.blank[row] = _is_blank(images[row])
        self.pixels[:] = pixel_hashes(images)

    def write(self, path: Path) -> None:
        """Write all but ``contents``, which the cache keeps in a file of their own."""
        write_arrays(path, {name: getattr(self, name) for name in _KEPT})

    @classmethod
    def read(cls, path: Path, contents: np.ndarray) -> Self:
        """What ``write`` wrote. Raises DamagedFile if it is not, and OSError if it cannot be read."""
        arrays = {"damaged": np.zeros(len(contents), bool)} | read_arrays(path)  # of a cache from before it was kept
        if set(arrays) != set(_KEPT) or len(arrays["pixels"]) != len(contents):
            raise DamagedFile(path)
        return cls(contents, **arrays)


_KEPT = [field.name for field in fields(Fingerprints) if field.name != "contents"]


def pixel_hashes(images: np.ndarray) -> np.ndarray:
    """A hash of each image, uint64 ``[N]``. images: uint8 ``[N, H, W, 3]``.

    It is made for speed: a polynomial in the 32-bit words of an image.
    """
    pixels = images.reshape(len(images), -1)
    whole = pixels.shape[1] // 4 * 4
    words, rest = np.ascontiguousarray(pixels[:, :whole]).view(np.uint32), pixels[:, whole:]
    powers = _powers(words.shape[1] + rest.shape[1])
    hashes = np.einsum("nw,w->n", words, powers[: words.shape[1]])  # which needs no copy of the words as 64 bits
    return hashes + np.einsum("nw,w->n", rest, powers[words.shape[1] :])


@cache
def _powers(count: int) -> np.ndarray:
    return np.multiply.accumulate(np.full(count, MULTIPLIER, np.uint64))


def _parts(images: np.ndarray) -> np.ndarray:
    """The images at a size that is a few times that of a thumbnail, uint8 ``[N, h, w, 3]``."""
    height, width = images.shape[1:3]
    while min(height, width) >= 2 * SIDE and height % 2 == width % 2 == 0:  # the fastest way
        height, width = height // 2, width // 2
        images = _shrunk(images, (height, width))
    if min(height, width) < SIDE:
        factor = math.ceil(SIDE / min(height, width))
        return images.repeat(factor, axis=1).repeat(factor, axis=2)
    if max(height, width) > 4 * SIDE:
        return np.stack([resize(image, 2 * SIDE, 2 * SIDE) for image in images])
    return images


def _shrunk(images: np.ndarray, size: Size) -> np.ndarray:
    """The images, ``[N, H, W]`` or ``[N, H, W, 3]``, at a smaller size: the mean of what each new pixel covers.

    All are shrunk as one tall image, as a call for each would take longer than the work.
    """
    count, height = images.shape[:2]
    tall = images.reshape(count * height, *images.shape[2:])
    shrunk = cv2.resize(tall, (size[1], count * size[0]), interpolation=cv2.INTER_AREA)
    return shrunk.reshape(count, *size, *images.shape[3:])


def _mean_colours(images: np.ndarray) -> np.ndarray:
    """The mean of each channel, float32 ``[N, 3]``; by a product of matrices, which is faster than ``mean``."""
    count, height, width, _ = images.shape
    channels = np.tile(np.eye(3, dtype=np.float32), (height * width, 1))
    return images.reshape(count, -1).astype(np.float32) @ channels / (height * width)


def _is_blank(image: np.ndarray) -> bool:
    return bool(cv2.meanStdDev(image)[1].max() < BLANK)
