"""Decode an image file to the RGB pixels that a viewer would show, resize them, and hash the file."""

import hashlib
import io
import os
import struct
import threading
import zlib
from types import ModuleType

import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from pipeline.runtime.memory import raise_shortage

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
JPEG_SCAN = b"\xff\xda"
PNG_START = b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NPY_START = b"\x93NUMPY"
NO_IMAGES = {  # what often lies in the place of an image
    b"version https://git-lfs": "a pointer of Git LFS, not the image; run: git lfs pull",
    b"<!DOCTYPE": "a web page, not an image; download it again",
    b"<html": "a web page, not an image; download it again",
}
PIECE = 1 << 16  # bytes read at once; enough for most small images
PNG_ALPHA = 4  # the bit of IHDR's colour type for an alpha channel

LARGE = 1 << 26  # pixels, 200 MB as RGB; larger pictures are read at a half, a quarter or an eighth of their size
MOST = {"JPEG": (1 << 30) - 1, "others": 1 << 29}  # pixels that can be decoded; JPEGs are reduced while they are
SMALL_JPEG = 200_000  # bytes; fewer never hold a large picture
CONTRAST = (0.5, 99.5)  # percentiles that become black and white where numbers have no scale of their own
Image.MAX_IMAGE_PIXELS = None  # the limits here are those above
_one_large = threading.Lock()  # a large picture needs a gigabyte while it is decoded

ImagePath = str | os.PathLike[str]


class UnreadableImage(Exception):  # noqa: N818 - the name says what is wrong with the image
    """The file is missing, empty, cut short, damaged, or not an image."""


def decode(path: ImagePath) -> np.ndarray:
    """The image as uint8 ``[H, W, 3]``, RGB in 0..255.

    The image is rotated as its EXIF data say. An animation or a TIFF of several pages gives its first. Transparent
    pixels are blended with white: viewers and notebooks show them on white, and nearly all cut-out pictures have a
    white background. Of more than four bands the first three are taken.

    Numbers beyond 8 bits are scaled by the picture's own range, unless they are within 0..255 or (floating-point) 0..1:
    16-bit samples by their least and greatest value, arrays (.npy) and floating-point numbers by the 0.5 and 99.5
    percentiles. DICOM files are shown through the window that they name, else by these percentiles. Several frames in
    an array ``[N, H, W]`` are put below each other.

    Pictures of more than 67 million pixels are read reduced.

    Raises UnreadableImage if the file cannot be read, also for a JPEG or PNG that is cut short, although decoders fill
    its missing part with grey.
    """
    try:
        return decode_bytes(read_file(path))
    except (OSError, UnreadableImage) as error:
        raise_shortage(error)
        raise UnreadableImage(f"{path}: {error}") from error


def content_hash(data: bytes) -> int:
    """The first 64 bits of the SHA-256 of a file's content, which many processors compute in hardware."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8])


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image as uint8 ``[height, width, 3]``; area averaging shrinks a side, cubic interpolation enlarges it."""
    shrunk = min(image.shape[1], width), min(image.shape[0], height)
    image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def read_file(path: ImagePath) -> bytes:
    """The file's bytes, read with fewer system calls than open() makes, because threads switch at each call."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # Windows would change line ends
    try:
        pieces = [os.read(file, PIECE)]
        while len(pieces[-1]) == PIECE:
            pieces.append(os.read(file, PIECE))
        return b"".join(pieces)
    finally:
        os.close(file)


def decode_bytes(data: bytes) -> np.ndarray:
    """``decode`` for the content of a file.

    With cv2, up to four times as fast as Pillow, if it is correct for the format; otherwise with Pillow.
    """
    if data.startswith(JPEG_START):
        _check_jpeg(data)
        return _decode_with_cv2(data) if len(data) < SMALL_JPEG else _decode_large_jpeg(data)
    if data.startswith(PNG_START):
        return _decode_png(data)
    if data.startswith(TIFF_STARTS):
        return _decode_tiff(data)
    if data.startswith(NPY_START):
        return _decode_array(data)
    if data[128:132] == b"DICM":
        return _decode_dicom(data)
    return _decode_with_pillow(data)


def _check_jpeg(data: bytes) -> None:
    """Raises UnreadableImage if a JPEG is cut short; decoders would fill its missing part with grey."""
    if not data.endswith(JPEG_END) and data.rfind(JPEG_END, _first_scan(data)) < 0:
        raise UnreadableImage("the JPEG is cut short")


def _first_scan(data: bytes) -> int:
    """The position where the header ends; the search starts there, as a thumbnail in it has its own end marker."""
    position = 2
    while data[position : position + 2] not in (JPEG_SCAN, b""):
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position


def _check_png(data: bytes) -> bool:
    """Whether a PNG has transparency, which cv2 drops. Raises UnreadableImage if it is cut short or damaged.

    Damage is checked here because libpng would print a message on stderr.
    """
    view = memoryview(data)
    position, kind, transparent = len(PNG_START), b"", False
    try:
        while kind != b"IEND":
            length, kind = struct.unpack_from(">I4s", data, position)
            end = position + 8 + length
            if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                raise UnreadableImage("the PNG is damaged")
            transparent |= kind == b"tRNS" or (kind == b"IHDR" and bool(data[position + 17] & PNG_ALPHA))
            position = end + 4
    except struct.error:
        raise UnreadableImage("the PNG is cut short") from None
    return transparent


def _jpeg_shape(data: bytes) -> tuple[int, int]:
    """Height and width, as the frame's header says."""
    position = 2
    while position + 9 <= len(data):
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return height, width
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, 0


def _decode_large_jpeg(data: bytes) -> np.ndarray:
    factor = _reduction(*_jpeg_shape(data), MOST["JPEG"])
    if factor == 1:
        return _decode_with_cv2(data)
    flags = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
    with _one_large:
        return cv2.cvtColor(_decode_with_cv2(data, flags[factor]), cv2.COLOR_BGR2RGB)


def _reduction(height: int, width: int, most: int) -> int:
    """By how much to reduce the sides of a large picture: 1, 2, 4 or 8. Raises UnreadableImage for one too large."""
    if height * width > most:
        raise UnreadableImage(f"{width} x {height} pixels are more than can be decoded; reduce it first")
    return next((factor for factor in (1, 2, 4) if height * width <= LARGE * factor**2), 8)


def _shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(1, width // factor), max(1, height // factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _decode_png(data: bytes) -> np.ndarray:
    is_transparent, is_deep = _check_png(data), data[24] == 16  # bits a sample
    width, height = struct.unpack_from(">II", data, 16)
    factor = _reduction(height, width, MOST["others"])
    if factor > 1 and not is_transparent:
        with _one_large:
            image = _shrunk(_decode_with_cv2(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH), factor)
        return _as_colours(_by_range(image), cv2.COLOR_BGR2RGB)
    if is_deep and is_transparent:
        return _deep_on_white(_decode_with_cv2(data, cv2.IMREAD_UNCHANGED))
    if is_deep:
        return _by_range(_decode_with_cv2(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH))
    return _decode_with_pillow(data) if is_transparent else _decode_with_cv2(data)


def _as_colours(image: np.ndarray, conversion: int) -> np.ndarray:
    """``[H, W]`` or ``[H, W, 3]`` as ``[H, W, 3]``."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else conversion)


def _deep_on_white(image: np.ndarray) -> np.ndarray:
    """The uint16 samples ``[H, W, 4]``, BGR and alpha, on white."""
    if image.ndim == 2 or image.shape[2] != 4:  # a colour that counts as transparent
        return _as_colours(_by_range(image), cv2.COLOR_BGR2RGB)
    alpha = image[..., 3:] / np.float32(65535)
    colours = _by_range(image[..., 2::-1])
    return np.rint(colours * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _by_range(values: np.ndarray, percentiles: tuple[float, float] | None = None) -> np.ndarray:
    """Numbers as uint8 of the same shape, scaled by their least and greatest or by two percentiles.

    Those within 0..255, and floating-point ones within 0..1, keep the scale that they have.
    """
    if values.dtype == np.uint8:
        return values
    values = np.nan_to_num(values.astype(np.float32, copy=False)) if values.dtype.kind == "f" else values
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return _scaled(values, 0, 1)
    if low >= 0 and high <= 255:
        return _scaled(values, 0, 255)
    if low == high:
        return np.full(values.shape, min(int(max(low, 0)) >> 8, 255), np.uint8)  # of 16 bits
    if percentiles:
        inner = np.percentile(values, percentiles)
        low, high = inner if inner[0] < inner[1] else (low, high)
    return _scaled(values, low, high)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    shades = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.rint(np.clip(shades, 0, 255)).astype(np.uint8)


def _decode_tiff(data: bytes) -> np.ndarray:
    """A TIFF; Pillow reads those of 8 bits and of one band, cv2 the others of up to four bands."""
    tags = _tiff_tags(data)
    bands, bits = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1), max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if (bits <= 8 and bands in (1, 3, 4)) or (bits <= 32 and bands == 1):
        return _decode_with_pillow(data)
    if bands > 4 or bands == 2:
        return _first_bands(_by_range(_read_bands(data), CONTRAST))
    image = _decode_with_cv2(data, cv2.IMREAD_UNCHANGED)
    if image.dtype == np.uint16 and bands == 4 and {1, 2}.intersection(tags.get(TiffImagePlugin.EXTRASAMPLES, ())):
        return _deep_on_white(image)
    return _first_bands(_by_range(image[..., 2::-1] if image.ndim == 3 else image, CONTRAST if bits > 16 else None))


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


def _first_bands(image: np.ndarray) -> np.ndarray:
    """uint8 ``[H, W]`` or ``[H, W, C]`` as ``[H, W, 3]``: the first three bands; the mean of two is the third."""
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(np.ascontiguousarray(image.reshape(image.shape[:2])), cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 2:
        return np.dstack([image, image.mean(axis=2).astype(np.uint8)])
    return np.ascontiguousarray(image[..., :3])


def _decode_array(data: bytes) -> np.ndarray:
    """A .npy file: ``[H, W]``, ``[H, W, C]``, ``[C, H, W]``, or frames ``[N, H, W]`` that are put below each other."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:
        raise_shortage(error)
        raise UnreadableImage(str(error)) from error
    shape, array = array.shape, np.squeeze(array)
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
        raise UnreadableImage(f"an array of {array.dtype} {list(shape)}, not of numbers [height, width]")
    if array.ndim == 3 and array.shape[0] <= 4 < array.shape[2]:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] > 4:
        array = array.reshape(-1, array.shape[2])
    return _first_bands(_by_range(array, CONTRAST))


def _decode_dicom(data: bytes) -> np.ndarray:
    package = _package("pydicom", "DICOM files")
    try:
        package.config.settings.reading_validation_mode = package.config.IGNORE  # it would warn on stderr
        dataset = package.dcmread(io.BytesIO(data))
        pixels = _dicom_pixels(dataset)
        if pixels.ndim == 3:
            return _first_bands(_by_range(pixels))
        shades = _through_window(dataset, pixels)
    except Exception as error:
        raise_shortage(error)
        raise UnreadableImage(" ".join(str(error).split())) from error
    return _first_bands(255 - shades if dataset.PhotometricInterpretation == "MONOCHROME1" else shades)


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
        return _by_range(values if pixels.dtype != np.uint8 else pixels, CONTRAST)
    return _scaled(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


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


def _decode_with_cv2(data: bytes, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise_shortage(error)
        raise UnreadableImage(error.err) from error
    if image is None:
        raise UnreadableImage("the data is damaged")
    return image


def _decode_with_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            factor = _reduction(image.height, image.width, MOST["others"])
            if factor == 1:
                return _as_rgb(ImageOps.exif_transpose(image))
            with _one_large:
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
        return _first_bands(_by_range(np.asarray(image)))
    if image.mode == "F":
        return _first_bands(_by_range(np.asarray(image), CONTRAST))
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        page.alpha_composite(image.convert("RGBA"))
        image = page
    return np.array(image.convert("RGB"))
