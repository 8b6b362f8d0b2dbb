"""What a container of images is, which files are one, and how its images become files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

Picture = bytes | np.ndarray  # an encoded image, or [H, W] or [H, W, C] numbers


@dataclass(frozen=True, eq=False)
class Container:
    """A file that holds many images.

    path: the file, or the folder with one file for each channel.
    kind: what it is, for the user, e.g. ``TFRecord``.
    columns: a row for each image, in the file's order, all cells strings. The column ``id`` is always there and the
        first; the others are what else the file says of each image (label, class, inc_angle, ...), by its own names.
    id_name: the file's own name of the id column; None if it has no ids, which then are the row numbers from 1.
    pictures: yields the image of each row, in order: the bytes of an encoded image, or numbers as ``[H, W]`` or
        ``[H, W, C]``.
    """

    path: Path
    kind: str
    columns: pd.DataFrame
    id_name: str | None
    pictures: Callable[[], Iterator[Picture]]

    def __len__(self) -> int:
        return len(self.columns)


def read_container(path: Path) -> Container | None:
    """The images that a file (or a folder with one file for each channel) holds; None if it is no container.

    Cheap: no image is decoded. Files are told by suffix and content: TFRecord, HDF5, BSON, parquet, JSON (a list of
    records with lists of numbers), CSV (a column a pixel, or all pixels of an image in one cell), .npz and .npy (a
    stack ``[N, H, W]`` or ``[N, H, W, C]``).

    Raises UserError if the file is damaged, or if the package that reads it is missing.
    """
    raise NotImplementedError


def extract(containers: Sequence[Container], folder: Path, scaled_by: Sequence[Container] = ()) -> pd.DataFrame:
    """Write the images of some containers (all of one split) to ``folder``, unless they are there from before.

    scaled_by: the containers whose values set the scale of numbers that are neither 0..255 nor 0..1: the 0.5 and 99.5
        percentiles of each channel over all their images become black and white. None: ``containers`` themselves. Give
        those of the training images for test images.

    Returns the containers' columns, one below the other, and a column ``file``: the path of each image's file as a
    string, ``<folder>/<id>.<suffix>`` where the id can be a file's name and is there once.

    Raises UserError if a container is damaged, or if the folder cannot be written.
    """
    raise NotImplementedError
