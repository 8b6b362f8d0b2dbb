"""Decisions: from the blend's probabilities to the submitted labels."""

import numpy as np

from competition.errors import UserError
from competition.spec import Competition
from competition.task import Label
from competition.wording import printable
from pipeline.data.predictions import Predictions
from pipeline.training.scores import text_table

LISTED_CLASSES = 20


def decide(competition: Competition, predictions: Predictions) -> list[Label]:
    """The most likely class of each test image, in the order of ``competition.submission_ids``.

    Raises UserError if an id has no prediction or the number of classes differs from the competition's.
    """
    return [competition.classes[place] for place in _predicted_labels(competition, predictions)]


def class_counts(competition: Competition, predictions: Predictions) -> str:
    """A table as text: how often each class is predicted for the test images, and its share of the training set.

    The most frequent class comes first. With more than twenty classes, only the first ten and the last ten are listed.
    """
    classes = len(competition.classes)
    counts = np.bincount(_predicted_labels(competition, predictions), minlength=classes)
    shares = counts / max(counts.sum(), 1)
    train_shares = np.bincount(competition.train.known_labels, minlength=classes) / max(len(competition.train), 1)
    rows = [
        (printable(competition.classes[c]), f"{counts[c]:,}", f"{shares[c]:.2%}", f"{train_shares[c]:.2%}")
        for c in np.argsort(-counts, kind="stable")
    ]
    if classes > LISTED_CLASSES:
        half = LISTED_CLASSES // 2
        rows = [*rows[:half], (f"({classes - 2 * half} more)", "", "", ""), *rows[-half:]]
    return text_table((printable(competition.label_column), "predicted", "share", "in train"), rows)


def _predicted_labels(competition: Competition, predictions: Predictions) -> np.ndarray:
    """Index of the most likely class of each test image, int64 ``[N]``, in the order of ``submission_ids``."""
    columns = predictions.probabilities.shape[1]
    if columns != len(competition.classes):
        raise UserError(
            f"the predictions have {columns:,} classes, but {printable(competition.name)} has "
            f"{len(competition.classes):,}; train the models on this competition"
        )
    return predictions.predicted_labels[predictions.rows_of(competition.submission_ids)]
