"""Stacks of images as arrays: .npy, .npz and HDF5."""

import zipfile
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd

from competition.containers.container import Container, Picture, as_cell, container, damage_named, suffix_of
from competition.optional import optional_package

_MOST_CHANNELS = 4
_FEWEST = 17  # images of a stack [N, H, W]; fewer are the frames of one


def is_stack(shape: tuple[int, ...]) -> bool:
    """Whether an array is ``[N, H, W, C]``, ``[N, C, H, W]`` or ``[N, H, W]``, not a single image."""
    if len(shape) == 4:
        return min(shape[1], shape[3]) <= _MOST_CHANNELS
    return len(shape) == 3 and shape[0] >= _FEWEST and shape[2] > _MOST_CHANNELS


def _frame(lists: Mapping[str, Any], length: int) -> pd.DataFrame:
    return pd.DataFrame({name: list(map(as_cell, cells)) for name, cells in lists.items()}, index=range(length))


def _picture(values: np.ndarray) -> np.ndarray:
    """One image of a stack as ``[H, W]`` or ``[H, W, C]``."""
    if values.ndim == 3 and values.shape[0] <= _MOST_CHANNELS < values.shape[2]:
        return np.moveaxis(values, 0, -1)
    return values


def read_npy(path: Path) -> Container | None:
    """A stack of images; None for an array that is one image, which is an image file itself."""
    with damage_named(path, ".npy file"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not is_stack(array.shape):
        return None
    return container(path, ".npy file", pd.DataFrame(index=range(len(array))), lambda: map(_picture, array))


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype


def read_npz(path: Path) -> Container | None:
    """The largest stack of images in an .npz; its lists of the same length are columns."""
    with damage_named(path, ".npz file"), zipfile.ZipFile(path) as archive:
        headers = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                headers[name] = _header_of(member)
        stacks = [name for name, header in headers.items() if is_stack(header.shape) and not header.is_fortran]
        if not stacks:
            return None
        largest = max(stacks, key=lambda name: np.prod(headers[name].shape))
        lists = [name for name, header in headers.items() if header.shape == headers[largest].shape[:1]]
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name.removesuffix(".npy"): arrays[name.removesuffix(".npy")] for name in lists}
    frame = _frame(columns, headers[largest].shape[0])
    return container(path, ".npz file", frame, lambda: _rows_of(path, largest))


def _header_of(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return _Header(*read(file))


def _rows_of(path: Path, name: str) -> Iterator[Picture]:
    """The images of a stack in an .npz, one after the other, so that it need not fit into memory."""
    with zipfile.ZipFile(path) as archive, archive.open(name) as member:
        header = _header_of(member)
        shape = header.shape[1:]
        length = int(np.prod(shape)) * header.dtype.itemsize
        for _ in range(header.shape[0]):
            yield _picture(np.frombuffer(member.read(length), header.dtype).reshape(shape))


def read_hdf5(path: Path) -> Container | None:
    """HDF5 with a stack of images, with a list of encoded images, or with a data set for each, named by its id."""
    h5py = optional_package("h5py", path, "an HDF5 file")
    with damage_named(path, "HDF5 file"), h5py.File(path) as file:
        if names := _sets_of_images(file, h5py):
            ids = pd.DataFrame({"id": [name.rpartition("/")[2] for name in names]}, dtype=str)
            return container(path, "HDF5 file", ids, lambda: _hdf5_sets(path, names))
        sets: dict[str, Any] = {}
        file.visititems(lambda name, item: sets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        stacks = [name for name, each in sets.items() if is_stack(each.shape) or _is_list_of_images(each)]
        if not stacks:
            return None
        length = len(sets[stacks[0]])
        lists = {name: each[()] for name, each in sets.items() if each.shape == (length,) and name not in stacks}
        return container(path, "HDF5 file", _frame(lists, length), lambda: _hdf5_rows(path, stacks[0]))


def _sets_of_images(file: Any, h5py: ModuleType) -> tuple[str, ...]:
    """The names of the data sets if each is an encoded image; they are not opened, as there may be a million."""
    group = file
    while len(group) == 1 and isinstance(inner := next(iter(group.values())), h5py.Group):
        group = inner
    first = next(iter(group.values()), None)
    if not isinstance(first, h5py.Dataset) or not (first.shape == () or (first.ndim == 1 and first.dtype == np.uint8)):
        return ()
    is_image = suffix_of(_bytes_of(first[()])) is not None
    return tuple(f"{group.name}/{name}" for name in group) if is_image else ()


def _is_list_of_images(dataset: Any) -> bool:
    """Whether a data set holds an encoded image in each row."""
    is_list = dataset.ndim == 1 and len(dataset) > 0 and dataset.dtype.kind in "OSV"
    return is_list and suffix_of(_bytes_of(dataset[0])) is not None


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, bytes | np.void):
        return value if isinstance(value, bytes) else value.tobytes()
    is_text = isinstance(value, str)
    return b"" if is_text or getattr(value, "dtype", None) != np.uint8 else np.asarray(value).tobytes()


def _hdf5_rows(path: Path, name: str) -> Iterator[Picture]:
    with optional_package("h5py", path, "an HDF5 file").File(path) as file:
        dataset = file[name]
        blocks = (dataset[begin : begin + 64] for begin in range(0, len(dataset), 64))
        for value in chain.from_iterable(blocks):
            yield _picture(value) if dataset.ndim > 1 else _bytes_of(value)


def _hdf5_sets(path: Path, names: tuple[str, ...]) -> Iterator[Picture]:
    with optional_package("h5py", path, "an HDF5 file").File(path) as file:
        for name in names:
            yield _bytes_of(file[name][()])
