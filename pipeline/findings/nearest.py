"""The most similar pictures to some, by features that are at hand."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch

from pipeline.data.cache import ImageCache, Images, known_images
from pipeline.data.descriptors import descriptors
from pipeline.models.base import FEATURES_FILE
from pipeline.models.classical.features import Features, OnFeatures
from pipeline.training.runs import StoredRun

COMPARED = 10_000  # pictures, at most, that others are compared with
ASKED = 500  # pictures, at most, whose neighbours are looked for
SHOWN = 3  # neighbours of each


@dataclass(frozen=True, eq=False)
class Neighbours:
    """images: in a cache; None if there is none. features: of images, float32 ``[N, D]``."""

    images: ImageCache | None
    features: Callable[[Images], np.ndarray]

    @classmethod
    def of(cls, runs: Collection[StoredRun], paths: Sequence[Path], cache_folder: Path, device: torch.device) -> Self:
        """Neighbours among the images of a cache that a run was trained on, by the features of the best run for which
        they were computed; a network would take minutes to compute them anew.

        paths: of the labelled images. cache_folder: see ``open_cache``.
        """
        shapes = dict.fromkeys(stored.run.shape for stored in runs)
        caches = {shape: known_images(paths, cache_folder, [shape]) for shape in shapes}
        for stored in sorted(runs, key=lambda stored: -stored.run.score.rank):
            images = caches[stored.run.shape]
            if images is not None and _features_file(stored).exists():
                features = OnFeatures.load(_features_file(stored).parent, device).features
                if features.are_computed(images, device):
                    return cls(images, partial(_of_images, features, device))
        return cls(next((each for each in caches.values() if each is not None), None), descriptors)

    def nearest(self, rows: np.ndarray, among: np.ndarray) -> list[np.ndarray]:
        """The rows most like each of the given ones, the most similar first, without itself; none of the last of many.

        rows, among: of the images. Of many rows to compare with, some are drawn.
        """
        nothing: list[np.ndarray] = [among[:0]] * len(rows)
        if self.images is None or not len(rows):
            return nothing
        if len(among) > COMPARED:
            among = np.random.default_rng(0).choice(among, COMPARED, replace=False)
        asked = rows[:ASKED]
        found = self.features(self.images.subset(np.concatenate([asked, among]))).astype(np.float32)
        found -= found.mean(axis=0)
        found /= np.linalg.norm(found, axis=1, keepdims=True).clip(np.finfo(np.float32).tiny)
        alike = found[: len(asked)] @ found[len(asked) :].T
        alike[asked[:, None] == among] = -np.inf
        best = np.argsort(-alike, axis=1, kind="stable")[:, : min(SHOWN, len(among) - 1)]
        return [*among[best], *nothing[len(asked) :]]


def _of_images(features: Features, device: torch.device, images: Images) -> np.ndarray:
    return features.transform(images, device).reshape(len(images), -1)


def _features_file(stored: StoredRun) -> Path:
    return stored.folder.fold(stored.run.fold_folders[0]).path / FEATURES_FILE
