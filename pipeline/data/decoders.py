"""What all formats of images are decoded with: cv2, Pillow, and how other numbers become shades of grey."""

import io
import threading
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.runtime.memory import raise_shortage

NO_IMAGES = {  # what often lies in the place of an image
    b"version https://git-lfs": "a pointer of Git LFS, not the image; run: git lfs pull",
    b"<!DOCTYPE": "a web page, not an image; download it again",
    b"<html": "a web page, not an image; download it again",
}
LARGE = 1 << 26  # pixels, 200 MB as RGB; larger pictures are read at a half, a quarter or an eighth of their size
MOST = 1 << 29  # pixels of a picture that can be decoded
CONTRAST = (0.5, 99.5)  # percentiles that become black and white where numbers have no scale of their own
# what is wrong with an image is told by its exception, with the image's name
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
Image.MAX_IMAGE_PIXELS = None  # the limit here is that above
one_large = threading.Lock()  # a large picture may need a gigabyte while it is decoded


class UnreadableImage(Exception):  # noqa: N818 - the name says what is wrong with the image
    """The file is missing, empty, cut short, damaged, or not an image."""


def decode_with_cv2(data: bytes, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise_shortage(error)
        raise UnreadableImage(error.err) from error
    if image is None:
        raise UnreadableImage("the data is damaged")
    return image


def decode_with_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            factor = reduction(image.height, image.width, MOST)
            if factor == 1:
                return _as_rgb(ImageOps.exif_transpose(image))
            with one_large:
                return _as_rgb(ImageOps.exif_transpose(image.reduce(factor)))
    except UnidentifiedImageError:
        raise UnreadableImage(_what_it_is(data)) from None
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow's readers raise many types for damaged files
        raise_shortage(error)
        raise UnreadableImage(str(error)) from error


def _what_it_is(data: bytes) -> str:
    """Why data that no decoder knows are not an image."""
    if not data:
        return "the file is empty"
    return next((reason for start, reason in NO_IMAGES.items() if data.startswith(start)), "not an image")


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # Pillow would clip 16 bits to 8
        return first_bands(by_range(np.asarray(image)))
    if image.mode == "F":
        return first_bands(by_range(np.asarray(image), CONTRAST))
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        page.alpha_composite(image.convert("RGBA"))
        image = page
    return np.array(image.convert("RGB"))


def reduction(height: int, width: int, most: int) -> int:
    """By how much to reduce the sides of a large picture: 1, 2, 4 or 8. Raises UnreadableImage for one too large."""
    if height * width > most:
        raise UnreadableImage(f"{width} x {height} pixels are more than can be decoded; reduce it first")
    return next((factor for factor in (1, 2, 4) if height * width <= LARGE * factor**2), 8)


def shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    """The image with its sides divided by a factor."""
    if factor == 1:
        return image
    height, width = image.shape[:2]
    size = max(1, width // factor), max(1, height // factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def by_range(values: np.ndarray, percentiles: tuple[float, float] | None = None) -> np.ndarray:
    """Numbers as uint8 of the same shape, scaled by their least and greatest or by two percentiles.

    Those within 0..255, and floating-point ones within 0..1, keep the scale that they have.
    """
    if values.dtype == np.uint8:
        return values
    values = np.nan_to_num(values.astype(np.float32, copy=False)) if values.dtype.kind == "f" else values
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return scaled(values, 0, 1)
    if low >= 0 and high <= 255:
        return scaled(values, 0, 255)
    if low == high:
        return np.full(values.shape, min(int(max(low, 0)) >> 8, 255), np.uint8)  # of 16 bits
    if percentiles:
        inner = np.percentile(values, percentiles)
        low, high = inner if inner[0] < inner[1] else (low, high)
    return scaled(values, low, high)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    shades = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.rint(np.clip(shades, 0, 255)).astype(np.uint8)


def first_bands(image: np.ndarray) -> np.ndarray:
    """uint8 ``[H, W]`` or ``[H, W, C]`` as ``[H, W, 3]``: the first three bands; the mean of two is the third."""
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(np.ascontiguousarray(image.reshape(image.shape[:2])), cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 2:
        return np.dstack([image, image.mean(axis=2).astype(np.uint8)])
    return np.ascontiguousarray(image[..., :3])


def deep_on_white(image: np.ndarray) -> np.ndarray:
    """The uint16 samples ``[H, W, 4]``, BGR and alpha, on white."""
    if image.ndim == 2 or image.shape[2] != 4:  # a colour that counts as transparent
        return first_bands(by_range(image if image.ndim == 2 else image[..., ::-1]))
    alpha = image[..., 3:] / np.float32(65535)
    colours = by_range(image[..., 2::-1])
    return np.rint(colours * alpha + 255 * (1 - alpha)).astype(np.uint8)
