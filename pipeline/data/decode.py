"""Decode an image file to the RGB pixels that a viewer would show, and hash the file."""

import hashlib
import os
import re
import struct
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np

from pipeline.data import decoders, fitting, png, scientific
from pipeline.data.decoders import UnreadableImage, decode_with_cv2, decode_with_pillow, one_large, reduction
from pipeline.data.fitting import LARGE, Size, resize
from pipeline.data.png import PNG_START, decode_png
from pipeline.data.scientific import NPY_START, TIFF_STARTS, decode_array, decode_dicom, decode_tiff
from pipeline.runtime.memory import raise_shortage

__all__ = ["SOURCES", "ImagePath", "UnreadableImage", "content_hash", "decode", "decode_bytes", "read_file", "resize"]

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
JPEG_SCAN = b"\xff\xda"
JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\0[\x0b\x11\x14][\x08\x0c](.{4})", re.DOTALL)
APPLICATION = frozenset(bytes([marker]) for marker in range(0xE0, 0xF0))  # markers of what applications add
MOST_JPEG = (1 << 30) - 1  # pixels; a JPEG is reduced while it is decoded
SMALL_JPEG = 200_000  # bytes; fewer never hold a large picture
PIECE = 1 << 16  # bytes read at once; enough for most small images
READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # Windows would change line ends
SOURCES = tuple(
    Path(source) for source in (__file__, decoders.__file__, fitting.__file__, png.__file__, scientific.__file__)
)
REDUCED = {  # flags of cv2 for RGB at a half, a quarter and an eighth of the size
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
}

ImagePath = str | os.PathLike[str]


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


def read_file(path: ImagePath) -> bytes:
    """The file's bytes, read with fewer system calls than open() makes, because threads switch at each call."""
    file = os.open(path, READING)
    try:
        pieces = [os.read(file, PIECE)]
        if len(pieces[0]) < PIECE:
            return pieces[0]
        while len(pieces[-1]) >= PIECE:
            pieces.append(os.read(file, max(PIECE, os.fstat(file).st_size)))
        return b"".join(pieces)
    finally:
        os.close(file)


def decode_bytes(data: bytes, least: Size | None = None) -> np.ndarray:
    """``decode`` for the content of a file.

    With cv2, up to four times as fast as Pillow, if it is correct for the format; otherwise with Pillow.
    least: height and width that are enough; a JPEG is then decoded at a half, a quarter or an eighth of its size if
        that is no smaller, which is several times as fast.
    """
    return decode_sized(data, least)[0]


def decode_sized(data: bytes, least: Size | None = None) -> tuple[np.ndarray, Size]:
    """``decode_bytes``, and (height, width) of the picture in the file, also of a JPEG that was reduced meanwhile."""
    if data.startswith(JPEG_START):
        _check_jpeg(data)
        height, width = shape = jpeg_shape(data)
        image = _decode_jpeg(data, shape, least)
        is_turned = (height > width) != (image.shape[0] > image.shape[1])  # as its EXIF data say
        return image, (width, height) if is_turned else shape
    image = _decode_other(data)
    return image, (image.shape[0], image.shape[1])


def _decode_other(data: bytes) -> np.ndarray:
    if data.startswith(PNG_START):
        return decode_png(data)
    if data.startswith(TIFF_STARTS):
        return decode_tiff(data)
    if data.startswith(NPY_START):
        return decode_array(data)
    if data[128:132] == b"DICM":
        return decode_dicom(data)
    return decode_with_pillow(data)


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


def jpeg_shape(data: bytes) -> Size:
    """Height and width, as the frame's header says."""
    position = 2
    while data[position + 1 : position + 2] in APPLICATION:  # a thumbnail in it has a header of its own
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    frame = JPEG_FRAME.search(data, position)
    return struct.unpack(">HH", frame[1]) if frame else (0, 0)


def _decode_jpeg(data: bytes, shape: Size, least: Size | None) -> np.ndarray:
    needed = reduction(*shape, MOST_JPEG) if len(data) >= SMALL_JPEG else 1
    factor = max(needed, _spare_reduction(shape, least) if least else 1)
    if factor == 1:
        return decode_with_cv2(data)
    with one_large if needed > 1 else nullcontext():
        image = decode_with_cv2(data, REDUCED[factor])
    if least and factor > needed and (image.shape[0] < least[0] or image.shape[1] < least[1]):
        return _decode_jpeg(data, shape, None)  # its EXIF data turn it, so that its sides are swapped
    return image


def _spare_reduction(shape: Size, least: Size) -> int:
    """By how much the sides of a large image can be reduced, 1, 2, 4 or 8, and be no shorter than ``least``."""
    if max(shape) <= LARGE:
        return 1
    spare = min(shape[0] // least[0], shape[1] // least[1])
    return next((factor for factor in (8, 4, 2) if factor <= spare), 1)
