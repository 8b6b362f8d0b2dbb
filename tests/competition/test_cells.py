"""Cells: what is decided of a model's output, how it is spelled, and that it is read back as it was decided."""

import numpy as np
import pytest

from competition.cells import cells_of, spelled
from competition.form import Form, FormKind
from competition.task import Task

CLASSES, BINARY = Task(("ant", "bee", "cow_dung")), Task((0, 1))
LABELS, PAIRS = Task((3, 10, 22), "multilabel"), Task((0, 1, 2), "multioutput", ("root", "vowel"))
NUMBERS = Task(("x", "y"), "continuous", intervals=((0.0, 10.0), (-1.0, 1.0)))
OF_CLASSES = np.array([[0.7, 0.1, 0.2], [0.2, 0.3, 0.5]], np.float32)
OF_LABELS = np.array([[0.9, 0.1, 0.2, 0.8, 0.3, 0.7], [0.6, 0.4, 0.7, 0.3, 0.8, 0.2]], np.float32)


def form(kind: FormKind, **more) -> Form:
    return Form(kind, ("id", "value"), ("a", "b"), ("a", "b"), **more)


def written(how: Form, task: Task, output: np.ndarray) -> list[tuple[str, ...]]:
    cells = cells_of(how, task)
    return list(zip(*map(spelled, cells.columns(cells.decide(output))), strict=True))


def test_a_class_is_spelled_as_the_sample_does():
    assert written(form("class"), CLASSES, OF_CLASSES) == [("ant",), ("cow_dung",)]
    as_floats = form("class", spelled={"0": "0.0", "1": "1.0"})
    assert written(as_floats, BINARY, np.array([[0.4, 0.6], [0.5, 0.5]])) == [("1.0",), ("0.0",)]


def test_a_probability_is_that_of_the_second_class():
    assert written(form("probability"), BINARY, np.array([[0.4, 0.6], [0.875, 0.125]])) == [("0.6",), ("0.125",)]


def test_columns_come_in_the_order_of_the_header():
    wide = form("columns", order=(2, 0, 1))
    assert written(wide, CLASSES, np.array([[0.5, 0.25, 0.25]])) == [("0.25", "0.5", "0.25")]
    assert written(form("columns"), LABELS, OF_LABELS[:1].astype(np.float64).round(1)) == [("0.1", "0.8", "0.7")]
    assert written(form("columns"), NUMBERS, np.array([[0.5, 0.5, 1, 0]])) == [("5", "-1")]


def test_probabilities_keep_nine_digits_so_that_rows_still_sum_to_one():
    thirds = np.full((1, 3), 1 / 3, np.float32)
    (row,) = written(form("columns"), CLASSES, thirds)
    assert row[0] == "0.333333343"
    assert [np.float32(cell) for cell in row] == thirds[0].tolist()


def test_labels_are_joined_and_none_is_a_blank_cell():
    assert written(form("labels"), LABELS, OF_LABELS) == [("10 22",), ("",)]
    assert written(form("labels", separator=","), LABELS, OF_LABELS[:1]) == [("10,22",)]
    assert written(form("labels"), CLASSES, OF_CLASSES) == [("ant",), ("cow_dung",)]


def test_rankings_begin_with_the_likeliest():
    assert written(form("ranking", most=2), BINARY, np.array([[0.4, 0.6]])) == [("1 0",)]
    assert written(form("ranking", most=2), LABELS, OF_LABELS) == [("10 22",), ("3 10",)]


def test_a_confidence_stands_behind_its_label():
    assert written(form("confidence"), BINARY, np.array([[0.25, 0.75]])) == [("1 0.75",)]


def test_a_number_is_the_expected_one():
    one = Task(("x",), "continuous", intervals=((0.0, 10.0),))
    assert written(form("number"), one, np.array([[0.5, 0.5], [1, 0]])) == [("5",), ("0",)]
    assert written(form("number"), Task((1, 2, 4)), np.array([[0.5, 0, 0.5]])) == [("2.5",)]


def test_in_long_form_a_row_has_its_own_target():
    rows = np.array([[0.9, 0.1, 0, 0.2, 0.3, 0.5]]).repeat(2, axis=0)
    assert written(form("class", row_targets=np.array([1, 0])), PAIRS, rows) == [("2",), ("0",)]
    probable = form("probability", row_targets=np.array([2, 0]))
    assert written(probable, LABELS, OF_LABELS[[0, 0]].astype(np.float64).round(1)) == [("0.7",), ("0.1",)]
    yes_or_no = form("class", row_targets=np.array([0, 1]))
    assert written(yes_or_no, LABELS, OF_LABELS[[0, 0]]) == [("0",), ("1",)]


def test_a_row_may_have_the_probabilities_of_its_target():
    wide = form("columns", order=(2, 0, 1), row_targets=np.array([1, 0]))
    rows = np.array([[0.9, 0.1, 0, 0.2, 0.3, 0.5]]).repeat(2, axis=0)
    assert written(wide, PAIRS, rows) == [("0.5", "0.2", "0.3"), ("0", "0.9", "0.1")]
    assert cells_of(wide, PAIRS).read([["0.5", "0"], ["0.2", "0.9"], ["0.3", "0.1"]]).tolist() == [
        [0.2, 0.3, 0.5],
        [0.9, 0.1, 0],
    ]
    assert cells_of(wide, PAIRS).output(cells_of(wide, PAIRS).decide(rows)).tolist() == rows.tolist()


def test_several_targets_may_have_a_column_each():
    assert written(form("class"), PAIRS, np.array([[0.9, 0.1, 0, 0.2, 0.3, 0.5]])) == [("0", "2")]


@pytest.mark.parametrize(
    ("how", "task", "output"),
    [
        (form("class"), CLASSES, OF_CLASSES),
        (form("class"), PAIRS, np.array([[0.9, 0.1, 0, 0.2, 0.3, 0.5]])),
        (form("probability"), BINARY, np.array([[0.25, 0.75]])),
        (form("columns", order=(2, 0, 1)), CLASSES, OF_CLASSES),
        (form("columns"), LABELS, OF_LABELS),
        (form("labels"), LABELS, OF_LABELS),
        (form("ranking", most=2), CLASSES, np.array([[0.5, 0.1, 0.4]])),
        (form("confidence"), BINARY, np.array([[0.25, 0.75]])),
    ],
    ids=lambda value: value.kind if isinstance(value, Form) else "",
)
def test_what_is_read_back_is_what_was_decided(how, task, output):
    cells = cells_of(how, task)
    decided = cells.decide(output)
    read = cells.read([spelled(column) for column in cells.columns(decided)])
    np.testing.assert_allclose(read, decided, atol=1e-9)
    np.testing.assert_allclose(cells.decide(cells.output(read)), decided, atol=1e-6)
