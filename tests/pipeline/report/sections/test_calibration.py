from dataclasses import replace

import pytest

from pipeline.report.sections import calibration
from tests.pipeline.report.contexts import made_context


@pytest.fixture
def context(tmp_path):
    return made_context(tmp_path, "multiclass", images=200)


def test_the_error_is_told_before_and_after_the_temperature(shown, context):
    context = replace(context, blend=replace(context.blend, powers={"one": 0.25, "two": 0.25}))
    measured = calibration.reliabilities(context)
    assert list(measured)[:2] == ["blend", calibration.UNTEMPERED]
    assert calibration.temperature(context) == 2
    before, after = measured[calibration.UNTEMPERED].error, measured["blend"].error
    assert before != after
    assert "temperature of 2, fitted on these images" in shown(calibration.section, context)
    assert f"goes from {before:.3f} to {after:.3f}" in shown(calibration.section, context)


def test_a_single_model_has_no_temperature(shown, context):
    context = replace(context, blend=replace(context.blend, powers={"one": 1.0}))
    html = shown(calibration.section, context)
    assert "is a single model" in html and calibration.UNTEMPERED not in html


@pytest.mark.parametrize(("kind", "classes"), [("multilabel", 1), ("multioutput", 3), ("multiclass", 1)])
def test_other_answers_have_a_calibration_too(shown, tmp_path, kind, classes):
    context = made_context(tmp_path, kind, classes=classes, images=20)
    assert "expected calibration error" in shown(calibration.section, context)


def test_numbers_have_theirs_elsewhere(shown, tmp_path):
    assert shown(calibration.section, made_context(tmp_path, "continuous", metric="rmse", images=20)) == ""
