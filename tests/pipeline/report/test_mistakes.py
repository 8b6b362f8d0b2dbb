from dataclasses import replace

import numpy as np
import pytest

from competition.task import Task
from pipeline.data.predictions import Predictions
from pipeline.report.evaluation import Evaluation
from pipeline.report.mistakes import WorstClass, least_sure, shown_id, spread, surest_mistakes, worst_classes
from tests.pipeline.report.contexts import made_context


def answered(labels: list[int], said: list[int], classes: int = 3) -> Evaluation:
    return Evaluation(np.eye(classes)[said], np.array(labels))


def test_the_classes_with_most_missed_images_come_first():
    worst = worst_classes(answered([0, 0, 0, 1, 2], [1, 1, 2, 1, 0]), ["ant", "bee", "cat"])
    assert worst == [
        WorstClass("ant", images=3, missed=3, taken=1, instead="bee", instead_count=2),
        WorstClass("cat", images=1, missed=1, taken=1, instead="ant", instead_count=1),
        WorstClass("bee", images=1, missed=0, taken=2, instead="", instead_count=0),
    ]


def test_a_class_without_mistakes_is_not_among_the_worst():
    assert worst_classes(answered([0, 1], [0, 1]), ["ant", "bee", "cat"]) == []


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """A context of each kind of task."""
    kinds = ("multiclass", "multilabel", "multioutput", "continuous")
    metrics = ("accuracy", "f1-samples", "accuracy", "rmse")
    return {
        kind: made_context(tmp_path_factory.mktemp(kind), kind, classes=3, metric=metric)
        for kind, metric in zip(kinds, metrics, strict=True)
    }


def test_the_surest_wrong_answers_come_first(contexts):
    context = contexts["multiclass"]
    evaluation = context.evaluations["blend"]
    wrong = np.flatnonzero(evaluation.predicted_labels != evaluation.labels)
    sure = evaluation.probabilities[wrong].max(axis=1)
    found = surest_mistakes(context, len(context.validation))
    assert sorted(each.row for each in found) == wrong.tolist()
    assert found[0].note == f"{sure.max():.0%}"
    first = found[0].row
    names = context.drawn_names
    assert found[0].truth == names[evaluation.labels[first]]
    assert found[0].said == names[evaluation.predicted_labels[first]]


def test_a_wrong_label_is_one_that_is_missed_or_said_for_nothing(contexts):
    context = contexts["multilabel"]
    task, truth = context.competition.task, context.validation.known_labels
    decided = task.scores(context.decision.decided(context.evaluations["blend"].probabilities)) > 0.5
    found = surest_mistakes(context, len(context.validation))
    assert {each.row for each in found} == set(np.flatnonzero((decided != truth).any(axis=1)).tolist())
    for each in found:
        there = truth[each.row, each.target] == 1
        assert decided[each.row, each.target] != there
        assert each.truth == f"{'' if there else 'not '}name {each.target}"


def test_of_several_targets_the_wrong_one_is_named(contexts):
    context = contexts["multioutput"]
    for each in surest_mistakes(context, 5):
        assert each.truth.startswith(context.competition.task.targets[each.target])
        assert each.choices[1] == context.validation.known_labels[each.row, each.target] != each.choices[0]


def test_numbers_are_furthest_off_in_units_of_how_much_they_vary(contexts):
    context = contexts["continuous"]
    task, truth = context.competition.task, context.validation.known_labels
    off = np.abs(task.numbers(context.evaluations["blend"].probabilities) - truth) / truth.std(axis=0)
    found = surest_mistakes(context, 3)
    assert [each.row for each in found] == np.argsort(-off.max(axis=1))[:3].tolist()
    assert found[0].truth == f"{truth[found[0].row, found[0].target]:.4g}"
    assert found[0].note == f"name {found[0].target}"


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "multioutput"])
def test_the_least_sure_test_images_are_those_with_most_errors_to_expect(contexts, kind):
    context = contexts[kind]
    shares = context.competition.task.by_target(context.submitted.probabilities)
    expected = (1 - shares.max(axis=2)).sum(axis=1)
    rows = [each.row for each in least_sure(context, 4)]
    assert expected[rows] == pytest.approx(np.sort(expected)[::-1][:4])


def test_the_widest_numbers_are_the_least_sure(contexts):
    context = contexts["continuous"]
    flat = context.submitted.probabilities.copy()
    flat[7] = 1 / context.competition.task.choices
    context = replace(context, submitted=Predictions(context.competition.test.ids, flat))
    assert least_sure(context, 1)[0].row == 7


def test_the_spread_of_a_number_is_its_standard_deviation():
    task = Task(("x",), "continuous", intervals=((0.0, 4.0),))
    assert spread(task, np.array([[0.5, 0.5], [1.0, 0.0]])).tolist() == [[2.0], [0.0]]


def test_where_nothing_is_wrong_there_is_no_mistake(contexts):
    context = contexts["multiclass"]
    perfect = Predictions(context.validation.ids, np.eye(3)[context.validation.known_labels])
    context = replace(context, validated=dict.fromkeys(context.runs, perfect))
    assert surest_mistakes(context, 5) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a"),
        ("b.c.jpeg", "b.c"),
        ("00017", "00017"),
        ("x.1234", "x.1234"),
        ("0123456789abcdef.jpg", "01234…bcdef"),
    ],
)
def test_ids_are_shown_without_the_suffix_of_an_image(name, shown):
    assert shown_id(name) == shown
