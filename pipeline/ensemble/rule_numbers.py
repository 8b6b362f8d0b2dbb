"""The numbers that a fitted rule consists of, and the rule with each of them changed: what was gained by fitting it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, singledispatch

import numpy as np

from competition.metrics import THRESHOLDS
from pipeline.ensemble.rules import EXPONENTS, CutPoints, Rule, Tempered, Thresholds, midpoints

STEPS = 41  # values of a cut point that are tried


@dataclass(frozen=True, eq=False)
class RuleNumber:
    """One number of a rule.

    name: in words; label: the index of the label that it is about, None if it is about all.
    fitted: its value in the rule. plain: its value where nothing is fitted. tried: other values, ascending.
    rule_at: the rule with a given value in its place, the other numbers as fitted.
    """

    name: str
    label: int | None
    fitted: float
    plain: float
    tried: np.ndarray
    rule_at: Callable[[float], Rule]


@singledispatch
def numbers_of(rule: object) -> list[RuleNumber]:
    """The numbers that a rule was fitted by; none of a rule without any."""
    return []


@numbers_of.register
def _(rule: Thresholds) -> list[RuleNumber]:
    tried = np.asarray(THRESHOLDS)
    if np.ndim(rule.values) == 0:
        return [RuleNumber("threshold", None, float(rule.values), 0.5, tried, Thresholds)]
    values = np.asarray(rule.values)
    return [
        RuleNumber("threshold", label, float(value), 0.5, tried, partial(_with_threshold, values, label))
        for label, value in enumerate(values)
    ]


def _with_threshold(values: np.ndarray, label: int, value: float) -> Rule:
    return Thresholds(np.where(np.arange(len(values)) == label, value, values))


@numbers_of.register
def _(rule: Tempered) -> list[RuleNumber]:
    def rule_at(exponent: float) -> Rule:
        return replace(rule, exponent=exponent)

    return [RuleNumber("exponent", None, rule.exponent, 0.0, EXPONENTS, rule_at)]


@numbers_of.register
def _(rule: CutPoints) -> list[RuleNumber]:
    numbers, plain = np.array(rule.task.classes, np.float64), midpoints(rule.task).cuts
    return [
        RuleNumber(
            f"cut between {rule.task.classes[place]} and {rule.task.classes[place + 1]}",
            None,
            float(cut),
            float(plain[place]),
            np.linspace(numbers[max(0, place - 1)], numbers[min(len(numbers) - 1, place + 2)], STEPS),
            partial(_with_cut, rule, place),
        )
        for place, cut in enumerate(rule.cuts)
    ]


def _with_cut(rule: CutPoints, place: int, value: float) -> Rule:
    cuts = np.where(np.arange(len(rule.cuts)) == place, value, rule.cuts)
    return replace(rule, cuts=np.sort(cuts))
