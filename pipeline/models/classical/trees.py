"""Ensembles of decision trees, random forest and gradient boosting, stored as flat arrays."""

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from competition.progress import Progress
from pipeline.data.cache import Images
from pipeline.models.classical.base import Classifier, fit_temperature
from pipeline.models.classical.linear import both_sides
from pipeline.models.classical.pixels import flat_chunks, is_grey
from pipeline.runtime.time_limit import check_time

LEAF = -1


class TreeEnsemble(Classifier):
    """Binary trees on the values themselves; standardising them would not change the splits.

    Memory: four bytes for each training value, and what scikit-learn needs to grow the trees.

    The nodes of all trees are stored one tree after the other:
    roots: the first node of each tree, int64 ``[trees]``.
    feature: the column that the node compares, int32.
    threshold: the largest value that goes left, float64.
    left, right: the child nodes, int32; ``LEAF`` if there is none.
    """

    name: str

    def _fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray
    ) -> Self:
        """Grow the trees on the training images; fit the temperature on the validation images.

        Raises UserError if the training images have fewer than two classes.
        """
        self.seen = self._seen_classes(labels, self.name)
        self.grey = is_grey(images)
        self._grow(self._flat(images).astype(np.float32), labels)
        self.temperature = fit_temperature(self._scores(validation_images), validation_labels)
        return self

    @abstractmethod
    def _grow(self, values: np.ndarray, labels: np.ndarray) -> None:
        """Grow the trees on float32 ``[N, D]`` and store them."""

    @abstractmethod
    def _seen_scores(self, values: np.ndarray) -> np.ndarray:
        """Log odds of the S seen classes, float64 ``[n, S]``, from float32 ``[n, D]``."""

    def _scores(self, images: Images) -> np.ndarray:
        """Log odds, float64 ``[N, classes]``; -inf for a class never seen."""
        pieces = [self._seen_scores(flat.astype(np.float32)) for flat in flat_chunks(images, self.grey)]
        return self._over_all_classes(np.concatenate(pieces))

    def _keep_nodes(self, trees: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> None:
        """Store the trees. Each is (left, right, feature, threshold); left and right are below 1 in a leaf."""
        self.roots = np.cumsum([0, *(len(left) for left, *_ in trees)])[:-1]
        left, right, feature, threshold = (np.concatenate(part) for part in zip(*trees, strict=True))
        start = np.repeat(self.roots, [len(tree[0]) for tree in trees])
        self.left = np.where(left > 0, left + start, LEAF).astype(np.int32)
        self.right = np.where(right > 0, right + start, LEAF).astype(np.int32)
        self.feature, self.threshold = feature.astype(np.int32), threshold.astype(np.float64)

    def _leaves(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """For each tree, the leaf that each row of float32 ``[n, D]`` reaches, int64 ``[n]``."""
        for root in self.roots:
            node = np.full(len(values), root)
            moving = np.arange(len(values) if self.left[root] != LEAF else 0)
            while len(moving):
                at = node[moving]
                goes_left = values[moving, self.feature[at]] <= self.threshold[at]
                at = np.where(goes_left, self.left[at], self.right[at])
                node[moving] = at
                moving = moving[self.left[at] != LEAF]
            yield node


class RandomForest(TreeEnsemble):
    """Trees on bootstrap samples; predicts like scikit-learn's RandomForestClassifier.

    The scores are the logarithms of the shares of the votes. One extra vote is spread over all classes, so that no
    share is zero.

    shares: float64 ``[M, S]``, the M distinct class distributions of the nodes, for the S seen classes.
    share: int32, the row of ``shares`` of each node.
    """

    name = "forest"

    def __init__(self, classes: int, trees: int = 100, smallest_leaf: int = 1, seed: int = 0):
        super().__init__(classes)
        self.trees, self.smallest_leaf, self.seed = trees, smallest_leaf, seed

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        tried = np.sqrt(values) * train_images * np.log2(train_images + 1)
        return self.trees * ((5_000 + 100 * self.classes) * tried + 25_000 * validation_images)

    def _grow(self, values: np.ndarray, labels: np.ndarray) -> None:
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            min_samples_leaf=self.smallest_leaf, random_state=self.seed, n_jobs=os.cpu_count(), warm_start=True
        )
        for grown in _steps(self.trees, 10, "random forest", "tree"):
            forest.set_params(n_estimators=grown).fit(values, labels)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        self._keep_nodes([(tree.children_left, tree.children_right, tree.feature, tree.threshold) for tree in trees])
        self._keep_shares([tree.value[:, 0] for tree in trees])

    def _keep_shares(self, shares: list[np.ndarray]) -> None:
        """Store equal distributions of a tree only once: most leaves hold only one class."""
        unique, places, start = [], [], 0
        for each in shares:
            rows, place = np.unique(each, axis=0, return_inverse=True)
            unique.append(rows)
            places.append(place.reshape(-1) + start)
            start += len(rows)
        self.shares, self.share = np.concatenate(unique), np.concatenate(places).astype(np.int32)

    def _seen_scores(self, values: np.ndarray) -> np.ndarray:
        votes = np.zeros((len(values), len(self.seen)))
        for leaf in self._leaves(values):
            votes += self.shares[self.share[leaf]]
        return np.log((votes + 1 / self.classes) / (self.trees + 1))


class GradientBoosting(TreeEnsemble):
    """Boosted trees on binned values; predicts like scikit-learn's HistGradientBoostingClassifier.

    S is the number of seen classes, or 1 if there are two. The trees of class i are i, i + S, ...

    leaf: float64, what each node adds to the log odds of its tree's class.
    baseline: float64 ``[S]``, the initial log odds.
    """

    name = "boosting"

    def __init__(self, classes: int, iterations: int = 100, learning_rate: float = 0.1, seed: int = 0):
        super().__init__(classes)
        self.iterations, self.learning_rate, self.seed = iterations, learning_rate, seed

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        trees = self.iterations * self.classes
        return trees * (values * (1_000 * train_images + 6e6) + 25_000 * validation_images)

    def _grow(self, values: np.ndarray, labels: np.ndarray) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        boosting = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate, early_stopping=False, random_state=self.seed, warm_start=True
        )
        for grown in _steps(self.iterations, 25, "gradient boosting", "iteration"):
            boosting.set_params(max_iter=grown).fit(values, labels)
        trees = [predictor.nodes for iteration in boosting._predictors for predictor in iteration]
        self._keep_nodes([(tree["left"], tree["right"], tree["feature_idx"], tree["num_threshold"]) for tree in trees])
        self.leaf = np.concatenate([tree["value"] for tree in trees])
        self.baseline = boosting._baseline_prediction.reshape(-1).astype(np.float64)

    def _seen_scores(self, values: np.ndarray) -> np.ndarray:
        scores = np.tile(self.baseline, (len(values), 1))
        for number, leaf in enumerate(self._leaves(values)):
            scores[:, number % len(self.baseline)] += self.leaf[leaf]
        return both_sides(scores)


def _steps(most: int, step: int, title: str, unit: str) -> Iterator[int]:
    """The numbers from ``step`` to ``most`` in steps of ``step``, with a progress bar; the last is ``most``."""
    with Progress(total=most, desc=title, unit=unit) as bar:
        for begun in range(0, most, step):
            check_time()
            grown = min(begun + step, most)
            yield grown
            bar.update(grown - begun)
