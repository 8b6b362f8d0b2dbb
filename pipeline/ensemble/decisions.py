"""Decisions: what turns the blend's probabilities into the labels that are submitted."""

import numpy as np

from competition.errors import UserError
from competition.spec import Competition
from competition.task import Label
from pipeline.data.predictions import Predictions
from pipeline.training.scores import text_table

LISTED_CLASSES = 20


def decide(competition: Competition, predictions: Predictions) -> list[Label]:
    """The likeliest class of each test image, in the order of ``competition.submission_ids``.

    Raises UserError where an id was not predicted, or the number of classes is not the competition's.
    """
    return [competition.classes[place] for place in _predicted_labels(competition, predictions)]


def class_counts(competition: Competition, predictions: Predictions) -> str:
    """How often each class is predicted for the test images, beside its share of train, as text.

    Most frequent first; of more than twenty classes only the top and the bottom ones.
    """
    classes = len(competition.classes)
    counts = np.bincount(_predicted_labels(competition, predictions), minlength=classes)
    shares = counts / max(counts.sum(), 1)
    train_shares = np.bincount(competition.train.known_labels, minlength=classes) / max(len(competition.train), 1)
    rows = [
        (str(competition.classes[c]), f"{counts[c]:,}", f"{shares[c]:.2%}", f"{train_shares[c]:.2%}")
        for c in np.argsort(-counts, kind="stable")
    ]
    if classes > LISTED_CLASSES:
        half = LISTED_CLASSES // 2
        rows = [*rows[:half], (f"({classes - 2 * half} more)", "", "", ""), *rows[-half:]]
    return text_table((competition.label_column, "predicted", "share", "in train"), rows)


def _predicted_labels(competition: Competition, predictions: Predictions) -> np.ndarray:
    """The likeliest class of each test image, int64, in ``submission_ids`` order."""
    columns = predictions.probabilities.shape[1]
    if columns != len(competition.classes):
        raise UserError(
            f"predictions of {columns:,} classes where {competition.name} has {len(competition.classes):,}; "
            "train the models on this competition"
        )
    return predictions.aligned_to(competition.submission_ids).predicted_labels
