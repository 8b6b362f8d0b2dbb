from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.predictions import Predictions
from pipeline.report.mistakes import half_of_mistakes, worst_classes
from pipeline.report.sections import mistakes
from tests.pipeline.report.contexts import made_context


def test_ids_truths_and_answers_stand_in_tables(shown, tmp_path):
    context = made_context(tmp_path, "multiclass")
    html = shown(mistakes.section, context)
    evaluation = context.evaluations["blend"]
    surest = evaluation.surest_mistakes(1)[0]
    assert f"<code>{context.validation.ids[surest]}</code>" in html
    unsure = context.submitted.probabilities.max(axis=1).argmin()
    assert f"<code>{context.competition.test.ids[unsure]}</code>" in html
    assert f"wrong on {60 - evaluation.right} of 60 validation images" in html


def test_the_fewest_classes_that_make_half_of_the_mistakes_are_named(tmp_path):
    context = made_context(tmp_path, "multiclass")
    worst = worst_classes(context.evaluations["blend"], context.class_names)
    names, share = half_of_mistakes(worst)
    missed = np.array([each.missed for each in worst])
    assert names == [each.name for each in worst[: len(names)]]
    assert share == pytest.approx(missed[: len(names)].sum() / missed.sum()) and share >= 0.5
    assert missed[: len(names) - 1].sum() < 0.5 * missed.sum()


def test_a_pair_is_shown_between_pictures_of_both_its_classes(tmp_path):
    evaluation = made_context(tmp_path, "multiclass").evaluations["blend"]
    pair = evaluation.worst_confusions(1)[0]
    rows = mistakes._pictures_of(pair, evaluation)
    kinds = [(evaluation.labels[row], evaluation.predicted_labels[row]) for row in rows if row is not None]
    wanted = [(pair.true, pair.true), (pair.true, pair.predicted), (pair.predicted, pair.predicted)]
    assert list(dict.fromkeys(kinds)) == wanted
    assert len(rows) == 3 * mistakes.OF_EACH


@pytest.mark.parametrize("kind", ["multilabel", "multioutput", "continuous"])
def test_other_tasks_have_no_classes_to_confuse(shown, tmp_path, kind):
    context = made_context(tmp_path, kind, metric="rmse" if kind == "continuous" else "log-loss", images=20)
    html = shown(mistakes.section, context)
    assert "Surest mistakes" in html and "Confused pairs" not in html


@pytest.mark.parametrize("classes", [1, 96])
def test_any_number_of_classes_has_a_section(shown, tmp_path, classes):
    context = made_context(tmp_path, "multiclass", classes=classes, images=40)
    html = shown(mistakes.section, context)
    assert ("No validation image was misclassified." in html) == (classes == 1)
    assert "Least sure test images" in html


def test_where_nothing_is_wrong_only_test_images_are_shown(shown, tmp_path):
    context = made_context(tmp_path, "multiclass", images=20)
    perfect = Predictions(context.validation.ids, np.eye(4)[context.validation.known_labels])
    html = shown(mistakes.section, replace(context, validated=dict.fromkeys(context.runs, perfect)))
    assert "Surest mistakes" not in html and "Least sure test images" in html
