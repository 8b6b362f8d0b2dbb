"""TFRecord and BSON give their images, ids and labels."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from competition.containers import read_container
from competition.errors import UserError
from tests.competition.containers.conftest import known, picture, png


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(value: object) -> bytes:
    if isinstance(value, bytes):
        return field(1, field(1, value))
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], float):
        return field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
    return field(3, field(1, b"".join(map(varint, values))))


def tfrecord(*records: dict[str, object]) -> bytes:
    data = b""
    for record in records:
        entries = [field(1, field(1, name.encode()) + field(2, feature(value))) for name, value in record.items()]
        example = field(1, b"".join(entries))
        data += struct.pack("<Q", len(example)) + b"sum." + example + b"sum."
    return data


RECORDS = [{"image": png(n), "id": f"f{n}".encode(), "class": n - 1, "tags": [n, 7], "share": 0.5} for n in range(3)]


@pytest.mark.parametrize("name", ["a.tfrec", "a.tfrecord", "a.tfrecords", "a.tfrecord-00000-of-00002", "a.tfrec.gz"])
def test_a_tfrecord_gives_images_ids_and_labels(tmp_path, extracted, name):
    data = tfrecord(*RECORDS)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = known(tmp_path / name)
    assert (found.kind, found.id_name, len(found)) == ("TFRecord", "id", 3)
    assert found.columns.iloc[0].to_dict() == {"id": "f0", "class": "-1", "tags": "0 7", "share": "0.5"}
    images = extracted([tmp_path / name])
    assert all(np.array_equal(images[f"f{number}"], picture(number)) for number in range(3))


@pytest.mark.parametrize("name", ["image_name", "StudyInstanceUID", "ID", "img_id", "code"])
def test_the_id_of_a_tfrecord_is_found_by_many_names(tmp_path, name):
    records = [{"jpeg": png(n), name: f"f{n}".encode(), "target": n, "patient_id": 5, "site": b"leg"} for n in range(3)]
    (tmp_path / "a.tfrec").write_bytes(tfrecord(*records))
    found = known(tmp_path / "a.tfrec")
    assert found.id_name == name and found.columns["id"].tolist() == ["f0", "f1", "f2"]
    assert list(found.columns.columns) == ["id", "target", "patient_id", "site"]


def test_a_tfrecord_without_ids_is_numbered_and_may_hold_raw_pixels(tmp_path, extracted):
    records = [{"image_raw": picture(n).tobytes(), "height": 12, "width": 8, "label": n} for n in range(2)]
    (tmp_path / "a.tfrec").write_bytes(tfrecord(*records))
    assert known(tmp_path / "a.tfrec").id_name is None
    images = extracted([tmp_path / "a.tfrec"])
    assert list(images) == ["1", "2"] and np.array_equal(images["2"], picture(1))


def test_records_that_lack_a_feature_have_an_empty_cell(tmp_path):
    (tmp_path / "a.tfrec").write_bytes(
        tfrecord({"id": b"a", "image": png(0), "class": 4}, {"id": b"b", "image": png(1)})
    )
    assert known(tmp_path / "a.tfrec").columns["class"].tolist() == ["4", ""]


def element(name: str, value: object) -> bytes:
    key = name.encode() + b"\0"
    if isinstance(value, bytes):
        return b"\x05" + key + struct.pack("<i", len(value)) + b"\0" + value
    if isinstance(value, str):
        return b"\x02" + key + struct.pack("<i", len(value) + 1) + value.encode() + b"\0"
    if isinstance(value, int):
        return b"\x10" + key + struct.pack("<i", value)
    if isinstance(value, list):
        return b"\x04" + key + document({str(place): each for place, each in enumerate(value)})
    return b"\x03" + key + document(value)


def document(values: dict[str, object]) -> bytes:
    body = b"".join(element(name, value) for name, value in values.items()) + b"\0"
    return struct.pack("<i", len(body) + 4) + body


def test_a_bson_gives_a_row_for_each_picture_of_a_document(tmp_path):
    first = {"_id": 7, "category_id": 1000, "imgs": [{"picture": png(0)}, {"picture": png(1)}], "shop": "x"}
    second = {"_id": 8, "category_id": 1001, "imgs": [{"picture": png(2)}], "shop": "y"}
    (tmp_path / "train.bson").write_bytes(document(first) + document(second))
    found = known(tmp_path / "train.bson")
    assert found.id_name == "_id" and found.columns["id"].tolist() == ["7", "7", "8"]
    assert found.columns["category_id"].tolist() == ["1000", "1000", "1001"]
    assert list(found.pictures()) == [png(0), png(1), png(2)]


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.tfrec", tfrecord(*RECORDS)), ("a.bson", document({"_id": 1, "picture": png(0)}) * 2)],
)
def test_a_damaged_file_of_records_is_named_and_never_gives_a_traceback(tmp_path: Path, name, data):
    path = tmp_path / name
    rng = np.random.default_rng(0)
    path.write_bytes(data[:-10])
    with pytest.raises(UserError, match=rf"{name}: not a complete .*; download it again"):
        read_container(path)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            if found := read_container(path):
                list(found.pictures())
        except UserError as error:
            assert str(path) in str(error)
