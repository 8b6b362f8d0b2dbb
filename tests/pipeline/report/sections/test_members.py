from dataclasses import replace

import pytest

from pipeline.data.predictions import Predictions
from pipeline.report.sections import members
from tests.pipeline.report.contexts import made_context


@pytest.fixture
def context(tmp_path):
    return made_context(tmp_path, "multiclass")


def test_models_are_compared_with_each_other(shown, context):
    context = replace(context, blend=replace(context.blend, powers={"one": 0.5, "two": 0.5}))
    html = shown(members.section, context)
    assert "The closest pair is" in html and "What each member adds" in html and "Cost against score" in html
    assert "Fold by fold" not in html


def test_each_fold_is_measured_by_itself(shown, context):
    order = [*range(0, 60, 2), *range(1, 60, 2)]
    folded = {
        name: Predictions(tuple(each.ids[row] for row in order), each.probabilities[order])
        for name, each in context.validated.items()
    }
    context = replace(context, validated=folded)
    output, labels = context.evaluations["one"].probabilities, context.validation.known_labels
    parts = [context.metric(output[start::2], labels[start::2]) for start in (0, 1)]
    assert members.fold_scores(context)["one"] == pytest.approx(parts)
    assert "Fold by fold" in shown(members.section, context)


def test_a_single_model_without_folds_has_nothing_to_be_compared_with(shown, context):
    single = {"runs": {"one": context.runs["one"]}, "validated": {"one": context.validated["one"]}}
    blend = replace(context.blend, powers={"one": 1.0}, gains={"one": 0.0})
    assert shown(members.section, replace(context, blend=blend, **single)) == ""
