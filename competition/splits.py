"""Stratified splits of the training images: a hold-out, folds, a smaller training set."""

from dataclasses import replace

import numpy as np

from competition.errors import UserError
from competition.spec import Competition
from competition.task import strata


def limit_train(competition: Competition, images: int, seed: int) -> Competition:
    """The competition with a stratified sample of ``images`` training images, if possible one or more of each class.

    ``classes`` stays unchanged. Raises UserError if ``images`` is less than 1.
    """
    if images < 1:
        raise UserError(f"--limit {images} leaves no training image; give 1 or more")
    labels = strata(competition.task.encode(competition.train.known_labels))
    if images >= len(labels):
        return competition
    counts = np.bincount(labels)
    least = np.minimum(counts, 1)
    if least.sum() > images:
        least = np.zeros_like(counts)
    kept = _draw(labels, _shares(counts, images, least, counts), seed)
    return replace(competition, train=competition.train.take(kept))


def stratified_holdout(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (train, validation), each ascending: a stratified ``fraction`` is held out for validation.

    Every class keeps at least one training row, so a class with a single image stays in train.
    Raises UserError if no class has two images.
    """
    counts = np.bincount(labels)
    spare = np.maximum(counts - 1, 0)
    total = min(max(1, round(len(labels) * fraction)), int(spare.sum()))
    if total == 0:
        raise UserError(
            "no class has two training images, so none can be held out for validation; "
            "add images or a val.csv, or raise --limit"
        )
    taken = _draw(labels, _shares(counts, total, np.zeros_like(counts), spare), seed)
    return np.setdiff1d(np.arange(len(labels)), taken), taken


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """``folds`` pairs of row numbers (train, validation), both ascending; each row is in exactly one validation part.

    Rows are dealt to the folds in turn, class after class, so the sizes of the validation parts differ by at most one
    image, overall and within each class. A class with a single image is missing from the training rows of one fold.
    Raises UserError if there are fewer than two folds or fewer rows than folds.
    """
    if not 2 <= folds <= len(labels):
        raise UserError(f"--folds {folds} is not possible with {len(labels)} images; give 2 to {len(labels)}")
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[by_class] = np.arange(len(labels)) % folds
    return [(np.flatnonzero(fold != part), np.flatnonzero(fold == part)) for part in range(folds)]


def stratified_rows(labels: np.ndarray, total: int, seed: int) -> np.ndarray:
    """A stratified sample of ``total`` row numbers, ascending; classes keep their proportions."""
    counts = np.bincount(labels)
    return _draw(labels, _shares(counts, total, np.zeros_like(counts), counts), seed)


def _shares(counts: np.ndarray, total: int, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """How many of ``total`` each class gets: proportional to counts, by largest remainder, within the bounds."""
    ideal = total * counts / counts.sum()
    shares = np.clip(np.floor(ideal).astype(np.int64), least, most)
    while (missing := total - shares.sum()) != 0:
        step = np.sign(missing)
        allowed = shares < most if step > 0 else shares > least
        shares[np.argmax(np.where(allowed, step * (ideal - shares), -np.inf))] += step
    return shares


def _draw(labels: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Row numbers, ascending: ``shares[c]`` rows of each class c, drawn at random."""
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(np.flatnonzero(labels == label))[:share] for label, share in enumerate(shares)]
    return np.sort(np.concatenate(drawn))
