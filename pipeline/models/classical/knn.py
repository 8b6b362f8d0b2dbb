"""K nearest neighbours on standardised pixels, every k from one search."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from pipeline.models.classical.base import PixelClassifier
from pipeline.models.classical.pixels import Images, flat_chunks


class NearestNeighbours(PixelClassifier):
    """A vote of the k nearest training images, k being the best on validation (the smaller of equals).

    The neighbours are searched once, for the largest k; a smaller k votes with the first of them. A predicted
    class is scikit-learn's KNeighborsClassifier's: the one with most votes, the first of equals.
    Memory: five bytes for each training pixel (uint8 kept, float32 while searching).

    neighbours: the numbers of neighbours tried; those above the number of training images are left out.
    metric: any that scikit-learn's brute-force search takes.
    k: the best of them. curve: ``(k, validation accuracy)`` for each, k ascending.
    """

    def __init__(self, classes: int, neighbours: Sequence[int], metric: str = "euclidean"):
        super().__init__(classes)
        self.neighbours = sorted(set(neighbours))
        self.metric = metric

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Keep the training images and choose k on the validation images."""
        self.flat = self._flat(images)
        self.labels = labels
        self._measure(self.flat)
        self.neighbours = [k for k in self.neighbours if k <= len(labels)]
        nearest = self._nearest_labels(validation_images, self.neighbours[-1])
        predicted = (votes.argmax(axis=1) for votes in self._votes(nearest))
        accuracy = [float((classes == validation_labels).mean()) for classes in predicted]
        self.accuracies = [accuracy[k - 1] for k in self.neighbours]
        self.k = self.neighbours[int(np.argmax(self.accuracies))]
        return self

    @property
    def curve(self) -> list[tuple[int, float]]:
        return list(zip(self.neighbours, self.accuracies, strict=True))

    def predict_proba(self, images: Images) -> np.ndarray:
        """Shares of the votes, float32 ``[N, classes]``, with one vote more spread over all classes."""
        *_, votes = self._votes(self._nearest_labels(images, self.k))
        return ((votes + 1 / self.classes) / (self.k + 1)).astype(np.float32)

    @staticmethod
    def cost(train_images: int, validation_images: int, values: int, classes: int) -> float:
        search = 11.5 * validation_images * train_images * values
        return search + 900 * train_images * values

    def _nearest_labels(self, images: Images, most: int) -> np.ndarray:
        """Labels of each image's ``most`` nearest training images, int64 ``[N, most]``, nearest first."""
        search = NearestNeighbors(n_neighbors=most, algorithm="brute", metric=self.metric)
        search.fit(self._standardised(self.flat))
        found = []
        with tqdm(total=len(images), desc="nearest neighbours", unit="image", leave=False) as bar:
            for flat in flat_chunks(images, self.grey):
                found.append(search.kneighbors(self._standardised(flat), return_distance=False))
                bar.update(len(flat))
        return self.labels[np.concatenate(found)]

    def _votes(self, nearest: np.ndarray) -> Iterator[np.ndarray]:
        """Votes for each class, ``[N, classes]``, of the nearest image, of the nearest two, and so on."""
        votes = np.zeros((len(nearest), self.classes))
        rows = np.arange(len(nearest))
        for voter in nearest.T:
            votes[rows, voter] += 1
            yield votes
