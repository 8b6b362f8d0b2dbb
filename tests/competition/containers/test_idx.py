"""The idx files of MNIST: images with the labels beside them, gzipped or not."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from competition.containers import read_container
from competition.errors import UserError
from competition.layouts import load_competition
from tests.competition.containers.conftest import known, picture

STACK = np.stack([picture(number) for number in range(6)])
LABELS = np.array([7, 0, 1, 7, 0, 1], np.uint8)


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def write(path: Path, values: np.ndarray) -> None:
    data = idx(values)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    ],
)
def test_images_are_numbered_and_have_the_labels_beside_them(tmp_path, extracted, images, labels):
    write(tmp_path / images, STACK)
    write(tmp_path / labels, LABELS)
    assert known(tmp_path / images).columns.iloc[3].to_dict() == {"id": "4", "label": "7"}
    assert np.array_equal(extracted([tmp_path / images])["6"], STACK[5])
    assert read_container(tmp_path / labels) is None


def test_labels_are_as_many_as_images(tmp_path):
    write(tmp_path / "train-images-idx3-ubyte", STACK)
    write(tmp_path / "train-labels-idx1-ubyte", LABELS[:5])
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte: 5 labels of 6 images in train-images-idx3-ubyte"):
        read_container(tmp_path / "train-images-idx3-ubyte")


@pytest.mark.parametrize(
    "data",
    [b"no idx", idx(STACK)[:3], idx(STACK)[:9], gzip.compress(idx(STACK))[:30]],
    ids=["no idx", "cut magic number", "cut sizes", "cut gzip"],  # all test processes must name them alike
)
def test_a_damaged_header_is_named(tmp_path, data):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(data)
    with pytest.raises(UserError, match="train-images-idx3-ubyte: not a complete idx file"):
        read_container(tmp_path / "train-images-idx3-ubyte")


def test_missing_pixels_are_found_when_they_are_read(tmp_path, extracted):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(STACK)[:-1])
    with pytest.raises(UserError, match="train-images-idx3-ubyte: not a complete idx file"):
        extracted([tmp_path / "train-images-idx3-ubyte"])


def test_the_files_of_mnist_are_a_competition(tmp_path):
    for part in ("train", "t10k"):
        write(tmp_path / f"{part}-images-idx3-ubyte", STACK)
        write(tmp_path / f"{part}-labels-idx1-ubyte", LABELS)
    competition = load_competition(tmp_path)
    assert competition.classes == (0, 1, 7)
    assert competition.train.known_labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert competition.submission_ids == ("1", "2", "3", "4", "5", "6")
