"""TFRecord and BSON: files of records, each with an encoded image and what is known of it."""

import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from competition.containers.container import (
    Container,
    Picture,
    container,
    content_of,
    damage_named,
    frame_of,
    suffix_of,
)
from competition.containers.pixels import LEAST, grid_of

_LONGEST_TEXT = 512  # bytes of a feature that is text
_LONGEST_NAME = 1024  # bytes of the name of an element

Record = dict[str, Any]


def read_tfrecord(path: Path) -> Container | None:
    """TFRecord files of ``tf.train.Example``; their check sums are not verified."""
    return _of_records(path, "TFRecord", _examples)


def read_bson(path: Path) -> Container | None:
    """BSON dumps of MongoDB; a document with several images gives a row for each."""
    return _of_records(path, "BSON", _documents)


def _of_records(path: Path, kind: str, read: Callable[[Path], Iterator[Record]]) -> Container | None:
    with damage_named(path, kind):
        rows = [
            {name: value for name, value in record.items() if _is_scalar(value)}
            for record in read(path)
            for _ in _images_in(record)
        ]
    return container(path, kind, frame_of(rows), lambda: _pictures(read(path)))


def _is_scalar(value: object) -> bool:
    if isinstance(value, memoryview):
        return len(value) <= _LONGEST_TEXT and _is_text(bytes(value))
    return not isinstance(value, list) or len(value) < LEAST


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _images_in(record: Record) -> list[Any]:
    """The encoded images in a record; without one, the longest list of numbers or bytes is taken for pixels."""
    if encoded := [value for value in record.values() if _is_encoded(value)]:
        return encoded
    longest = max((value for value in record.values() if not _is_scalar(value)), key=len, default=None)
    return [] if longest is None else [longest]


def _is_encoded(value: object) -> bool:
    return isinstance(value, memoryview) and suffix_of(value) is not None


def _pictures(records: Iterable[Record]) -> Iterator[Picture]:
    for record in records:
        for image in _images_in(record):
            yield bytes(image) if _is_encoded(image) else _of_pixels(image, record)


def _of_pixels(pixels: Any, record: Record) -> np.ndarray:
    """A list of numbers, or bytes, as a picture of the height and width that its record says."""
    values = np.frombuffer(pixels, np.uint8) if isinstance(pixels, memoryview) else np.array(pixels)
    shape = [int(record[name]) for name in ("height", "width") if str(record.get(name, "")).isdecimal()]
    if len(shape) == 2 and values.size % (shape[0] * shape[1]) == 0:
        return values.reshape(*shape, -1)
    return grid_of(values[np.newaxis]).picture(values)


# TFRecord


def _examples(path: Path) -> Iterator[Record]:
    data, position = content_of(path), 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        begin = position + 12  # behind the length and its check sum
        yield _example(_slice(data, begin, length))
        position = begin + length + 4


def _slice(data: memoryview, begin: int, length: int) -> memoryview:
    """Some bytes of a file, not copied. Raises EOFError if it ends before them."""
    if length < 0 or begin + length > len(data):
        raise EOFError("it ends within a record")
    return data[begin : begin + length]


def _example(data: memoryview) -> Record:
    """The features of an Example by name: bytes, a number, or a list of several."""
    features: Record = {}
    for _, message in _fields(data):
        for _, entry in _fields(message):
            parts = dict(_fields(entry))
            features[bytes(parts[1]).decode()] = _feature(parts.get(2, memoryview(b"")))
    return features


def _feature(data: memoryview) -> Any:
    values: list[Any] = []
    for kind, content in _fields(data):
        for _, value in _fields(content):
            if kind == 1:
                values.append(value)
            elif kind == 2:
                values += np.frombuffer(value, "<f4").tolist()
            else:
                values += [value] if isinstance(value, int) else _varints(value)
    return values[0] if len(values) == 1 else values


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: their number, and an int or the bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, _signed(value)
            continue
        length, position = _varint(data, position) if wire == 2 else ({1: 8, 5: 4}[wire], position)
        yield number, _slice(data, position, length)
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varints(data: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(data):
        value, position = _varint(data, position)
        values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


# BSON


def _documents(path: Path) -> Iterator[Record]:
    data, position = content_of(path), 0
    while position < len(data):
        (length,) = struct.unpack_from("<i", data, position)
        yield dict(_flat(_slice(data, position + 4, length - 4)))
        position += length


def _flat(data: memoryview, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The elements of a document and of those in it, by their names joined with dots."""
    position = 0
    while kind := data[position]:
        name, end, _ = bytes(data[position + 1 : position + 1 + _LONGEST_NAME]).partition(b"\0")
        position += 1 + len(name) + len(end)
        path = prefix + name.decode()
        if kind in (0x03, 0x04):
            (length,) = struct.unpack_from("<i", data, position)
            yield from _flat(_slice(data, position + 4, length - 4), f"{path}.")
        else:
            length, value = _element(kind, data, position)
            yield path, value
        position += length


def _element(kind: int, data: memoryview, position: int) -> tuple[int, Any]:
    """The length in bytes and the value of an element that is no document."""
    if kind in (0x02, 0x05):
        (length,) = struct.unpack_from("<i", data, position)
        begin = position + (4 if kind == 0x02 else 5)
        content = _slice(data, begin, length)
        return begin - position + length, content[:-1] if kind == 0x02 else content
    lengths = {0x01: "<d", 0x08: "<?", 0x09: "<q", 0x10: "<i", 0x11: "<Q", 0x12: "<q"}
    if kind in lengths:
        return struct.calcsize(lengths[kind]), struct.unpack_from(lengths[kind], data, position)[0]
    return {0x06: 0, 0x07: 12, 0x0A: 0}[kind], data[position : position + 12].hex() if kind == 0x07 else None
