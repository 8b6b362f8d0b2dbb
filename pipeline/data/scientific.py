"""Decodes what science and medicine store: TIFF of many bands or floating-point numbers, arrays, DICOM."""

import io
from math import isqrt
from types import ModuleType

import cv2
import numpy as np
from PIL import TiffImagePlugin

from pipeline.data.decoders import (
    CONTRAST,
    UnreadableImage,
    by_range,
    decode_with_cv2,
    decode_with_pillow,
    deep_on_white,
    first_bands,
    scaled,
)
from pipeline.runtime.memory import raise_shortage

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NPY_START = b"\x93NUMPY"
SIGNAL = 512  # numbers of a row that is a signal, not a line of a picture, if there are three rows at most


def decode_tiff(data: bytes) -> np.ndarray:
    """A TIFF; Pillow reads those of 8 bits and of one band, cv2 the others of up to four bands."""
    tags = _tiff_tags(data)
    bands, bits = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1), max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if (bits <= 8 and bands in (1, 3, 4)) or (bits <= 32 and bands == 1):
        return decode_with_pillow(data)
    if bands > 4 or bands == 2:
        return first_bands(by_range(_read_bands(data), CONTRAST))
    image = decode_with_cv2(data, cv2.IMREAD_UNCHANGED)
    if image.dtype == np.uint16 and bands == 4 and {1, 2}.intersection(tags.get(TiffImagePlugin.EXTRASAMPLES, ())):
        return deep_on_white(image)
    return first_bands(by_range(image[..., 2::-1] if image.ndim == 3 else image, CONTRAST if bits > 16 else None))


def _tiff_tags(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """What the header of a TIFF's first page says."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])  # BigTIFF
        with io.BytesIO(data) as file:
            file.seek(tags.next)
            tags.load(file)
    except Exception as error:  # Pillow's reader raises many types for damaged files
        raise_shortage(error)
        raise UnreadableImage("the TIFF is cut short or damaged") from error
    if TiffImagePlugin.IMAGEWIDTH not in tags:
        raise UnreadableImage("the TIFF is cut short or damaged")
    return tags


def _read_bands(data: bytes) -> np.ndarray:
    """The first page of a TIFF of many bands as ``[H, W, bands]``."""
    package = _package("tifffile", "TIFF files of many bands")
    try:
        with package.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            bands = page.asarray()
            return bands if page.axes[-1] == "S" or bands.ndim == 2 else np.moveaxis(bands, 0, -1)
    except Exception as error:
        raise_shortage(error)
        raise UnreadableImage(str(error)) from error


def decode_array(data: bytes) -> np.ndarray:
    """A .npy file: ``[H, W]``, ``[H, W, C]``, ``[C, H, W]``, or frames ``[N, H, W]`` that are put below each other.

    Up to three long signals, ``[C, L]``, are the channels of a picture with the length folded into lines.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:
        raise_shortage(error)
        raise UnreadableImage(str(error)) from error
    shape, array = array.shape, np.squeeze(array)
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
        raise UnreadableImage(f"an array of {array.dtype} {list(shape)}, not of numbers [height, width]")
    if array.ndim == 2 and array.shape[0] <= 3 and array.shape[1] >= SIGNAL:
        array = _folded(array)
    if array.ndim == 3 and array.shape[0] <= 4 < array.shape[2]:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] > 4:
        array = array.reshape(-1, array.shape[2])
    return first_bands(by_range(array, CONTRAST))


def _folded(signals: np.ndarray) -> np.ndarray:
    """Signals ``[C, L]`` as ``[C, H, W]``, as near to a square as the length allows."""
    channels, length = signals.shape
    height = max(side for side in range(1, isqrt(length) + 1) if length % side == 0)
    return signals.reshape(channels, height, length // height)


def decode_dicom(data: bytes) -> np.ndarray:
    package = _package("pydicom", "DICOM files")
    try:
        package.config.settings.reading_validation_mode = package.config.IGNORE  # it would warn on stderr
        dataset = package.dcmread(io.BytesIO(data))
        pixels = _dicom_pixels(dataset)
        if pixels.ndim == 3:
            return first_bands(by_range(pixels))
        shades = _through_window(dataset, pixels)
    except Exception as error:
        raise_shortage(error)
        raise UnreadableImage(" ".join(str(error).split())) from error
    return first_bands(255 - shades if dataset.PhotometricInterpretation == "MONOCHROME1" else shades)


def _dicom_pixels(dataset) -> np.ndarray:  # type: ignore[no-untyped-def]  # of the package that may be missing
    """The first frame, ``[H, W]`` or ``[H, W, 3]``."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        pixels = dataset.pixel_array
    except RuntimeError as error:  # no decoder for what it is compressed with
        if not syntax.is_compressed:
            raise
        remedy = "run: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        raise UnreadableImage(f"compressed as {syntax.name}; {remedy}") from error
    return pixels[0] if int(dataset.get("NumberOfFrames", 1) or 1) > 1 else pixels


def _through_window(dataset, pixels: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """uint8 ``[H, W]``: values in the units of the DICOM, shown through its first window if it names one."""
    slope, intercept = (_first_number(dataset.get(name)) for name in ("RescaleSlope", "RescaleIntercept"))
    values = pixels.astype(np.float32) * (1 if slope is None else slope) + (intercept or 0)
    centre, width = (_first_number(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width <= 1:
        return by_range(values if pixels.dtype != np.uint8 else pixels, CONTRAST)
    return scaled(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _first_number(value: object) -> float | None:
    """The first of several numbers in a DICOM's element; None if it is missing or empty."""
    if value is None or value == "":
        return None
    numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    return float(numbers[0]) if numbers.size else None


def _package(name: str, what: str) -> ModuleType:
    """An optional package. Raises UnreadableImage with the command that installs it."""
    try:
        return __import__(name)
    except ImportError:
        raise UnreadableImage(f"{what} need the package {name}; run: pip install {name}") from None
