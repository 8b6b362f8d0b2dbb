"""Rules of decision: each makes of a model's output another whose plain decision the metric rewards more.

A family fits its rule on labelled images. All have few numbers to fit, since validation images are few.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from competition.cells import one_hot
from competition.form import Form
from competition.metrics import METRICS, THRESHOLDS, Metric, grades_of
from competition.task import Task

Rule = Callable[[np.ndarray], np.ndarray]  # a model's output, float ``[N, T * K]``, to another

EXPONENTS = np.linspace(0, 1, 21)
RARE = 20.0  # labels with that many images get a threshold half-way between their own best and the common one
MOST_GRADES = 11  # the cut points of more cannot be fitted on the images that there are
_OF_ANY_VALUES = (METRICS["accuracy"], METRICS["error"])  # where probabilities are asked for, they stay probabilities
ABOVE_HALF = np.nextafter(np.float32(0.5), np.float32(1))


class Family(Protocol):
    """A kind of rule. plain: what is done without it, in words."""

    plain: ClassVar[str]

    def fit(self, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Rule:
        """The rule that serves the metric best on these images. labels: as in ``Split.labels``."""

    def describe(self, rule: Rule) -> str:
        """The rule in words."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Rules one after another."""

    rules: tuple[Rule, ...]

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        for rule in self.rules:
            probabilities = rule(probabilities)
        return probabilities


@dataclass(frozen=True, eq=False)
class Thresholds:
    """The odds of each label, shifted so that what was ``values`` becomes 0.5. values: float, or ``[L]``."""

    values: np.ndarray | float

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        shifted = np.stack([self.values, 1 - np.asarray(self.values)], axis=-1).astype(np.float32)
        odds = probabilities.reshape(len(probabilities), -1, 2) * shifted
        return (odds / odds.sum(axis=2, keepdims=True)).reshape(probabilities.shape)


@dataclass(frozen=True)
class CommonThreshold:
    """One threshold for all labels."""

    plain: ClassVar[str] = "with 0.5 for all"

    def fit(self, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Rule:
        ranks = np.array([metric.rank(metric(Thresholds(each)(probabilities), labels)) for each in THRESHOLDS])
        return Thresholds(float(THRESHOLDS[_smooth(ranks).argmax()]))

    def describe(self, rule: Rule) -> str:
        assert isinstance(rule, Thresholds)
        return f"threshold {rule.values:.2f} for all labels"


@dataclass(frozen=True)
class ThresholdALabel:
    """The threshold with the highest F1 of each label, drawn to the common one where the label is rare."""

    plain: ClassVar[str] = "with 0.5 for all"

    def fit(self, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Rule:
        truth, scores = labels.astype(bool), probabilities[:, 1::2]
        table = _smooth(np.array([_f1(truth, scores > each) for each in THRESHOLDS]))
        common, own = logit(THRESHOLDS[table.mean(axis=1).argmax()]), logit(THRESHOLDS[table.argmax(axis=0)])
        trust = truth.sum(axis=0) / (truth.sum(axis=0) + RARE)
        return Thresholds(expit(common + trust * (own - common)))

    def describe(self, rule: Rule) -> str:
        assert isinstance(rule, Thresholds)
        low, high = np.quantile(rule.values, [0, 1])
        return f"thresholds of {low:.2f} to {high:.2f}, one a label"


@dataclass(frozen=True, eq=False)
class Tempered:
    """Probabilities divided by a power of the classes' frequencies. prior: ``[T * K]``, targets summing to 1."""

    prior: np.ndarray
    exponent: float
    choices: int

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        if not self.exponent:
            return probabilities
        odds = probabilities * (self.prior**-self.exponent).astype(probabilities.dtype)
        by_target = odds.reshape(len(odds), -1, self.choices)
        return (by_target / by_target.sum(axis=2, keepdims=True)).reshape(odds.shape)


@dataclass(frozen=True)
class PriorExponent:
    """How far rare classes are preferred: not at all (0), or as if all classes were equally frequent (1)."""

    task: Task
    plain: ClassVar[str] = "without"

    def fit(self, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Rule:
        counts = self.task.prior(labels) * len(labels) + 1  # of a class without images too, something is divided by
        prior = counts / (len(labels) + self.task.choices)
        rules = [Tempered(prior, float(exponent), self.task.choices) for exponent in EXPONENTS]
        ranks = np.array([metric.rank(metric(rule(probabilities), labels)) for rule in rules])
        return rules[int(_smooth(ranks).argmax())]

    def describe(self, rule: Rule) -> str:
        assert isinstance(rule, Tempered)
        return f"probabilities divided by the frequencies of the classes to the power {rule.exponent:.2f}"


@dataclass(frozen=True, eq=False)
class CutPoints:
    """The class whose range holds the expected grade. cuts: the ends of the ranges, ascending, ``[K - 1]``."""

    task: Task
    cuts: np.ndarray

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        return one_hot(self.task, np.searchsorted(self.cuts, grades_of(self.task, probabilities)))


def midpoints(task: Task) -> CutPoints:
    """Cut points half-way between the grades."""
    return CutPoints(task, np.array([(low + high) / 2 for low, high in pairwise(map(float, task.classes))]))


@dataclass(frozen=True)
class FittedCutPoints:
    """Cut points that serve the metric best (Nelder and Mead, Computer Journal 7, 1965, from the midpoints)."""

    task: Task
    plain: ClassVar[str] = "with midpoints"

    def fit(self, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Rule:
        start = midpoints(self.task).cuts
        numbers, grades = np.array(self.task.classes, np.float64), grades_of(self.task, probabilities)

        def cost(cuts: np.ndarray) -> float:
            return -metric.rank(metric.measured(numbers[labels], numbers[np.searchsorted(np.sort(cuts), grades)]))

        simplex = np.stack([start, *(start - 0.3 * row for row in np.eye(len(start)))])
        found = minimize(cost, start, method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 1e-3})
        return CutPoints(self.task, np.sort(found.x))

    def describe(self, rule: Rule) -> str:
        assert isinstance(rule, CutPoints)
        return f"cut points {', '.join(f'{cut:.2f}' for cut in rule.cuts)}"


@dataclass(frozen=True)
class Median:
    """The median of each number in place of its mean. Nothing is fitted."""

    task: Task
    plain: ClassVar[str] = "with the mean"

    def fit(self, probabilities: np.ndarray, labels: np.ndarray, metric: Metric) -> Rule:
        return self

    def describe(self, rule: Rule) -> str:
        return "the median of each number"

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """All probability on the two intervals between whose means the median lies."""
        shares = self.task.by_target(probabilities)
        middles = shares.cumsum(axis=2) - shares / 2
        above = np.clip((middles < 0.5).sum(axis=2, keepdims=True), 1, self.task.choices - 1)
        low, high = (np.take_along_axis(middles, place, axis=2) for place in (above - 1, above))
        weight = np.clip((0.5 - low) / np.maximum(high - low, np.finfo(np.float32).tiny), 0, 1)
        between = np.zeros_like(shares)
        np.put_along_axis(between, above - 1, 1 - weight, axis=2)
        np.put_along_axis(between, above, weight, axis=2)
        return between.reshape(probabilities.shape)


@dataclass(frozen=True)
class Doubt:
    """The share of images that may be mistaken without having shown: it is spread over the choices of each target."""

    share: float
    choices: int

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities * np.float32(1 - self.share) + np.float32(self.share / self.choices)


def at_least_one(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest label of an image that would have none."""
    scores = probabilities[:, 1::2]
    bare, likely = np.flatnonzero((scores <= 0.5).all(axis=1)), scores.argmax(axis=1)
    changed = probabilities.copy()
    changed[bare, 2 * likely[bare]], changed[bare, 2 * likely[bare] + 1] = 1 - ABOVE_HALF, ABOVE_HALF
    return changed


@dataclass(frozen=True)
class Hard:
    """0 and 1 in place of probabilities."""

    task: Task

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        chosen = self.task.by_target(probabilities).argmax(axis=2)
        return np.eye(self.task.choices, dtype=np.float32)[chosen].reshape(probabilities.shape)


def family_for(metric: Metric, task: Task, form: Form) -> Family | None:
    """What is fitted for that metric; None if its plain decision is the best there is."""
    if metric.needs == "grades":
        return FittedCutPoints(task) if len(task.classes) <= MOST_GRADES else None
    if metric.name == "mae":
        return Median(task)
    if task.kind == "multilabel":
        return _for_labels(metric, form)
    if metric.name == "f1-binary":
        return CommonThreshold()
    by_class = ("f1-macro", "balanced-accuracy", "weighted-recall", "balanced-log-loss")
    return PriorExponent(task) if metric.name in by_class else None


def plain_rule(metric: Metric, task: Task) -> Rule:
    """What stands in the place of a fitted rule if nothing is fitted."""
    return midpoints(task) if metric.needs == "grades" else Steps(())


def last_rule(metric: Metric, task: Task, form: Form, labels: np.ndarray) -> Rule:
    """What follows in any case. labels: of the validation images."""
    rules: list[Rule] = []
    if task.kind == "multilabel" and (form.kind == "labels" or metric.needs == "sets") and _never_bare(labels):
        rules.append(at_least_one)
    if metric.needs in ("labels", "sets") and form.kind in ("probability", "columns") and metric not in _OF_ANY_VALUES:
        rules.append(Hard(task))
    if metric.needs == "probabilities" and not metric.greater_is_better:
        rules.append(Doubt(1 / (len(labels) + 1), task.choices))
    return Steps(tuple(rules))


def _for_labels(metric: Metric, form: Form) -> Family | None:
    if metric.name == "f1-macro":
        return ThresholdALabel()
    is_own = metric.needs == "frames" and form.kind == "labels"
    return CommonThreshold() if metric.needs == "sets" or metric.name == "f1-micro" or is_own else None


def _never_bare(labels: np.ndarray) -> bool:
    return bool(labels.any(axis=1).all())


def _f1(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The F1 of each label, float64 ``[L]``."""
    hits, total = (truth & predicted).sum(axis=0), truth.sum(axis=0) + predicted.sum(axis=0)
    return 2 * hits / np.maximum(total, 1)


def _smooth(values: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours along the first axis, so that no single image decides."""
    around = np.concatenate([values[:1], values, values[-1:]])
    return (around[:-2] + 2 * around[1:-1] + around[2:]) / 4
