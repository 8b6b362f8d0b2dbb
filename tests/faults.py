"""Draws a contest whose data have known faults, and the same contest without any.

Each image is a texture of its own, under the stripes of its class: no two are alike unless one was made from the other,
and a model learns the classes within seconds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from tests.drawing import Contest

CLASSES = ("ant", "bee", "cat", "dog")
EXACT, NEAR, LEAKS, CONTRADICTIONS = 40, 60, 30, 20
WRONG = 0.05  # of the training images
GROUP = 5  # images whose file names have a common stem
BRIGHTER = 30  # levels, of the test images
KEPT = 0.85, 0.97  # of each side of a cropped copy
QUALITY = 50, 91  # of a JPEG
OCTAVES = (3, 6, 12, 24)  # cells a side of the textures that are added up

Pair = tuple[str, str]  # the id of an original, which is in train, and that of its copy


@dataclass
class Planted:
    """The faults of a contest. A contest without any has an empty one.

    exact: copies with the same label, by bytes or by pixels; a quarter of them are in val, the others in train.
    near: copies with the same label that were changed, and how; a fifth of them are in val, the others in train.
    leaks: copies in test, by bytes, by pixels and changed.
    contradictions: copies in train, by bytes, with another label.
    wrong: the true class of each training image that bears another one, besides the contradictions.
    groups: the stem of each id that has one, in all splits; images of a group share their stem.
    brighter: whether the test images, apart from leaks, are brighter than the others.
    """

    exact: list[Pair] = field(default_factory=list)
    near: dict[Pair, str] = field(default_factory=dict)
    leaks: list[Pair] = field(default_factory=list)
    contradictions: list[Pair] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    brighter: bool = False


def draw_faults(folder: Path, train: int = 800, val: int = 160, test: int = 200, side: int = 48) -> Planted:
    """Write a contest with every fault. train, val, test: number of images, the copies included."""
    draw, planted = _Draw(folder, side), Planted(brighter=True)
    copies = _copies(draw.rng)
    for split, count in {"train": train, "val": val, "test": test}.items():
        originals = count - sum(into == split for _, into, _ in copies)
        planted.groups |= draw.originals(split, originals, BRIGHTER if split == "test" else 0, in_groups=True)
    sources = draw.rng.permutation(list(draw.labels["train"])).tolist()
    for (fault, into, change), source in zip(copies, sources[: len(copies)], strict=True):
        pair = source, draw.copy(source, into, change, with_other_label=fault == "contradictions")
        if fault == "near":
            planted.near[pair] = change
        else:
            getattr(planted, fault).append(pair)
    for name in sources[len(copies) :][: round(WRONG * train)]:
        planted.wrong[name] = draw.labels["train"][name]
        draw.labels["train"][name] = draw.other_class(planted.wrong[name])
    draw.tables()
    return planted


def draw_control(folder: Path, train: int = 800, val: int = 160, test: int = 200, side: int = 48) -> Planted:
    """Write a contest of the same kind without any fault."""
    draw = _Draw(folder, side)
    for split, count in {"train": train, "val": val, "test": test}.items():
        draw.originals(split, count)
    draw.tables()
    return Planted()


def rewritten(image: np.ndarray, rng: Generator) -> bytes:
    """The same pixels in another file."""
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()


def flipped(image: np.ndarray, rng: Generator) -> bytes:
    """The picture mirrored, left to right or top to bottom."""
    return _png(cv2.flip(image, int(rng.integers(2))))


def cropped(image: np.ndarray, rng: Generator) -> bytes:
    """A part of the picture that lies anywhere in it."""
    height, width = (int(np.ceil(side * rng.uniform(*KEPT))) for side in image.shape[:2])
    top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
    return _png(image[top : top + height, left : left + width])


def recompressed(image: np.ndarray, rng: Generator) -> bytes:
    """The picture as a JPEG."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*QUALITY))])[1].tobytes()


def brightened(image: np.ndarray, rng: Generator) -> bytes:
    """The picture with more light and more contrast."""
    return _png(cv2.convertScaleAbs(image, alpha=rng.uniform(1.05, 1.25), beta=rng.uniform(5, 30)))


CHANGES: dict[str, Callable[[np.ndarray, Generator], bytes]] = {
    change.__name__: change for change in (flipped, cropped, recompressed, brightened)
}


def _copies(rng: Generator) -> list[tuple[str, str, str]]:
    """The fault that each copy is, the split it is in, and how it is changed, in random order."""
    exact, near, leaks = ["copied", "rewritten"], list(CHANGES), ["copied", "rewritten", *CHANGES]
    copies = [
        *(("exact", "val" if row % 4 == 0 else "train", exact[row // 4 % 2]) for row in range(EXACT)),
        *(("near", "val" if row % 5 == 0 else "train", near[row % len(near)]) for row in range(NEAR)),
        *(("leaks", "test", leaks[row % len(leaks)]) for row in range(LEAKS)),
        *(("contradictions", "train", "copied") for _ in range(CONTRADICTIONS)),
    ]
    return [copies[place] for place in rng.permutation(len(copies))]


class _Draw:
    """A contest that is being drawn. labels: the class of each id, by split."""

    def __init__(self, folder: Path, side: int) -> None:
        self.contest, self.side = Contest(folder), side
        self.rng = np.random.default_rng(20261130)
        self.labels: dict[str, dict[str, str]] = {}
        self._groups = 0

    def originals(self, split: str, count: int, brighter: int = 0, in_groups: bool = False) -> dict[str, str]:
        """Add images to a split. Returns the stem of each id; empty if the images are not in groups."""
        self.labels[split] = {}
        stems: dict[str, str] = {}
        for number in range(count):
            label = int(self.rng.integers(len(CLASSES)))
            self._groups += number % GROUP == 0
            stem = f"p{self._groups:04}"
            name = f"{stem}_{number % GROUP}.png" if in_groups else self._random_name(".png")
            self._write(split, name, CLASSES[label], _png(self._picture(label, brighter)))
            if in_groups:
                stems[name] = stem
        return stems

    def copy(self, source: str, into: str, change: str, with_other_label: bool = False) -> str:
        """Add a copy of a training image to a split. Returns its id. change: the name of one of the functions above."""
        data = (self.contest.folder / "train" / source).read_bytes()
        if change != "copied":
            changes = CHANGES | {"rewritten": rewritten}
            data = changes[change](cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), self.rng)
        label = self.labels["train"][source]
        name = self._random_name(".jpg" if change == "recompressed" else ".png")
        self._write(into, name, self.other_class(label) if with_other_label else label, data)
        return name

    def other_class(self, label: str) -> str:
        return str(self.rng.choice([other for other in CLASSES if other != label]))

    def tables(self) -> None:
        for split in ("train", "val"):
            self.contest.table(f"{split}.csv", ["id", "label"], self._shuffled(self.labels[split].items()))
        self.contest.table("test.csv", ["id"], self._shuffled((name,) for name in self.labels["test"]))

    def _shuffled(self, rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        listed = list(rows)
        return [listed[place] for place in self.rng.permutation(len(listed))]

    def _random_name(self, extension: str) -> str:
        return self.rng.bytes(6).hex() + extension

    def _write(self, split: str, name: str, label: str, data: bytes) -> None:
        self.contest.text(f"{split}/{name}", data)
        self.labels[split][name] = label

    def _picture(self, label: int, brighter: int) -> np.ndarray:
        """BGR uint8: the class sets the hue and the width of faint stripes; the texture is the image's own."""
        side, rng = self.side, self.rng
        texture = sum(
            cv2.resize(rng.normal(0, 45 / cells**0.5, (cells, cells, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
            for cells in OCTAVES
        )
        stripes = 15 * np.sin(np.arange(side) * 2 * np.pi / (4 + 3 * label) + rng.uniform(0, 2 * np.pi))
        hue = cv2.cvtColor(np.full((1, 1, 3), (45 * label, 90, 120), np.uint8), cv2.COLOR_HSV2BGR)
        noise = rng.normal(0, 4, (side, side, 3))
        return (hue + texture + stripes[None, :, None] + noise + brighter).clip(0, 255).astype(np.uint8)


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()
