"""K nearest neighbours, every k of a metric from one search."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Self

import cv2
import numpy as np
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from competition.errors import UserError
from pipeline.models.classical.base import Classifier
from pipeline.models.classical.pixels import Images, flat_chunks

METRICS = ("euclidean", "manhattan", "cosine")


class NearestNeighbours(Classifier):
    """A vote of the k nearest training images; metric and k are the best on validation.

    The neighbours are searched once a metric, for the largest k; a smaller k votes with the first of them. A
    predicted class is scikit-learn's KNeighborsClassifier's: the one with most votes, the first of equals.
    Memory: five bytes for each training pixel (uint8 kept, float32 while searching).

    neighbours: the numbers of neighbours tried; those above the number of training images are left out, or that
        number itself is tried where none is left.
    metrics: any of ``METRICS``.
    scale: ``standard`` for values standardised by their mean and deviation over train; ``unit`` for pixels / 255,
        which are searched as they are: no metric's order changes when all values are divided by the same.
    grid_scores: validation ``accuracy`` of each ``metric`` with each number of ``neighbours``, ascending.
    metric, k: the best of them, of equals the first.
    """

    _searched: tuple[Images | None, np.ndarray | None] = None, None

    def __init__(
        self,
        classes: int,
        neighbours: Sequence[int],
        metrics: Sequence[str] = ("euclidean",),
        scale: Literal["standard", "unit"] = "standard",
    ):
        super().__init__(classes)
        self.neighbours = sorted(set(neighbours))
        self.metrics = list(metrics)
        self.scale = scale
        for metric in self.metrics:
            if metric not in METRICS:
                raise UserError(f"knn: no metric is called {metric!r}; use {', '.join(METRICS)}")

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Keep the training images and choose metric and k on the validation images."""
        self.flat = self._flat(images)
        self.labels = labels
        self._measure(self.flat)
        self.neighbours = [k for k in self.neighbours if k <= len(labels)] or [len(labels)]
        found = {metric: self._nearest_labels(validation_images, metric) for metric in self.metrics}
        self.grid_scores = [
            row for metric, nearest in found.items() for row in self._curve(metric, nearest, validation_labels)
        ]
        best = max(self.grid_scores, key=lambda row: row["accuracy"])
        self.metric, self.k = best["metric"], best["neighbours"]
        self._searched = validation_images, found[self.metric]
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Shares of the votes, float32 ``[N, classes]``, with one vote more spread over all classes."""
        searched, nearest = self._searched
        if images is not searched:
            nearest = self._nearest_labels(images, self.metric)
        *_, votes = self._votes(nearest[:, : self.k])
        return ((votes + 1 / self.classes) / (self.k + 1)).astype(np.float32)

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """As for every classifier. Manhattan distances of bytes are quick, those of floats are not."""
        a_value = {"euclidean": 5.75, "cosine": 5.75, "manhattan": 4 if self.scale == "unit" else 60}
        search = sum(a_value[metric] for metric in self.metrics)
        return search * validation_images * train_images * values + 900 * train_images * values

    def _curve(self, metric: str, nearest: np.ndarray, labels: np.ndarray) -> list[dict]:
        """Rows of ``grid_scores`` for one metric, given the labels of each image's nearest."""
        accuracy = [float((votes.argmax(axis=1) == labels).mean()) for votes in self._votes(nearest)]
        return [{"metric": metric, "neighbours": k, "accuracy": accuracy[k - 1]} for k in self.neighbours]

    def _nearest_labels(self, images: Images, metric: str) -> np.ndarray:
        """Labels of each image's nearest training images, int64 ``[N, largest k]``, nearest first."""
        search = self._search(metric)
        found = []
        with tqdm(total=len(images), desc=f"nearest neighbours, {metric}", unit="image", leave=False) as bar:
            for flat in flat_chunks(images, self.grey):
                found.append(search(self._scaled(flat)))
                bar.update(len(flat))
        return self.labels[np.concatenate(found)]

    def _search(self, metric: str) -> Callable[[np.ndarray], np.ndarray]:
        """A function from scaled values ``[n, D]`` to the rows of their nearest training images, ``[n, k]``."""
        train, most = self._scaled(self.flat), self.neighbours[-1]
        if metric == "manhattan":
            kind = cv2.CV_32S if train.dtype == np.uint8 else cv2.CV_32F
            return lambda x: cv2.batchDistance(x, train, kind, normType=cv2.NORM_L1, K=most)[1]
        search = NearestNeighbors(n_neighbors=most, algorithm="brute", metric=metric).fit(_as_floats(train))
        return lambda x: search.kneighbors(_as_floats(x), return_distance=False)

    def _scaled(self, flat: np.ndarray) -> np.ndarray:
        return flat if self.scale == "unit" else self._standardised(flat)

    def _votes(self, nearest: np.ndarray) -> Iterator[np.ndarray]:
        """Votes for each class, ``[N, classes]``, of the nearest image, of the nearest two, and so on."""
        votes = np.zeros((len(nearest), self.classes))
        rows = np.arange(len(nearest))
        for voter in nearest.T:
            votes[rows, voter] += 1
            yield votes


def _as_floats(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32, copy=False)
