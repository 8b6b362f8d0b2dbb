"""Support vector machines on standardised values; all points of a grid use one matrix of inner products."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from competition.errors import UserError
from competition.progress import Progress
from competition.wording import size_text
from pipeline.data.cache import Images
from pipeline.models.classical.base import Classifier, fit_temperature
from pipeline.models.classical.components import components_cost, principal_components, sample_size
from pipeline.models.classical.discriminant import LANDMARKS, ClassSums, DiscriminantMachine, KernelMap
from pipeline.models.classical.one_vs_one import Machine, Products
from pipeline.models.classical.pixels import chunks, flat_chunks, sample_by_class
from pipeline.runtime.memory import total_memory
from pipeline.runtime.time_limit import check_time

KERNELS = ("linear", "rbf")
STEEPER = 1_550  # images of two classes above which the cost grows faster; measured on CIFAR-10 with 800 to 2,200


@dataclass(frozen=True, eq=False)
class FittedPoint:
    """One trained point of the grid.

    scores: of the validation images, float64 ``[N, classes]``.
    support: the training images that are support vectors of an exact machine; None for an approximate one.
    """

    point: dict
    machine: Machine | DiscriminantMachine
    scores: np.ndarray
    support: np.ndarray | None = None


class SupportVectorMachine(Classifier):
    """One-vs-one SVC with the kernel and C that are best on validation (the first in a tie).

    Predicts like scikit-learn's SVC (gamma="scale") on the standardised values. All inner products are computed once,
    and every machine of the grid is trained on them. Memory for n training and m validation images of D values: at
    most 12 n^2 + 4 n (m + D) bytes.

    If this is more than ``memory``, these exact machines are trained on a stratified sample of the images that fits.
    Approximate machines are then trained on all images, piece by piece: linear discriminants on principal components,
    or on the Nyström map of these for the rbf kernel. The validation set decides among all machines.

    grid: one ``{"kernel": "linear" | "rbf", "C": float}`` for each machine to try.
    memory: bytes; None for half of the machine's memory.
    grid_scores: one row for each machine, ordered by kernel; approximate ones have ``"machine": "approximate"``.
    chosen: the point of the grid that was kept.
    """

    chosen: dict
    components: np.ndarray | None
    support: np.ndarray  # of an exact machine
    coefficients: np.ndarray
    counts: np.ndarray
    landmarks: np.ndarray  # of an approximate machine
    weights: np.ndarray
    intercepts: np.ndarray

    def __init__(self, classes: int, grid: Sequence[dict], seed: int = 0, memory: float | None = None):
        super().__init__(classes)
        self.grid = [dict(point) for point in grid]
        self.seed = seed
        self._memory = memory or total_memory() / 2
        for point in self.grid:
            if point["kernel"] not in KERNELS:
                raise UserError(f"svm: no kernel is called {point['kernel']!r}; use {' or '.join(KERNELS)}")

    def _fit(
        self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray
    ) -> Self:
        """Train every point of the grid and keep the best on the validation images.

        Raises UserError if the training images have fewer than two classes.
        """
        self.seen = self._seen_classes(labels, "svm")
        self.components = None
        self._measure(images)
        rows = self._rows_that_fit(labels, len(validation_images))
        trials = self._exact_trials(images, labels, rows, validation_images)
        if len(rows) < len(labels):
            trials += self._approximate_trials(images, labels, validation_images)
        self.grid_scores = [self._measured(trial.point, trial.scores, validation_labels) for trial in trials]
        best = trials[self._best_tried()]
        self._keep(best, images)
        self.temperature = fit_temperature(best.scores, validation_labels)
        return self

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """See ``Classifier.cost``.

        Linear machines on overlapping classes are by far the most expensive. Their cost grows with the number of images
        of a pair of classes to the power of 3.75, and of 6.4 above STEEPER. For classes that are easy to separate the
        estimate is too high.
        """
        images = min(train_images, self._most_images(validation_images, values))
        linear = sum(point["kernel"] == "linear" for point in self.grid)
        products = 1.25 * images * values * (images + len(self.grid) * validation_images) + 1_500 * images * values
        kernels = len(self.grid) * (4_250 * images**2 + 170_000 * images * self.classes)
        pairs, of_a_pair = self.classes * (self.classes - 1) / 2, 2 * images / self.classes
        overlapping = 0.14 * linear * pairs * of_a_pair**3.75 * max(1, of_a_pair / STEEPER) ** 2.65
        exact = products + kernels + overlapping
        if images == train_images:
            return exact
        return exact + self._approximate_cost(train_images + validation_images, values)

    def _approximate_cost(self, images: int, values: int) -> float:
        maps = sum(kernel == "rbf" for kernel in self._kernels())
        mapping = 80 * LANDMARKS**3 + images * LANDMARKS * (8 * LANDMARKS + 3_000)
        solving = len(self.grid) * LANDMARKS**2 * (5 * LANDMARKS + self.classes)
        return components_cost(images, values, self._memory) + maps * mapping + solving

    def _scores(self, images: Images) -> np.ndarray:
        """Votes plus bounded confidences of an exact machine, or log posteriors of an approximate one."""
        score, width = self._scorer()
        scores = []
        with Progress(total=len(images), desc="svm", unit="image") as bar:
            for flat in flat_chunks(images, self.grey, beside=width):
                scores.append(score(self._standardised(flat)))
                bar.update(len(flat))
        return self._over_all_classes(np.concatenate(scores))

    def _scorer(self) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
        """A function from standardised values to scores of the seen classes, and how many values it computes a row."""
        if self.components is not None:
            approximate = DiscriminantMachine(self.landmarks, self.weights, self.intercepts)
            return lambda x: approximate.scores(self._reduced(x), self.gamma), len(self.weights)
        support = self._standardised(self.support)
        machine = Machine(self.coefficients, self.counts, self.intercepts)
        return (
            lambda x: machine.scores(self._kernel(Products.of(x, support), self.chosen["kernel"])),
            max(len(support), len(self.intercepts)),
        )

    def _most_images(self, validation_images: int, values: int) -> int:
        """The largest n for which 12 n^2 + 4 n (m + D) bytes fit in memory."""
        a_row = 4 * (validation_images + values)
        return int((np.sqrt(a_row**2 + 48 * self._memory) - a_row) / 24)

    def _rows_that_fit(self, labels: np.ndarray, validation_images: int) -> np.ndarray:
        """Rows for exact machines, sorted by label, as libsvm sorts them: it then reads the matrix in order."""
        count, values = len(labels), len(self.mean)
        most = max(self._most_images(validation_images, values), len(self.seen))
        if count > most:
            needed = 12 * count**2 + 4 * count * (validation_images + values)
            print(
                f"svm: all {count:,} training images need {size_text(needed)}, but only {size_text(self._memory)} "
                f"are available; exact machines are trained on a stratified sample of {most:,} images and approximate "
                "machines on all images, and the best on validation is kept"
            )
        rows = sample_by_class(labels, most, self.seed)
        return rows[np.argsort(labels[rows], kind="stable")]

    def _kernels(self) -> list[str]:
        return list(dict.fromkeys(point["kernel"] for point in self.grid))

    def _points(self, kernel: str) -> list[dict]:
        return [point for point in self.grid if point["kernel"] == kernel]

    def _exact_trials(
        self, images: Images, labels: np.ndarray, rows: np.ndarray, validation_images: Images
    ) -> list[FittedPoint]:
        """Train every point of the grid on the images at ``rows``."""
        flat = self._flat(images, rows)
        self.gamma = 1 / max(1, int(np.count_nonzero(np.ptp(flat, axis=0))))
        train, validation = self._products(flat, validation_images)
        trials = []
        with Progress(total=len(self.grid), desc="svm grid", unit="machine") as bar:
            for name in self._kernels():
                for point, machine, support in self._exact_machines(name, train, labels[rows]):
                    scores = self._validation_scores(validation, name, machine, support)
                    trials.append(FittedPoint(point, machine, scores, rows[support]))
                    bar.update()
                    check_time()
        return trials

    def _exact_machines(
        self, kernel: str, train: Products, labels: np.ndarray
    ) -> Iterator[tuple[dict, Machine, np.ndarray]]:
        """Each point of a kernel with its machine and its support vectors (rows of ``train``), trained in parallel.

        The kernel matrix is freed at the end, before the next one is computed.
        """
        points = self._points(kernel)
        train_machine = partial(Machine.train, self._kernel(train, kernel), labels)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            machines = pool.map(train_machine, [point["C"] for point in points])
            for point, (machine, support) in zip(points, machines, strict=True):
                yield point, machine, support

    def _products(self, flat: np.ndarray, validation_images: Images) -> tuple[Products, Products]:
        """Products of the training rows with themselves, and of the validation images with the training rows."""
        design = self._standardised(flat)
        pieces = [Products.of(self._standardised(piece), design) for piece in flat_chunks(validation_images, self.grey)]
        inner = np.concatenate([piece.inner for piece in pieces])
        left = np.concatenate([piece.left for piece in pieces])
        return Products.within(design), Products(inner, left, pieces[0].right)

    def _kernel(self, products: Products, name: str) -> np.ndarray:
        return products.linear(self.copies) if name == "linear" else products.rbf(self.gamma)

    def _validation_scores(self, validation: Products, name: str, machine: Machine, support: np.ndarray) -> np.ndarray:
        pieces = (validation.take(rows, support) for rows in chunks(len(validation.left), len(support)))
        scores = [machine.scores(self._kernel(piece, name)) for piece in pieces]
        return self._over_all_classes(np.concatenate(scores))

    def _approximate_trials(self, images: Images, labels: np.ndarray, validation_images: Images) -> list[FittedPoint]:
        """Train every point of the grid on all images; the points of one kernel use the same sums."""
        rows = sample_by_class(labels, sample_size(len(self.mean), self._memory), self.seed)
        sample = self._standardised(self._flat(images, rows))
        self.components = principal_components(sample, self.seed)
        maps = {name: KernelMap.fit(name, self._reduced(sample), self.gamma, self.seed) for name in self._kernels()}
        sums = self._class_sums(maps, images, np.searchsorted(self.seen, labels))
        pieces = flat_chunks(validation_images, self.grey)
        validation = np.concatenate([self._reduced(self._standardised(flat)) for flat in pieces])
        trials = []
        for name in self._kernels():
            for point in self._points(name):
                machine = maps[name].machine(*sums[name].discriminants(penalty=1 / (2 * point["C"])))
                scores = self._over_all_classes(machine.scores(validation, self.gamma))
                trials.append(FittedPoint({**point, "machine": "approximate"}, machine, scores))
        return trials

    def _class_sums(self, maps: dict[str, KernelMap], images: Images, labels: np.ndarray) -> dict[str, ClassSums]:
        """The class sums of the mapped images for each map; images are read once. labels: indices into ``seen``."""
        sums = {name: ClassSums.zeros(len(self.seen), each.width) for name, each in maps.items()}
        done = 0
        with Progress(total=len(images), desc="svm, all images", unit="image") as bar:
            for flat in flat_chunks(images, self.grey, beside=LANDMARKS):
                reduced = self._reduced(self._standardised(flat))
                for name, each in maps.items():
                    sums[name].add(each(reduced), labels[done : done + len(flat)])
                done += len(flat)
                bar.update(len(flat))
        return sums

    def _reduced(self, standardised: np.ndarray) -> np.ndarray:
        """Principal components, float64 ``[n, p]``, of standardised values ``[n, D]``."""
        return (standardised @ self.components).astype(np.float64)

    def _keep(self, trial: FittedPoint, images: Images) -> None:
        """Keep what is needed to predict with the trial's machine."""
        self.chosen = trial.point
        vars(self).update(vars(trial.machine))
        if trial.support is not None:
            self.components, self.support = None, self._flat(images, trial.support)
