"""TFRecord and BSON: files of records, each with an encoded image and what is known of it."""

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from competition.containers.container import Container, Picture, container, damage_named, frame_of, suffix_of
from competition.containers.pixels import LEAST, grid_of

_LONGEST = 1 << 28  # bytes of a record
_LONGEST_TEXT = 512  # bytes of a feature that is text

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
            for _ in _pictures_in(record)
        ]
    return container(path, kind, frame_of(rows), lambda: (each for one in read(path) for each in _pictures_in(one)))


def _is_scalar(value: object) -> bool:
    if isinstance(value, bytes):
        return len(value) <= _LONGEST_TEXT and _is_text(value)
    return not isinstance(value, list) or len(value) < LEAST


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _pictures_in(record: Record) -> list[Picture]:
    """The encoded images in a record; without one, the longest list of numbers or bytes is taken for pixels."""
    encoded = [value for value in record.values() if isinstance(value, bytes) and suffix_of(value)]
    if encoded:
        return list(encoded)
    longest = max((value for value in record.values() if not _is_scalar(value)), key=len, default=None)
    if longest is None:
        return []
    values = np.frombuffer(longest, np.uint8) if isinstance(longest, bytes) else np.array(longest)
    shape = [int(record[name]) for name in ("height", "width") if str(record.get(name, "")).isdecimal()]
    if len(shape) == 2 and values.size % (shape[0] * shape[1]) == 0:
        return [values.reshape(*shape, -1)]
    return [grid_of(values[np.newaxis]).picture(values)]


# TFRecord


def _examples(path: Path) -> Iterator[Record]:
    with _plain(path) as file:
        while header := file.read(12):  # the length and its check sum
            (length,) = struct.unpack("<Q4x", header)
            data = _exactly(file, length + 4)[:length]
            yield _example(memoryview(data))


def _plain(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if is_compressed else path.open("rb")


def _exactly(file: IO[bytes], length: int) -> bytes:
    if length > _LONGEST:
        raise ValueError(f"a record of {length} bytes")
    data = file.read(length)
    if len(data) < length:
        raise EOFError("it ends within a record")
    return data


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
                values.append(bytes(value))
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
        if position + length > len(data):
            raise EOFError("a field is longer than its record")
        yield number, data[position : position + length]
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
    with path.open("rb") as file:
        while header := file.read(4):
            (length,) = struct.unpack("<i", header)
            if length < 5:
                raise ValueError("a document of no length")
            yield dict(_flat(_exactly(file, length - 4)))


def _flat(data: bytes, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The elements of a document and of those in it, by their names joined with dots."""
    position = 0
    while data[position]:
        kind = data[position]
        end = data.index(b"\0", position + 1)
        name, position = prefix + data[position + 1 : end].decode(), end + 1
        if kind in (0x03, 0x04):
            (length,) = struct.unpack_from("<i", data, position)
            yield from _flat(data[position + 4 : position + length], f"{name}.")
        else:
            length, value = _element(kind, data, position)
            yield name, value
        position += length


def _element(kind: int, data: bytes, position: int) -> tuple[int, Any]:
    """The length in bytes and the value of an element that is no document."""
    if kind in (0x02, 0x05):
        (length,) = struct.unpack_from("<i", data, position)
        begin = position + (4 if kind == 0x02 else 5)
        content = data[begin : begin + length]
        return begin - position + length, content[:-1] if kind == 0x02 else content
    lengths = {0x01: "<d", 0x08: "<?", 0x09: "<q", 0x10: "<i", 0x11: "<Q", 0x12: "<q"}
    if kind in lengths:
        return struct.calcsize(lengths[kind]), struct.unpack_from(lengths[kind], data, position)[0]
    return {0x06: 0, 0x07: 12, 0x0A: 0}[kind], data[position : position + 12].hex() if kind == 0x07 else None
