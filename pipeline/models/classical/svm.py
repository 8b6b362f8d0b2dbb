"""Support vector machines on standardised values: a grid over one matrix of inner products."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from tqdm import tqdm

from competition.errors import UserError
from pipeline.models.classical.base import Classifier, fit_temperature, soften
from pipeline.models.classical.one_vs_one import Machine, Products
from pipeline.models.classical.pixels import Images, chunks, flat_chunks

KERNELS = ("linear", "rbf")
MOST_IMAGES = 15_000


@dataclass(frozen=True, eq=False)
class Trial:
    """One point of the grid, trained: its machine, the rows that support it, its validation scores."""

    point: dict
    machine: Machine
    support: np.ndarray
    scores: np.ndarray
    accuracy: float


class SupportVectorMachine(Classifier):
    """One-vs-one SVC, the best on validation of a grid of kernels and C (the first of equals).

    Predictions are those of scikit-learn's SVC (gamma="scale") on the standardised values. All inner products
    are taken once, and every machine of the grid learns from them. Memory for n training and m validation
    images of D values: 4 n (n + m + D) bytes while they are taken, 4 n (3 n + m) while the machines learn
    (2.7 GB at 15,000 images); therefore no more than ``most_images`` are used, drawn by class.

    grid: one ``{"kernel": "linear" | "rbf", "C": float}`` for each machine tried.
    grid_scores: those points, kernel by kernel, each with its validation ``accuracy``.
    chosen: the point that was kept.
    """

    def __init__(self, classes: int, grid: Sequence[dict], seed: int = 0, most_images: int = MOST_IMAGES):
        super().__init__(classes)
        self.grid = [dict(point) for point in grid]
        self.seed = seed
        self.most_images = most_images
        for point in self.grid:
            if point["kernel"] not in KERNELS:
                raise UserError(f"svm: no kernel is called {point['kernel']!r}; use {' or '.join(KERNELS)}")

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Train every point of the grid and keep the best on the validation images.

        Raises UserError where the training images show fewer than two classes.
        """
        rows = self._training_rows(labels)
        flat, labels = self._flat(images, rows), labels[rows]
        self._measure(flat)
        self.gamma = 1 / max(1, np.count_nonzero(np.ptp(flat, axis=0)))
        self.seen = self._seen_classes(labels, "svm")
        trials = self._train_grid(*self._products(flat, validation_images), labels, validation_labels)
        self.grid_scores = [{**trial.point, "accuracy": trial.accuracy} for trial in trials]
        best = max(trials, key=lambda trial: trial.accuracy)
        self._keep(best, flat)
        self.temperature = fit_temperature(best.scores, validation_labels)
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Softened one-vs-rest scores, float32 ``[N, classes]``."""
        machine = Machine(self.coefficients, self.counts, self.intercepts)
        support = self._standardised(self.support)
        scores = []
        with tqdm(total=len(images), desc="svm", unit="image", leave=False) as bar:
            for flat in flat_chunks(images, self.grey):
                products = Products.of(self._standardised(flat), support)
                scores.append(machine.scores(self._kernel(products, self.chosen["kernel"])))
                bar.update(len(flat))
        return soften(self._over_all_classes(np.concatenate(scores)), self.temperature)

    def cost(self, train_images: int, validation_images: int, values: int) -> float:
        """As for every classifier.

        Linear machines on classes that overlap take the most by far, growing with the images a pair of
        classes has to the power of 3.75; on classes that part easily this estimate is too high.
        """
        images = min(train_images, self.most_images)
        linear = sum(point["kernel"] == "linear" for point in self.grid)
        products = 1.25 * images * values * (images + len(self.grid) * validation_images) + 1_500 * images * values
        kernels = len(self.grid) * (4_250 * images**2 + 170_000 * images * self.classes)
        pairs = self.classes * (self.classes - 1) / 2
        return products + kernels + 0.14 * linear * pairs * (2 * images / self.classes) ** 3.75

    def _training_rows(self, labels: np.ndarray) -> np.ndarray:
        """Rows to train on, sorted by label as libsvm does itself: then it reads the matrix in order."""
        if len(labels) > self.most_images:
            print(
                f"svm: learns from {self.most_images:,} of the {len(labels):,} training images, drawn by class: "
                f"the kernel matrices of all would take {12e-9 * len(labels) ** 2:.0f} GB"
            )
        rows = stratified_rows(labels, self.most_images, self.seed)
        return rows[np.argsort(labels[rows], kind="stable")]

    def _products(self, flat: np.ndarray, validation_images: Images) -> tuple[Products, Products]:
        """Products of the training rows with themselves, and of the validation images with them."""
        design = self._standardised(flat)
        pieces = [Products.of(self._standardised(piece), design) for piece in flat_chunks(validation_images, self.grey)]
        inner = np.concatenate([piece.inner for piece in pieces])
        left = np.concatenate([piece.left for piece in pieces])
        return Products.within(design), Products(inner, left, pieces[0].right)

    def _kernel(self, products: Products, name: str) -> np.ndarray:
        return products.linear(self.copies) if name == "linear" else products.rbf(self.gamma)

    def _train_grid(
        self, train: Products, validation: Products, labels: np.ndarray, validation_labels: np.ndarray
    ) -> list[Trial]:
        """Train and score every point, kernel by kernel, those of one kernel at the same time."""
        trials = []
        with (
            tqdm(total=len(self.grid), desc="svm grid", unit="machine", leave=False) as bar,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            for name in dict.fromkeys(point["kernel"] for point in self.grid):
                points = [point for point in self.grid if point["kernel"] == name]
                train_machine = partial(Machine.train, self._kernel(train, name), labels)
                machines = pool.map(train_machine, [point["C"] for point in points])
                for point, (machine, support) in zip(points, machines, strict=True):
                    scores = self._validation_scores(validation, name, machine, support)
                    accuracy = float((scores.argmax(axis=1) == validation_labels).mean())
                    trials.append(Trial(point, machine, support, scores, accuracy))
                    bar.update()
        return trials

    def _validation_scores(self, validation: Products, name: str, machine: Machine, support: np.ndarray) -> np.ndarray:
        pieces = (validation.take(rows, support) for rows in chunks(len(validation.left), len(support)))
        scores = [machine.scores(self._kernel(piece, name)) for piece in pieces]
        return self._over_all_classes(np.concatenate(scores))

    def _keep(self, trial: Trial, flat: np.ndarray) -> None:
        """Keep of a trial what predicting takes."""
        self.chosen = trial.point
        self.support = flat[trial.support]
        self.coefficients = trial.machine.coefficients
        self.counts = trial.machine.counts
        self.intercepts = trial.machine.intercepts


def stratified_rows(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most ``most`` rows, ascending; each class keeps its share, and at least one row if ``most`` allows."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = np.arange(len(members)) / len(members)
    return np.sort(np.argsort(place, kind="stable")[:most])
