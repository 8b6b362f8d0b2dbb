"""Decisions: the likeliest class of each test image, joined by id, and how often each class is predicted."""

import numpy as np
import pytest

from competition.errors import UserError
from pipeline.data.predictions import Predictions
from pipeline.ensemble.decisions import class_counts, decide
from tests.contest import IDS, contest


def answers(predicted_labels: list[int], classes: int = 3, ids: tuple[str, ...] = IDS) -> Predictions:
    return Predictions(ids, np.eye(classes)[predicted_labels] * 0.8 + 0.2 / classes)


def test_the_likeliest_class_of_each_test_image_is_given():
    assert decide(contest(), answers([1, 0, 1, 2])) == [("3",), ("0",), ("3",), ("10",)]
    assert decide(contest(classes=("a", "b", "c")), answers([1, 0, 1, 2])) == [("b",), ("a",), ("b",), ("c",)]


def test_labels_are_in_the_order_of_the_sample_whatever_the_order_of_predictions():
    competition = contest(order=("d.png", "c.png", "b.png", "00017.png"))
    predictions = answers([0, 1, 2, 0], ids=("b.png", "c.png", "d.png", "00017.png"))
    assert decide(competition, predictions) == [("10",), ("3",), ("0",), ("0",)]


def test_an_image_without_a_prediction_is_named():
    with pytest.raises(UserError, match=r"no prediction for 1 of 4 ids: d\.png"):
        decide(contest(), answers([0, 0, 0], ids=IDS[:3]))


def test_predictions_of_other_classes_are_refused():
    with pytest.raises(UserError, match="the predictions have 5 classes, but contest has 3"):
        decide(contest(), answers([0, 0, 0, 4], classes=5))


def test_class_counts_stand_beside_the_shares_of_train():
    assert class_counts(contest(), answers([1, 0, 1, 1])).splitlines() == [
        "Class  predicted   share  in train",
        "3              3  75.00%    28.57%",
        "0              1  25.00%    57.14%",
        "10             0   0.00%    14.29%",
    ]


def test_a_class_with_control_characters_keeps_to_its_line():
    table = class_counts(contest(classes=("ant", "bee\n\x1b[31m", "cat")), answers([1, 0, 1, 1]))
    assert "\nbee\\n\\x1b[31m          3" in table and "\x1b" not in table


def test_of_many_classes_the_counts_show_the_top_and_the_bottom():
    competition = contest(classes=tuple(range(100, 196)))
    lines = class_counts(competition, answers([95, 95, 95, 7], classes=96)).splitlines()
    assert len(lines) == 22
    assert [line.split()[0] for line in lines[1:3]] == ["195", "107"]
    assert lines[11] == "(76 more)"
    assert lines[-1].split()[:2] == ["194", "0"]
