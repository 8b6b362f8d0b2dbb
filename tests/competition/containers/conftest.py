"""Small pictures, and what a container of them must give back."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from competition.containers import Container, extract, read_container


def picture(number: int, height: int = 12, width: int = 8) -> np.ndarray:
    """A smooth uint8 ``[height, width]``, different for each number."""
    grid = np.random.default_rng(number).integers(0, 256, (4, 3), dtype=np.uint8)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, "PNG")
    return file.getvalue()


def known(path: Path) -> Container:
    """The container that a file must be."""
    found = read_container(path)
    assert found is not None
    return found


@pytest.fixture
def extracted(tmp_path: Path) -> Callable[[Sequence[Path]], dict[str, np.ndarray]]:
    """The pixels of the images in files by their ids."""

    def read(paths: Sequence[Path]) -> dict[str, np.ndarray]:
        table = extract(list(map(known, paths)), tmp_path / "extracted")
        return {row.id: np.asarray(Image.open(row.file)) for row in table.itertuples()}

    return read
