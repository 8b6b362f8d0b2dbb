"""Stratified splits of the training images: a hold-out, folds, a smaller training set."""

import warnings
from collections.abc import Sequence
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


def stratified_holdout(
    labels: np.ndarray, fraction: float, seed: int, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (train, validation), each ascending: a stratified ``fraction`` is held out for validation.

    Every class keeps at least one training row, so a class with a single image stays in train. Images of one of the
    ``groups`` stay together; then classes that only a few groups have may be missing from train.
    Raises UserError if no class has two images, or if there is a single group.
    """
    if groups is not None:
        folds = _group_folds(labels, groups, max(2, round(1 / fraction)), seed)
        return min(folds, key=lambda fold: -len(np.unique(labels[fold[0]])))
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


def stratified_folds(
    labels: np.ndarray, folds: int, seed: int, groups: Sequence[str] | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """``folds`` pairs of row numbers (train, validation), both ascending; each row is in exactly one validation part.

    Rows are dealt to the folds in turn, class after class, so the sizes of the validation parts differ by at most one
    image, overall and within each class. A class with a single image is missing from the training rows of one fold.
    With ``groups``, the images of each stay together, and the sizes differ by what that costs.
    Raises UserError if there are fewer than two folds, or fewer rows or groups than folds.
    """
    most, things = (len(labels), "images") if groups is None else (len(set(groups)), "groups")
    if groups is not None and most < 2:
        raise UserError(f"--folds {folds} is not possible: all images are of one group; leave out --group-column")
    if not 2 <= folds <= most:
        raise UserError(f"--folds {folds} is not possible with {most} {things}; give 2 to {most}")
    if groups is not None:
        return _group_folds(labels, groups, folds, seed)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[by_class] = np.arange(len(labels)) % folds
    return [(np.flatnonzero(fold != part), np.flatnonzero(fold == part)) for part in range(folds)]


def _group_folds(
    labels: np.ndarray, groups: Sequence[str], folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """At most ``folds`` pairs of row numbers (train, validation), none with a group on both sides."""
    from sklearn.model_selection import StratifiedGroupKFold  # imported here because it is slow to import

    numbers = np.unique(np.array(groups), return_inverse=True)[1]
    folds = min(folds, int(numbers.max()) + 1)
    if folds < 2:
        raise UserError("all images are of one group, so none can be held out for validation; add a val.csv")
    # scikit-learn refuses more folds than the largest class has images, which then cannot be equal in classes anyway
    strata = labels if np.bincount(labels).max() >= folds else np.zeros_like(labels)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings(action="ignore"):  # of classes with fewer images than folds
        return list(splitter.split(np.zeros(len(labels)), strata, numbers))


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
    generator, ends = np.random.default_rng(seed), np.cumsum(np.bincount(labels, minlength=len(shares)))
    rows_of_classes = np.split(np.argsort(labels, kind="stable"), ends[:-1])
    drawn = [generator.permutation(rows)[:share] for rows, share in zip(rows_of_classes, shares, strict=True)]
    return np.sort(np.concatenate(drawn))
