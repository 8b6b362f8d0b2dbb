"""Other forms of the rehearsal: the same pictures, but another question about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from competition.dreams import Dreams
from competition.scoring import ScoringRule

Columns = dict[str, Sequence[object]]
Paint = Callable[[Dreams, np.ndarray, Generator], np.ndarray]

LABELS = ("bark", "fern", "gill", "moss", "reed", "rust", "scab", "thorn")  # of the pictures with several
QUARTERS = 4  # places in a picture with several labels
GRADES = 5
TARGETS = ("object", "backdrop")


@dataclass(frozen=True)
class RehearsalForm:
    """A question about the pictures.

    classes: how many kinds of object and of backdrop the pictures show.
    draw: the truth about that many images, an array with a row for each.
    paint: the images, uint8 ``[N, 64, 64, 3]``, of a truth.
    columns: what stands beside the ids in a table of the truth.
    guesses: what stands there in the sample submission, a cell a column.
    rule: how the answers are scored.
    in_folders: whether train has no table, but a folder for each class.

    If the rule names targets, a submission has a row for each target of an image, ``<image>_<target>``.
    """

    classes: int
    draw: Callable[[int, Generator], np.ndarray]
    paint: Paint
    columns: Callable[[np.ndarray], Columns]
    guesses: tuple[object, ...]
    rule: ScoringRule = field(default_factory=ScoringRule)
    in_folders: bool = False


def _evenly(classes: int) -> Callable[[int, Generator], np.ndarray]:
    """Labels in ``range(classes)``, all as frequent as each other, in random order."""
    return lambda count, generator: generator.permutation(np.arange(count) % classes)


def _grades(count: int, generator: Generator) -> np.ndarray:
    """Grades from 0 on, of which the first is the most frequent."""
    return generator.choice(GRADES, count, p=np.array([8, 2, 4, 1, 1]) / 16)


def _numbers(count: int, generator: Generator) -> np.ndarray:
    """Numbers from 1 to 100 with two decimals."""
    return np.round(1 + 99 * generator.beta(2, 3, count), 2)


def _label_sets(count: int, generator: Generator) -> np.ndarray:
    """One to three of the labels, bool ``[N, L]``; the first are the most frequent."""
    keys = generator.random((count, len(LABELS))) ** (1 + np.arange(len(LABELS)))
    numbers = generator.integers(1, 4, count)
    return np.argsort(np.argsort(-keys, axis=1), axis=1) < numbers[:, None]


def _pairs(count: int, generator: Generator) -> np.ndarray:
    """The labels of object and backdrop, int64 ``[N, 2]``."""
    return np.stack([_evenly(6)(count, generator), _evenly(4)(count, generator)], axis=1)


def _of_class(dreams: Dreams, truth: np.ndarray, generator: Generator) -> np.ndarray:
    return dreams.draw(truth, generator)


def _between(dreams: Dreams, shares: np.ndarray, generator: Generator) -> np.ndarray:
    """Pictures on the way from the first class to the second. shares: of the way, from 0 to 1."""
    way = shares.astype(np.float32)[:, None]
    first, second = dreams.prototypes[:, :1], dreams.prototypes[:, 1:2]
    return dreams.paint(dreams.near((1 - way) * first + way * second, generator), generator)


def _graded(dreams: Dreams, truth: np.ndarray, generator: Generator) -> np.ndarray:
    return _between(dreams, (truth + generator.normal(0, 0.4, len(truth))) / (GRADES - 1), generator)


def _numbered(dreams: Dreams, truth: np.ndarray, generator: Generator) -> np.ndarray:
    return _between(dreams, truth / 100, generator)


def _paired(dreams: Dreams, truth: np.ndarray, generator: Generator) -> np.ndarray:
    centres = np.stack([dreams.prototypes[part, truth[:, part]] for part in range(2)])
    return dreams.paint(dreams.near(centres, generator), generator)


def _quartered(dreams: Dreams, truth: np.ndarray, generator: Generator) -> np.ndarray:
    """A small picture of each label in one quarter or more."""
    ways = [np.resize(generator.permutation(np.flatnonzero(row)), QUARTERS) for row in truth]
    labels = generator.permuted(np.stack(ways), axis=1)
    pictures = dreams.draw(labels.ravel(), generator).reshape(len(truth), 2, 2, 32, 2, 32, 2, 3)
    small = pictures.mean(axis=(4, 6)).astype(np.uint8)  # [N, 2, 2, 32, 32, 3]
    return small.transpose(0, 1, 3, 2, 4, 5).reshape(len(truth), 64, 64, 3)


def _classes(truth: np.ndarray) -> Columns:
    return {"Class": truth.tolist()}


def _class_names(truth: np.ndarray) -> Columns:
    return {"Class": [f"kind {label:02d}" for label in truth]}


def _pair_columns(truth: np.ndarray) -> Columns:
    return {name: column.tolist() for name, column in zip(TARGETS, truth.T, strict=True)}


def _label_columns(truth: np.ndarray) -> Columns:
    return {name: column.astype(int).tolist() for name, column in zip(LABELS, truth.T, strict=True)}


def _label_cells(truth: np.ndarray) -> Columns:
    return {"Labels": [" ".join(np.array(LABELS)[row]) for row in truth]}


_TWO, _TWELVE = _evenly(2), _evenly(12)

FORMS = {
    "probabilities": RehearsalForm(
        2, _TWO, _of_class, _classes, (0.5,), ScoringRule(metric="log-loss", form="probability")
    ),
    "several-labels": RehearsalForm(
        len(LABELS),
        _label_sets,
        _quartered,
        _label_columns,
        (0.5,) * len(LABELS),
        ScoringRule(metric="log-loss", form="columns"),
    ),
    "lists": RehearsalForm(
        len(LABELS),
        _label_sets,
        _quartered,
        _label_cells,
        ("bark moss",),
        ScoringRule(metric="f1-samples", form="labels"),
    ),
    "grades": RehearsalForm(2, _grades, _graded, _classes, (0,), ScoringRule(metric="kappa")),
    "numbers": RehearsalForm(
        2,
        _numbers,
        _numbered,
        lambda truth: {"Number": truth.tolist()},
        (50.5,),
        ScoringRule(metric="rmse", form="number"),
    ),
    "folders": RehearsalForm(12, _TWELVE, _of_class, _class_names, ("kind 00",), in_folders=True),
    "rankings": RehearsalForm(
        12, _TWELVE, _of_class, _classes, ("0 1 2 3 4",), ScoringRule(metric="map@5", form="ranking")
    ),
    "confidences": RehearsalForm(
        12, _TWELVE, _of_class, _classes, ("0 0.5",), ScoringRule(metric="gap", form="confidence")
    ),
    "targets": RehearsalForm(
        6, _pairs, _paired, _pair_columns, (0, 0), ScoringRule(metric="weighted-recall", targets=TARGETS)
    ),
}
