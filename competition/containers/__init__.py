"""Files that hold many images: each is told by its content, and its images are written to files once.

``read_container`` says what a file holds, ``extract`` writes the images. A folder with one file for each channel of an
image (``ID_red.png``, ``ID_green.png``, ...) is such a container too.
"""

import re
from collections.abc import Callable
from pathlib import Path

from competition.containers.arrays import read_hdf5, read_npy, read_npz
from competition.containers.channels import read_channels
from competition.containers.container import Container
from competition.containers.extraction import extract
from competition.containers.idx import IDX_NAME, read_idx
from competition.containers.json_records import read_json
from competition.containers.records import read_bson, read_tfrecord
from competition.containers.tables import read_csv, read_parquet

__all__ = ["Container", "extract", "names_container", "read_container"]

_READERS: dict[str, Callable[[Path], Container | None]] = {
    **dict.fromkeys((".tfrec", ".tfrecord", ".tfrecords"), read_tfrecord),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".he5"), read_hdf5),
    **dict.fromkeys((".parquet", ".pq"), read_parquet),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), read_json),
    **dict.fromkeys((".csv", ".tsv"), read_csv),
    ".bson": read_bson,
    ".npz": read_npz,
    ".npy": read_npy,
}
_SHARD = re.compile(r"\.tfrec(ords?)?([.-].*)?$", re.IGNORECASE)  # train.tfrecord-00000-of-00010, train.tfrec.gz


def names_container(name: str) -> bool:
    """Whether a file of that name may hold many images; one that is compressed is unpacked first."""
    return _reader_of(name) is not None and not name.lower().endswith(".gz")


def read_container(path: Path) -> Container | None:
    """The images that a file (or a folder with one file for each channel) holds; None if it is no container.

    Cheap: no image is decoded. Files are told by name and content: TFRecord, HDF5, BSON, parquet, JSON (a list of
    records with lists of numbers), CSV (a column a pixel, or all pixels of an image in one cell), .npz and .npy (a
    stack ``[N, H, W]`` or ``[N, H, W, C]``), and the idx files of MNIST.

    Raises UserError if the file is damaged, or if the package that reads it is missing.
    """
    if path.is_dir():
        return read_channels(path)
    reader = _reader_of(path.name)
    return reader(path) if reader and path.stat().st_size else None


def _reader_of(name: str) -> Callable[[Path], Container | None] | None:
    if IDX_NAME.search(name):
        return read_idx
    return _READERS.get(Path(name).suffix.lower()) or (read_tfrecord if _SHARD.search(name) else None)
