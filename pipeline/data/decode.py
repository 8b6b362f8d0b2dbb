"""From one image file to pixels: the RGB a viewer would show, at the size asked for."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
JPEG_SCAN = b"\xff\xda"
PNG_START = b"\x89PNG\r\n\x1a\n"
PIECE = 1 << 16  # bytes; most small images come in one
PNG_ALPHA = 4  # the bit of IHDR's colour type that announces an alpha channel


class UnreadableImage(Exception):  # noqa: N818 - the name says what is wrong with the image
    """The file is missing, empty, cut short, damaged, or no image."""


def decode(path: str | os.PathLike[str]) -> np.ndarray:
    """The image as uint8 ``[H, W, 3]``, RGB in 0..255.

    Turned upright as EXIF says; 16-bit samples keep their high byte; of an animation the first frame.
    Transparency lies on white: the page that viewers and notebooks lay an image on, and the background
    of nearly all cut-out pictures.

    Raises UnreadableImage, also for a JPEG or PNG that is cut short and that decoders fill with grey.
    """
    try:
        return _decode_bytes(_read(path))
    except (OSError, UnreadableImage) as error:
        raise UnreadableImage(f"{path}: {error}") from error


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 ``[height, width, 3]``: sides that shrink are averaged over areas, sides that grow are cubic."""
    shrunk = min(image.shape[1], width), min(image.shape[0], height)
    image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def _read(path: str | os.PathLike[str]) -> bytes:
    """The file's bytes in fewer system calls than open() makes: threads pass the interpreter on at each."""
    file = os.open(path, os.O_RDONLY)
    try:
        pieces = [os.read(file, PIECE)]
        while len(pieces[-1]) == PIECE:
            pieces.append(os.read(file, PIECE))
        return b"".join(pieces)
    finally:
        os.close(file)


def _decode_bytes(data: bytes) -> np.ndarray:
    """cv2 where it is right, at up to four times Pillow's speed; Pillow for the rest."""
    if data.startswith(JPEG_START):
        _check_jpeg(data)
        return _decode_with_cv2(data)
    if data.startswith(PNG_START) and not _check_png(data):
        return _decode_with_cv2(data)
    return _decode_with_pillow(data)


def _check_jpeg(data: bytes) -> None:
    """Refuse a JPEG that is cut short: decoders fill what is missing with grey."""
    if not data.endswith(JPEG_END) and data.rfind(JPEG_END, _first_scan(data)) < 0:
        raise UnreadableImage("the JPEG is cut short")


def _first_scan(data: bytes) -> int:
    """Where the header ends: a thumbnail in it has an end marker of its own."""
    position = 2
    while data[position : position + 2] not in (JPEG_SCAN, b""):
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position


def _check_png(data: bytes) -> bool:
    """Whether a PNG has transparency, which cv2 drops; refuse one that is cut short or damaged.

    Damage is looked for here because libpng would complain on stderr.
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


def _decode_with_cv2(data: bytes) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise UnreadableImage(error.err) from error
    if image is None:
        raise UnreadableImage("the data is damaged")
    return image


def _decode_with_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(_as_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise UnreadableImage("not an image") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them into
        raise UnreadableImage(str(error)) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow would clip 16 bits to 8
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        page.alpha_composite(image.convert("RGBA"))
        image = page
    return image.convert("RGB")
