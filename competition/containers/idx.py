"""The idx files of MNIST: the images in one file, their labels in one beside it that is called like it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from competition.containers.container import Container, container, content_of, damage_named
from competition.wording import counted, fault_in

IDX_NAME = re.compile(r"images?[-._]?idx[34]([-._]?ubyte)?(\.gz)?$", re.IGNORECASE)  # the end of a file's name
_KIND = "idx file"
_BYTES = 8  # the code of uint8 in the magic number


def read_idx(path: Path) -> Container | None:
    """The images of an idx file, ``[N, H, W]`` or ``[N, H, W, C]``, with their labels where these lie beside it.

    Raises UserError if a file is damaged, or if there are not as many labels as images.
    """
    with damage_named(path, _KIND):
        shape = _shape(content_of(path))
    if len(shape) not in (3, 4):
        return None
    return container(path, _KIND, _labels(path, shape[0]), lambda: iter(idx_array(path)))


def idx_array(path: Path) -> np.ndarray:
    """The numbers in an idx file of bytes, which may be gzipped. Raises UserError if it is damaged."""
    with damage_named(path, _KIND):
        content = content_of(path)
        shape = _shape(content)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _shape(content: memoryview) -> tuple[int, ...]:
    """What the header says: a magic number that ends in the number of axes, then their lengths."""
    if bytes(content[:3]) != bytes((0, 0, _BYTES)):
        raise ValueError("its magic number is not that of bytes")
    return tuple(np.frombuffer(content, ">u4", content[3], offset=4).tolist())


def _labels(path: Path, count: int) -> pd.DataFrame:
    name = re.sub("images", "labels", path.name, flags=re.IGNORECASE)
    beside = path.with_name(re.sub("idx[34]", "idx1", name, flags=re.IGNORECASE))
    if beside == path or not beside.is_file():
        return pd.DataFrame(index=range(count))
    labels = idx_array(beside)
    if labels.shape != (count,):
        fault = f"{counted(len(labels), 'label')} of {counted(count, 'image')} in {path.name}"
        raise fault_in(beside, fault, "take both from the same download")
    return pd.DataFrame({"label": labels.astype(str)}, dtype=str)
