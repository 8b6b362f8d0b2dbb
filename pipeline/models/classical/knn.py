"""K nearest neighbours: one search for each distance serves every k."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Self

import cv2
import numpy as np

from competition.errors import UserError
from competition.progress import Progress
from competition.wording import size_text
from pipeline.data.cache import Images
from pipeline.models.classical.base import Classifier, fit_temperature
from pipeline.models.classical.components import (
    COMPONENTS,
    components_cost,
    principal_components,
    sample_size,
)
from pipeline.models.classical.nearest import NearestRows
from pipeline.models.classical.pixels import flat_chunks, sample_by_class
from pipeline.runtime.memory import total_memory

DISTANCES = ("euclidean", "manhattan", "cosine")


class NearestNeighbours(Classifier):
    """A vote of the k nearest training images, with the distance and k that are best on validation.

    The neighbours are searched once for each distance, with the largest k; a smaller k uses the first of them. The
    model predicts like scikit-learn's KNeighborsClassifier: the class with the most votes, the first in a tie. The
    scores are the logarithms of the shares of the votes, with one extra vote spread over the seen classes.

    Memory: five bytes for each training pixel (stored as uint8, searched as float32). If this is more than ``memory``,
    principal components are stored and searched instead. Euclidean and cosine distances are then close to those of the
    pixels; manhattan distances are measured along the components.

    neighbours: the values of k to try. Values above the number of training images are left out; if none remains,
        that number is tried.
    metrics: the distances to try, each one of ``DISTANCES``.
    scale: ``standard`` for values standardised over the training set, or ``unit`` for pixels / 255. For ``unit`` the
        pixels are searched without the division, since it does not change the order of the distances.
    memory: bytes; None for half of the machine's memory.
    components: float32 ``[D, p]``; None if the pixels themselves are searched.
    kept: the stored training images, ``[N, D]`` of the same dtype, or float32 ``[N, p]`` components.
    grid_scores: one row for each ``metric`` and number of ``neighbours``, ascending.
    metric, k: the best on validation, the first in a tie.
    """

    _searched: tuple[Images, np.ndarray] | None = None  # the validation images, and the labels of their neighbours

    def __init__(
        self,
        classes: int,
        neighbours: Sequence[int],
        metrics: Sequence[str] = ("euclidean",),
        scale: Literal["standard", "unit"] = "standard",
        memory: float | None = None,
    ):
        super().__init__(classes)
        self.neighbours = sorted(set(neighbours))
        self.metrics = list(metrics)
        self.scale = scale
        self._memory = memory or total_memory() / 2
        for metric in self.metrics:
            if metric not in DISTANCES:
                raise UserError(f"knn: no metric is called {metric!r}; choose one of {', '.join(DISTANCES)}")

    def _fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray
    ) -> Self:
        """Store the training images; choose the distance and k on the validation images."""
        self.labels, self.seen = labels, np.unique(labels)
        self._measure(images)
        self._keep(images)
        self.neighbours = [k for k in self.neighbours if k <= len(labels)] or [len(labels)]
        found = {metric: self._nearest_labels(validation_images, metric) for metric in self.metrics}
        self.grid_scores = [
            row for metric, nearest in found.items() for row in self._curve(metric, nearest, validation_labels)
        ]
        best = self.grid_scores[self._best_tried()]
        self.metric, self.k = best["metric"], best["neighbours"]
        self._searched = validation_images, found[self.metric]
        self.temperature = fit_temperature(self._scores(validation_images), validation_labels)
        return self

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """See ``Classifier.cost``. Manhattan distances are fast for uint8 values and slow for floats."""
        beforehand = 900.0 * train_images * values
        if self._memory_needed(train_images, values) > self._memory:
            beforehand += components_cost(train_images + validation_images, values, self._memory)
            values = COMPONENTS
        products = train_images * (2.3 * values + 1_700) + 120 * self.neighbours[-1] * values
        differences = train_images * values * (4 if self.scale == "unit" else 60)
        a_search = [differences if metric == "manhattan" else products for metric in self.metrics]
        return beforehand + validation_images * sum(a_search)

    def _scores(self, images: Images) -> np.ndarray:
        if self._searched is not None and images is self._searched[0]:
            nearest = self._searched[1]
        else:
            nearest = self._nearest_labels(images, self.metric)
        *_, votes = self._votes(nearest[:, : self.k])
        return self._log_shares(votes, self.k)

    def _log_shares(self, votes: np.ndarray, k: int) -> np.ndarray:
        shares = (votes[:, self.seen] + 1 / len(self.seen)) / (k + 1)
        return self._over_all_classes(np.log(shares))

    def _keep(self, images: Images) -> None:
        """Store the training images if they fit in memory; otherwise store their principal components."""
        needed = self._memory_needed(len(images), len(self.mean), images.dtype.itemsize)
        self.components = None
        if needed <= self._memory:
            self.kept = self._flat(images)
            return
        rows = sample_by_class(self.labels, sample_size(len(self.mean), self._memory), seed=0)
        self.components = principal_components(_as_floats(self._scaled(self._flat(images, rows))))
        print(
            f"knn: the pixels of all {len(images):,} training images need {size_text(needed)}, but only "
            f"{size_text(self._memory)} are available; {self.components.shape[1]} principal components are searched "
            "instead"
        )
        self.kept = np.concatenate([self._placed(flat) for flat in flat_chunks(images, self.grey)])

    def _memory_needed(self, images: int, values: int, bytes_a_value: int = 1) -> float:
        return (4 + bytes_a_value) * images * values

    def _curve(self, metric: str, nearest: np.ndarray, labels: np.ndarray) -> list[dict]:
        """Rows of ``grid_scores`` for one distance. nearest: as ``_nearest_labels`` returns it."""
        return [
            self._measured({"metric": metric, "neighbours": k}, self._log_shares(votes, k), labels)
            for k, votes in enumerate(self._votes(nearest), start=1)
            if k in self.neighbours
        ]

    def _nearest_labels(self, images: Images, metric: str) -> np.ndarray:
        """Labels of the training images nearest to each image, int64 ``[N, largest k]``, nearest first."""
        search = self._search(metric)
        found = []
        with Progress(total=len(images), desc=f"nearest neighbours, {metric}", unit="image") as bar:
            for flat in flat_chunks(images, self.grey):
                found.append(search(self._placed(flat)))
                bar.update(len(flat))
        return self.labels[np.concatenate(found)]

    def _search(self, metric: str) -> Callable[[np.ndarray], np.ndarray]:
        """A function from the result of ``_placed`` to the nearest training images, ``[n, largest k]``."""
        rows = self._placed(self.kept) if self.components is None else self.kept
        most = self.neighbours[-1]
        if metric == "manhattan":
            kind = cv2.CV_32S if rows.dtype == np.uint8 else cv2.CV_32F
            return lambda x: cv2.batchDistance(x, rows, kind, normType=cv2.NORM_L1, K=most)[1]
        place = NearestRows.by_distance if metric == "euclidean" else NearestRows.by_cosine
        nearest = place(_as_floats(rows))
        return lambda x: nearest.search(_as_floats(x), most)

    def _placed(self, flat: np.ndarray) -> np.ndarray:
        """The values that distances are computed from. flat: images as ``[n, D]``."""
        scaled = self._scaled(flat)
        return scaled if self.components is None else _as_floats(scaled) @ self.components

    def _scaled(self, flat: np.ndarray) -> np.ndarray:
        return flat if self.scale == "unit" else self._standardised(flat)

    def _votes(self, nearest: np.ndarray) -> Iterator[np.ndarray]:
        """Votes for each class, ``[N, classes]``, of the nearest image, then of the nearest two, and so on."""
        votes = np.zeros((len(nearest), self.classes))
        rows = np.arange(len(nearest))
        for voter in nearest.T:
            votes[rows, voter] += 1
            yield votes


def _as_floats(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32, copy=False)
