"""Decodes PNG, also 16-bit ones, and very large ones strip by strip; damage is found before libpng writes of it."""

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from pipeline.data import decoders
from pipeline.data.decoders import (
    UnreadableImage,
    by_range,
    decode_with_cv2,
    decode_with_pillow,
    deep_on_white,
    first_bands,
    one_large,
    reduction,
    shrunk,
)

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_ALPHA = 4  # the bit of IHDR's colour type for an alpha channel
STRIP = 1 << 21  # pixels of a large picture that are decoded at once
PIECE = 1 << 20  # bytes that are inflated at once
SAMPLES = {0: 1, 2: 3, 3: 1}  # bytes a pixel by colour type, at 8 bits: grey, RGB, palette


def decode_png(data: bytes) -> np.ndarray:
    """A PNG as uint8 ``[H, W, 3]``; see ``decode``."""
    is_transparent = _check_png(data)
    width, height, bits, colour, interlace = struct.unpack_from(">IIBBxxB", data, 16)
    factor = reduction(height, width, decoders.MOST)
    if factor > 1 and bits == 8 and colour in SAMPLES and not interlace and not is_transparent:
        return _decode_in_strips(data, width, colour, factor)
    if is_transparent:
        return deep_on_white(decode_with_cv2(data, cv2.IMREAD_UNCHANGED)) if bits == 16 else decode_with_pillow(data)
    if bits < 16 and factor == 1:
        return decode_with_cv2(data)
    with one_large:
        return shrunk(by_range(decode_with_cv2(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)), factor)


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


def _decode_in_strips(data: bytes, width: int, colour: int, factor: int) -> np.ndarray:
    """A large PNG of 8 bits without transparency, reduced by a factor; only a strip of it is in memory.

    A row depends on the one above it, so a strip is decoded as a picture whose first row is the last of the strip
    above.
    """
    samples = SAMPLES[colour]
    row = 1 + width * samples  # bytes; the first says how the row is filtered
    rows = max(1, STRIP // (width * factor)) * factor
    palette = next((np.frombuffer(chunk, np.uint8).reshape(-1, 3) for chunk in _chunks(data, b"PLTE")), None)
    above, strips = bytes(row), []
    for content in _inflated(data, rows * row):
        strip = decode_with_cv2(_as_png(above + content, width, samples), cv2.IMREAD_UNCHANGED)  # grey or BGR
        above = b"\0" + (strip[-1] if strip.ndim == 2 else strip[-1, :, ::-1]).tobytes()
        seen = palette[strip[1:]] if palette is not None and colour == 3 else strip[1:]
        small = shrunk(seen, factor)
        strips.append(first_bands(small if strip.ndim == 2 else small[..., ::-1]))
    return np.concatenate(strips)


def _chunks(data: bytes, wanted: bytes) -> Iterator[memoryview]:
    """The contents of all chunks of a kind."""
    view, position = memoryview(data), len(PNG_START)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == wanted:
            yield view[position + 8 : position + 8 + length]
        position += length + 12


def _inflated(data: bytes, size: int) -> Iterator[bytes]:
    """The filtered rows in pieces of a size; the last may be smaller."""
    engine, waiting = zlib.decompressobj(), bytearray()
    try:
        for chunk in _chunks(data, b"IDAT"):
            for begin in range(0, len(chunk), PIECE):
                rest: bytes | memoryview = chunk[begin : begin + PIECE]
                while rest:
                    waiting += engine.decompress(rest, size)
                    rest = engine.unconsumed_tail
                    while len(waiting) >= size:
                        yield bytes(waiting[:size])
                        del waiting[:size]
    except zlib.error as error:
        raise UnreadableImage("the PNG is damaged") from error
    if waiting:
        yield bytes(waiting)


def _as_png(rows: bytes, width: int, samples: int) -> bytes:
    """Filtered rows as a PNG of their own, grey or RGB."""
    height = len(rows) // (1 + width * samples)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if samples == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return PNG_START + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
