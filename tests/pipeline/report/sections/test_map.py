import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.report import plane
from pipeline.report.map_colours import by_class, by_mistake, by_split, wrong_rows
from pipeline.report.plane import sample
from pipeline.report.sections import map as map_section
from tests.pipeline.report.contexts import made_context

METRICS = {"multiclass": "accuracy", "multilabel": "f1-samples", "multioutput": "accuracy", "continuous": "rmse"}


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    """The map of a few images, by their pixels and two components."""
    monkeypatch.setattr(plane, "at_hand", lambda *_: False)
    monkeypatch.setattr(
        map_section, "in_plane", lambda parts: (np.random.default_rng(0).random((len(parts), 2)), "PCA")
    )
    monkeypatch.setattr(map_section, "FEWEST", 10)


@pytest.mark.parametrize("kind", METRICS)
def test_each_image_is_a_point_with_a_colour_for_each_question(shown, tmp_path, kind):
    context = made_context(tmp_path, kind, metric=METRICS[kind], images=10)
    html = shown(map_section.section, context)
    points = re.findall(r'<i class="(.*?)" style="(.*?)" data-told="(.*?)"></i>', html)
    assert len(points) == 30
    splits = [marks.split()[0] for marks, _, _ in points]
    assert {name: splits.count(name) for name in ("tr", "va", "te")} == {"tr": 10, "va": 10, "te": 10}
    assert all(re.search(r"\ba\d+ b\d c\d$", marks) for marks, _, _ in points)
    ids = {told.split(",")[0] for _, _, told in points}
    assert ids == {*context.train.ids, *context.validation.ids, *context.competition.test.ids}
    for letter in "abc":
        assert f"#map-{letter}:checked ~ .plane .{letter}0" in html


def test_a_wrong_point_says_what_it_was_taken_for(shown, tmp_path):
    context = made_context(tmp_path, "multiclass", images=10, noise=4.0)
    evaluation = context.evaluations["blend"]
    wrong = evaluation.surest_mistakes(1)[0]
    names = (context.drawn_names[evaluation.labels[wrong]], context.drawn_names[evaluation.predicted_labels[wrong]])
    assert f"{context.validation.ids[wrong]}, validation: {names[0]} → {names[1]}" in shown(
        map_section.section, context
    )


def test_few_images_have_no_map(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(map_section, "FEWEST", 31)
    assert shown(map_section.section, made_context(tmp_path, "multiclass", images=10)) == ""


def test_of_many_classes_those_with_most_mistakes_have_colours(tmp_path):
    context = made_context(tmp_path, "multiclass", classes=30, images=60)
    colouring = by_class(sample(context), context)
    evaluation = context.evaluations["blend"]
    missed = np.bincount(
        evaluation.labels[evaluation.predicted_labels != evaluation.labels], minlength=evaluation.classes
    )
    assert colouring.labels[0] == context.drawn_names[missed.argmax()]
    assert len(colouring.colours) == 10 and colouring.labels[-1] == "21 others"
    assert sum(colouring.counts) == 180


def test_the_colour_of_a_mistake_is_that_of_validation_images_alone(tmp_path):
    context = made_context(tmp_path, "multilabel", metric="f1-samples", images=20)
    found = sample(context)
    colouring = by_mistake(found, context)
    assert colouring.counts == [wrong_rows(context).sum(), (~wrong_rows(context)).sum(), 40]
    assert by_split(found).counts == [20, 20, 20]


def test_numbers_are_coloured_by_fifths(tmp_path):
    context = made_context(tmp_path, "continuous", classes=1, metric="rmse", images=20)
    assert by_class(sample(context), context).counts == pytest.approx([12] * 5, abs=1)


def test_where_folds_validate_all_images_none_is_only_trained_on(shown, tmp_path):
    context = made_context(tmp_path, "multiclass", images=20)
    nothing = context.train.take(np.array([], int))
    html = shown(map_section.section, replace(context, train=nothing))
    assert html.count('<i class="va') == html.count('<i class="te') == 20 and '<i class="tr' not in html


@pytest.mark.parametrize(("apart", "told"), [(0.0, "look like"), (30.0, "look unlike")])
def test_test_images_that_lie_apart_are_told(tmp_path, apart, told):
    context = made_context(tmp_path, "multiclass", images=20)
    found = sample(context)
    parts = np.random.default_rng(0).normal(size=(60, 3)) + apart * (found.splits == "test")[:, None]
    assert told in map_section._mixed(found, parts)


def test_images_among_their_own_class_are_counted(tmp_path):
    context = made_context(tmp_path, "multiclass", images=60)
    found = sample(context)
    classes = by_class(found, context)
    parts = 100 * np.array([context.drawn_names.index(name) for name in classes.names])[:, None] + np.zeros((1, 2))
    parts = parts + np.random.default_rng(0).normal(size=parts.shape)
    assert map_section._alike(found, parts, classes, context).startswith("100 % of the labelled images")


def test_with_few_images_of_each_class_nothing_is_said_of_their_neighbours(tmp_path):
    context = made_context(tmp_path, "multiclass", classes=30, images=60)
    found = sample(context)
    parts = np.random.default_rng(0).normal(size=(len(found.rows), 2))
    assert map_section._alike(found, parts, by_class(found, context), context) == ""
