from dataclasses import replace

import pytest

from pipeline.ensemble.decisions import plain_decision
from pipeline.ensemble.rules import Steps
from pipeline.report.sections import decision
from tests.pipeline.report.contexts import made_context

FITTED = [
    ("multilabel", "f1-samples", "threshold", 1),
    ("multilabel", "f1-macro", "threshold of name 0", 4),
    ("multiclass", "kappa", "cut between 0 and 1", 3),
    ("multiclass", "f1-macro", "exponent", 1),
]


@pytest.mark.parametrize(("kind", "metric", "name", "count"), FITTED)
def test_each_fitted_number_is_shown_with_the_score_at_it(shown, tmp_path, kind, metric, name, count):
    context = made_context(tmp_path, kind, metric=metric)
    html = shown(decision.section, context)
    assert f"<bdi>{name}</bdi>" in html and html.count("<bdi>") == count
    assert context.decision.description[1:] in html
    assert ("is not used" in html) == context.decision.description.startswith("not used")


def test_the_score_at_the_fitted_numbers_is_that_of_the_rule(tmp_path):
    context = made_context(tmp_path, "multilabel", metric="f1-samples")
    (number,) = decision.numbers_of(context.decision.fitted)
    fitted, *others = decision.scores_at(number, [number.fitted, *number.tried], context)
    output, labels = context.evaluations["blend"].probabilities, context.validation.known_labels
    rule = Steps((context.decision.fitted, context.decision.last))
    assert fitted == pytest.approx(context.metric.at_half(rule(output), labels))
    assert max(others) >= fitted


def test_a_rule_without_numbers_is_told_in_words(shown, tmp_path):
    html = shown(decision.section, made_context(tmp_path, "continuous", metric="mae"))
    assert "edian of each number" in html and "<figure>" not in html


def test_where_nothing_was_fitted_nothing_is_shown(shown, tmp_path):
    context = made_context(tmp_path, "multiclass", images=20)
    assert shown(decision.section, context) == ""
    assert shown(decision.section, replace(context, decision=plain_decision())) == ""
