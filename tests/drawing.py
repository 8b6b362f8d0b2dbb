"""Draws the files of small contests: images of a few pixels, tables, JSON; and images that a model can learn."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from competition.errors import UserError
from competition.layouts import load_competition
from competition.spec import Competition

_PNG = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()


class Contest:
    """A contest's folder that a test fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def images(self, *names: str) -> "Contest":
        """Images of 2 x 2 pixels."""
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_PNG)
        return self

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> "Contest":
        """A CSV; without a header if that is empty."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows] if header else rows)
        return self

    def text(self, name: str, content: str | bytes) -> "Contest":
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def json(self, name: str, content: object) -> "Contest":
        return self.text(name, json.dumps(content))

    def train(
        self, labels: Sequence[object], header: Sequence[str] = ("id", "label"), name: str = "train.csv"
    ) -> "Contest":
        """A table of the images 0.png, 1.png, ... of ``train/``; a label may be a tuple of cells."""
        rows = [(f"{row}.png", *(label if isinstance(label, tuple) else (label,))) for row, label in enumerate(labels)]
        return self.images(*(f"train/{row[0]}" for row in rows)).table(name, header, rows)

    def sample(self, *cells: object, header: Sequence[str] = ("id", "label"), rows: int = 3) -> "Contest":
        """A sample submission with the same cells in each row, for the images t0.png, t1.png, ... of ``test/``."""
        ids = [f"t{row}.png" for row in range(rows)]
        return self.images(*(f"test/{name}" for name in ids)).table(
            "sample_submission.csv", header, [(name, *cells) for name in ids]
        )

    def load(self, name: str = "contest", **options: object) -> Competition:
        return load_competition(self.folder, name, **options)  # type: ignore[arg-type]

    def refusal(self, **options: object) -> str:
        """The one line with which the contest is refused."""
        try:
            self.load(**options)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            return str(error)
        raise AssertionError("the contest was not refused")


def spots(count: int, side: int, places: list[tuple[int, int]], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy square images with a bright spot; where it lies, in quarters of the image (down, right), is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(places)
    images = rng.integers(0, 120, (count, side, side, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        down, right = (side * quarters // 4 for quarters in places[label])
        image[down : down + side // 4, right : right + side // 4] += 130
    return images, labels
