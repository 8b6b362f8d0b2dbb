"""Decisions: from the blend's probabilities to what is submitted.

Most metrics are best served by the likeliest label or by the probabilities themselves. For others a rule of few numbers
is fitted on validation images. It is kept only if it is better than the plain decision on images that did not fit it:
the images are dealt into five parts, and each part is decided by the rule that was fitted on the other four.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.cells import cells_of, spelled
from competition.errors import UserError
from competition.form import Form
from competition.metrics import VALUES, Metric
from competition.spec import Competition
from competition.task import Task
from competition.wording import listed, printable
from pipeline.data.predictions import Predictions
from pipeline.ensemble.rules import Family, Rule, Steps, family_for, last_rule, plain_rule
from pipeline.runtime.memory import row_blocks
from pipeline.training.scores import text_table

LISTED_CLASSES = 20
PARTS = 5
FEWEST = 20  # labelled images on which a rule is fitted


@dataclass(frozen=True, eq=False)
class Decision:
    """What is submitted for given probabilities.

    rule: makes of a model's output another, whose plain decision is submitted.
    description: a line for the user; empty where nothing could be fitted for the metric.
    expected_score: the metric on the validation images, each decided by a rule that it did not fit.
    plain_score: the metric on the same images if nothing is fitted.
    fitted: the rule that was fitted, whether it is used or not; None if nothing was. last: what follows it.
    """

    rule: Rule
    description: str
    expected_score: float
    plain_score: float
    fitted: Rule | None = None
    last: Rule | None = None

    def decided(self, probabilities: np.ndarray) -> np.ndarray:
        """The rule's output for a model's output, both float ``[N, T * K]``."""
        return self.rule(probabilities)

    def cells(self, competition: Competition, predictions: Predictions) -> list[tuple[str, ...]]:
        """The cells besides the id of all rows of a submission, in the order of ``competition.form``.

        The probabilities of several images of one case are averaged.
        Raises UserError if an image or a case has no prediction, or the predictions are of other classes.
        """
        form = competition.form
        cases, probabilities = by_case(competition, predictions)
        cells = cells_of(form, competition.task)
        blocks = row_blocks(*probabilities.shape)
        decided = np.concatenate([cells.decide(self.rule(probabilities[rows])) for rows in blocks])
        columns = cells.columns(decided[_rows_of(form, cases)])
        return list(zip(*map(spelled, columns), strict=True))


def fit_decision(
    probabilities: np.ndarray, labels: np.ndarray, metric: Metric, form: Form, cases: Sequence[str] | None = None
) -> Decision:
    """The decision that the metric rewards most on images that did not fit it.

    probabilities: of the validation images, a model's output, float ``[N, T * K]``; labels: as in ``Split.labels``.
    metric: of the competition; without a task it is taken for one class an image.
    cases: of each image, where several belong to one case; they are averaged, as they are in a submission.
    """
    if cases is not None:
        _, probabilities, first = mean_by_case(cases, probabilities)
        labels = labels[first]
    metric, task = metric.at_half, metric.task or Task(tuple(range(probabilities.shape[1])))
    if task.kind != "multiclass":
        labels = labels.reshape(len(labels), -1)
    plain, last = plain_rule(metric, task), last_rule(metric, task, form, labels)
    some = np.random.default_rng(0).permutation(len(labels))[: VALUES // task.columns]
    value = metric(last(plain(probabilities)), labels)
    family = family_for(metric, task, form) if len(some) >= FEWEST else None
    if family is None:
        return Decision(Steps((plain, last)), "", value, value)
    probabilities, labels = probabilities[some], labels[some]
    expected = metric(last(_unseen(family, probabilities, labels, metric)), labels)
    value = metric(last(plain(probabilities)), labels)
    rule = family.fit(probabilities, labels, metric)
    values = f"{metric.title} {expected:.4f} on images not used to fit it, {value:.4f} {family.plain}"
    told = f"{family.describe(rule)}, fitted on {len(labels):,} validation images: {values}"
    if metric.rank(expected) > metric.rank(value):
        return Decision(Steps((rule, last)), told, expected, value, rule, last)
    return Decision(Steps((plain, last)), f"not used: {told}", value, value, rule, last)


def plain_decision() -> Decision:
    """The decision that takes probabilities as they are."""
    return Decision(Steps(()), "", np.nan, np.nan)


def class_counts(competition: Competition, predictions: Predictions, decision: Decision | None = None) -> str:
    """A table as text: how often each class or label is decided for the test cases, and its share of the training set.

    The most frequent comes first. With more than twenty, only the first ten and the last ten are listed. Of numbers it
    shows the mean and the range. decision: None for the plain one.
    """
    task, (_, probabilities) = competition.task, by_case(competition, predictions)
    decided = (decision or plain_decision()).decided(probabilities)
    if task.kind == "continuous":
        return _ranges(task, decided, competition.train.known_labels)
    names, counts = _choice_counts(task, task.by_target(decided).argmax(axis=2))
    _, in_train = _choice_counts(task, competition.train.known_labels)
    shares, train_shares = counts / max(len(decided), 1), in_train / max(len(competition.train), 1)
    rows = [
        (names[c], f"{counts[c]:,}", f"{shares[c]:.2%}", f"{train_shares[c]:.2%}")
        for c in np.argsort(-counts, kind="stable")
        if task.kind != "multioutput" or counts[c] or in_train[c]  # a target need not have all of the classes
    ]
    if len(rows) > LISTED_CLASSES:
        half = LISTED_CLASSES // 2
        rows = [*rows[:half], (f"({len(rows) - 2 * half} more)", "", "", ""), *rows[-half:]]
    title = "label" if competition.form.kind == "columns" else printable(competition.label_column)
    return text_table((title, "predicted", "share", "in train"), rows)


def _choice_counts(task: Task, labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The classes or labels, and how many images have each; of several targets a class is named with its target."""
    counts = np.rint(task.prior(labels) * len(labels)).astype(np.int64)
    if task.kind == "multilabel":
        return list(map(printable, task.classes)), counts[1::2]
    if task.kind == "multiclass":
        return list(map(printable, task.classes)), counts
    return [printable(f"{target} {label}") for target in task.targets for label in task.classes], counts


def _ranges(task: Task, decided: np.ndarray, labels: np.ndarray) -> str:
    """The mean and the range of each number, decided and in train."""
    rows = [
        (printable(name), *(f"{value:.4g}" for side in pair for value in (side.mean(), side.min(), side.max())))
        for name, *pair in zip(task.classes, task.numbers(decided).T, task.true_numbers(labels).T, strict=True)
    ]
    return text_table(("number", "mean", "least", "most", "mean in train", "least", "most"), rows)


def by_case(competition: Competition, predictions: Predictions) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the test cases, and the mean probabilities of the images of each, float32 ``[N, T * K]``."""
    test, columns = competition.test, predictions.probabilities.shape[1]
    if columns != competition.task.columns:
        raise UserError(
            f"the predictions have {columns:,} classes, but {printable(competition.name)} has "
            f"{competition.task.columns:,}; train the models on this competition"
        )
    probabilities = predictions.aligned_to(test.ids).probabilities
    if test.cases is None:
        return test.ids, probabilities
    names, means, _ = mean_by_case(test.cases, probabilities)
    return names, means


def mean_by_case(cases: Sequence[str], probabilities: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The different cases, the mean probabilities of each, and the row of its first image.

    cases: of each row of ``probabilities``, float ``[N, T * K]``.
    """
    places, names = pd.factorize(np.array(cases, dtype=object))
    counts, order = np.bincount(places), np.argsort(places, kind="stable")
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(probabilities[order], starts, dtype=np.float64)
    return tuple(names), (sums / counts[:, None]).astype(np.float32), order[starts]


def _rows_of(form: Form, cases: tuple[str, ...]) -> np.ndarray:
    """The place among the cases of each row, int64 ``[R]``."""
    places = {name: place for place, name in enumerate(cases)}
    if missing := [name for name in dict.fromkeys(form.cases) if name not in places]:
        raise UserError(f"no prediction for {len(missing):,} cases: {listed(missing)}; predict their images")
    return np.array([places[name] for name in form.cases])


def _unseen(family: Family, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> np.ndarray:
    """The output for each fifth by the rule that was fitted on the other four fifths."""
    parts = np.random.default_rng(0).permutation(len(labels)) % PARTS
    decided = np.empty_like(probabilities)
    for part in range(PARTS):
        seen, unseen = parts != part, parts == part
        decided[unseen] = family.fit(probabilities[seen], labels[seen], metric)(probabilities[unseen])
    return decided
