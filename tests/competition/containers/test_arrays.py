"""Stacks of images in .npy, .npz and HDF5, and HDF5 with a data set for each image."""

import sys

import numpy as np
import pytest

from competition.containers import read_container
from competition.errors import UserError
from tests.competition.containers.conftest import known, picture, png

COUNT = 20
STACK = np.stack([picture(number) for number in range(COUNT)])


@pytest.mark.parametrize("shape", [STACK.shape, (COUNT, 12, 8, 1), (COUNT, 1, 12, 8)])
def test_a_stack_in_an_npy_is_numbered_from_1(tmp_path, extracted, shape):
    np.save(tmp_path / "train.npy", STACK.reshape(shape))
    assert known(tmp_path / "train.npy").id_name is None
    images = extracted([tmp_path / "train.npy"])
    assert list(images) == [str(row) for row in range(1, COUNT + 1)]
    assert np.array_equal(images["20"], picture(19))


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3), (3, 40, 30), (6, 40, 30)])
def test_an_npy_that_is_one_image_is_no_container(tmp_path, shape):
    np.save(tmp_path / "image.npy", np.zeros(shape))
    assert read_container(tmp_path / "image.npy") is None


def test_an_npz_gives_its_stack_and_the_lists_beside_it(tmp_path, extracted):
    names = np.array([f"f{number}" for number in range(COUNT)])
    np.savez_compressed(tmp_path / "train.npz", images=STACK, names=names, labels=np.arange(COUNT), mean=np.zeros(3))
    found = known(tmp_path / "train.npz")
    assert found.id_name == "names" and found.columns["labels"].tolist() == list(map(str, range(COUNT)))
    assert np.array_equal(extracted([tmp_path / "train.npz"])["f7"], picture(7))


def test_an_npz_with_pickles_is_refused(tmp_path):
    np.savez(tmp_path / "train.npz", images=STACK, labels=np.array([{}] * COUNT))
    with pytest.raises(UserError, match=r"train\.npz: not a complete .* allow_pickle=False"):
        read_container(tmp_path / "train.npz")


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


@pytest.mark.parametrize("group", ["", "images/"])
def test_hdf5_with_a_data_set_for_each_image_is_named_by_it(tmp_path, extracted, h5py, group):
    with h5py.File(tmp_path / "train.hdf5", "w") as file:
        for number in range(3):
            file[f"{group}ISIC_{number}"] = np.void(png(number))
    assert np.array_equal(extracted([tmp_path / "train.hdf5"])["ISIC_2"], picture(2))


def test_hdf5_with_a_stack_gives_the_lists_beside_it(tmp_path, extracted, h5py):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["x"], file["y"] = STACK, np.arange(COUNT)
        file["image_id"] = [f"f{number}".encode() for number in range(COUNT)]
    found = known(tmp_path / "train.h5")
    assert found.columns.iloc[3].to_dict() == {"id": "f3", "y": "3"}
    assert np.array_equal(extracted([tmp_path / "train.h5"])["f19"], picture(19))


def test_hdf5_with_a_list_of_encoded_images(tmp_path, extracted, h5py):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        images = file.create_dataset("images", 3, h5py.vlen_dtype(np.uint8))
        for number in range(3):
            images[number] = np.frombuffer(png(number), np.uint8)
        file["id"] = [b"a", b"b", b"c"]
    assert np.array_equal(extracted([tmp_path / "train.h5"])["c"], picture(2))


def test_hdf5_without_images_is_no_container_and_a_damaged_one_is_named(tmp_path, h5py):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["dense"] = np.zeros((5, 5))
    assert read_container(tmp_path / "weights.h5") is None
    (tmp_path / "train.h5").write_bytes((tmp_path / "weights.h5").read_bytes()[:600])
    with pytest.raises(UserError, match=r"train\.h5: not a complete HDF5 file"):
        read_container(tmp_path / "train.h5")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "train.h5").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="which the package h5py reads; run: pip install h5py"):
        read_container(tmp_path / "train.h5")
