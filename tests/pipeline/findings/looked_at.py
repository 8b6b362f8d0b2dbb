"""Labelled and test images with fingerprints, without a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from competition.spec import Competition, Split
from pipeline.data.fingerprints import Fingerprints
from pipeline.findings.pictures import Pictures
from tests.contest import contest

SIDE = 24


def drawn(count: int, seed: int, brightness: float = 100.0) -> np.ndarray:
    """Blurred noise, uint8 ``[count, SIDE, SIDE, 3]``; the brightness varies by a tenth."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 25, (count, SIDE // 4, SIDE // 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    levels = rng.normal(brightness, 10, (count, 1, 1, 3))
    return (levels + coarse + rng.normal(0, 5, (count, SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


def fingerprints(images: np.ndarray) -> Fingerprints:
    """The fingerprints of files that hold these images, uint8 ``[N, H, W, 3]``."""
    found = Fingerprints.empty(len(images))
    found.look_at(images)
    found.contents[:] = np.arange(1, len(images) + 1)
    found.sizes[:] = images.shape[1:3]
    return found


def labelled(
    images: np.ndarray, labels: Sequence[int] | np.ndarray | None = None, names: Sequence[str] = (), trained: int = -1
) -> tuple[Competition, Pictures]:
    """Images with these labels, and their competition. trained: how many are in train; -1 for all."""
    known = np.zeros(len(images), np.int64) if labels is None else np.asarray(labels)
    split = _split("labelled", images, names, known)
    rows = np.arange(len(split))
    count = len(split) if trained < 0 else trained
    competition = contest(tuple(range(int(known.max()) + 1)))
    values = {"train": split.take(rows[:count]), "val": split.take(rows[count:])}
    return Competition(**vars(competition) | values), Pictures(split, fingerprints(images), count, "val")


def for_test(images: np.ndarray, names: Sequence[str] = ()) -> Pictures:
    return Pictures(_split("test", images, names, None), fingerprints(images), 0, "test")


def _split(name: str, images: np.ndarray, names: Sequence[str], labels: np.ndarray | None) -> Split:
    """Without names, images are called by random letters, as Kaggle does."""
    rng = np.random.default_rng(len(name))
    ids = tuple(names) or tuple(f"{rng.bytes(6).hex()}.png" for _ in images)
    return Split(name, ids, tuple(Path(name, each) for each in ids), labels)
