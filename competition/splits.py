"""Stratified parts of the training images: a validation split, fewer images, folds."""

from dataclasses import replace

import numpy as np

from competition.errors import UserError
from competition.spec import Competition


def limit_train(competition: Competition, images: int, seed: int) -> Competition:
    """The competition with ``images`` training images, stratified, of every class one at least if possible.

    The classes stay as they are. Raises UserError where ``images`` is less than 1.
    """
    if images < 1:
        raise UserError(f"--limit {images} leaves no training image; give 1 or more")
    labels = competition.train.labels
    if images >= len(labels):
        return competition
    counts = np.bincount(labels, minlength=len(competition.classes))
    least = np.minimum(counts, 1)
    if least.sum() > images:
        least = np.zeros_like(counts)
    kept = _draw(labels, _shares(counts, images, least, counts), seed)
    return replace(competition, train=competition.train.take(kept))


def stratified_holdout(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (train, validation), each ascending: a stratified ``fraction`` is set apart.

    Every class keeps a training row, so a class of one image stays there.
    Raises UserError where no class has two.
    """
    counts = np.bincount(labels)
    spare = np.maximum(counts - 1, 0)
    total = min(max(1, round(len(labels) * fraction)), int(spare.sum()))
    if total == 0:
        raise UserError("no class has two training images, so none can be set apart; add images or a val.csv")
    taken = _draw(labels, _shares(counts, total, np.zeros_like(counts), spare), seed)
    return np.setdiff1d(np.arange(len(labels)), taken), taken


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """``folds`` pairs of row numbers (train, validation), each row in exactly one validation part.

    The rows are dealt like cards, class after class, so both the parts and each class in them differ by one
    image at most. A class with a single image is missing from the training rows of one fold.
    Raises UserError where there are fewer than two folds or fewer rows than folds.
    """
    if not 2 <= folds <= len(labels):
        raise UserError(f"--folds {folds} does not suit {len(labels)} images; give 2 to {len(labels)}")
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[by_class] = np.arange(len(labels)) % folds
    return [(np.flatnonzero(fold != part), np.flatnonzero(fold == part)) for part in range(folds)]


def stratified_rows(labels: np.ndarray, total: int, seed: int) -> np.ndarray:
    """``total`` row numbers, ascending, the classes in proportion to their counts."""
    counts = np.bincount(labels)
    return _draw(labels, _shares(counts, total, np.zeros_like(counts), counts), seed)


def _shares(counts: np.ndarray, total: int, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """How many of ``total`` each class gets: in proportion to counts, by largest remainder, within bounds."""
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
