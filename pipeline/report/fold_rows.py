"""Which validation images a run's models were validated on, fold by fold."""

import numpy as np

from pipeline.report.context import ReportContext


def fold_rows(context: ReportContext, name: str) -> list[np.ndarray]:
    """The rows of ``context.validation`` in each fold of a run, int64; a single array if there are no folds.

    A run's predictions are kept fold after fold, each in the order of the tables, so that a fold ends where the order
    goes back.
    """
    split = context.competition.train.ids + context.competition.val.ids
    places = {image: row for row, image in enumerate(split)}
    known = [image for image in context.validated[name].ids if image in places]
    ends = np.flatnonzero(np.diff([places[image] for image in known]) < 0) + 1
    rows = {image: row for row, image in enumerate(context.validation.ids)}
    parts = np.split(np.array([rows.get(image, -1) for image in known], np.int64), ends)
    return [part[part >= 0] for part in parts]
