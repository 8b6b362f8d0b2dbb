import numpy as np
import pytest

from competition.task import Task
from pipeline.ensemble.rule_numbers import numbers_of
from pipeline.ensemble.rules import CutPoints, Hard, Tempered, Thresholds


def test_a_common_threshold_is_one_number():
    (number,) = numbers_of(Thresholds(0.25))
    assert (number.label, number.fitted, number.plain) == (None, 0.25, 0.5)
    assert number.rule_at(0.75).values == 0.75


def test_each_label_has_a_threshold_of_its_own_and_the_others_stay():
    numbers = numbers_of(Thresholds(np.array([0.25, 0.5, 0.75])))
    assert [(number.label, number.fitted) for number in numbers] == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert numbers[1].rule_at(0.125).values.tolist() == [0.25, 0.125, 0.75]


def test_the_exponent_of_the_frequencies_is_a_number():
    (number,) = numbers_of(Tempered(np.array([0.25, 0.75]), 0.5, 2))
    assert (number.fitted, number.plain, number.rule_at(1.0).exponent) == (0.5, 0.0, 1.0)


def test_each_cut_is_a_number_between_two_grades():
    rule = CutPoints(Task((0, 1, 2)), np.array([0.25, 1.75]))
    first, second = numbers_of(rule)
    assert (first.name, first.fitted, first.plain) == ("cut between 0 and 1", 0.25, 0.5)
    assert first.rule_at(1.0).cuts.tolist() == [1.0, 1.75]
    assert first.rule_at(2.0).cuts.tolist() == [1.75, 2.0]  # in order
    assert second.tried[[0, -1]] == pytest.approx([0, 2])


def test_a_rule_without_numbers_has_none():
    assert numbers_of(Hard(Task((0, 1)))) == []
    assert numbers_of(None) == []
