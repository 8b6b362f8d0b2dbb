from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.predictions import Predictions
from pipeline.report.agreement import agreement, closest, contributions
from pipeline.report.fold_rows import fold_rows
from tests.pipeline.report.contexts import made_context


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return made_context(tmp_path_factory.mktemp("compared"), "multiclass", noise=3.0)


def test_models_agree_on_the_images_that_they_answer_alike(context):
    names, shares = agreement(context)
    answers = [context.evaluations[name].predicted_labels for name in names]
    assert shares[0, 1] == shares[1, 0] == pytest.approx((answers[0] == answers[1]).mean())
    assert np.diag(shares).tolist() == [1, 1]
    assert closest(names, shares) == (names[0], names[1], shares[0, 1])
    assert closest(names[:1], shares[:1, :1]) is None


def test_numbers_agree_as_far_as_they_correlate(tmp_path):
    context = made_context(tmp_path, "continuous", classes=1, metric="rmse")
    names, shares = agreement(context)
    numbers = [context.competition.task.numbers(context.evaluations[name].probabilities)[:, 0] for name in names]
    assert shares[0, 1] == pytest.approx(np.corrcoef(*numbers)[0, 1])


def test_a_member_is_worth_what_the_blend_loses_without_it(context):
    blend = replace(context.blend, powers={"one": 0.75, "two": 0.25})
    both = replace(context, blend=blend)
    found = {each.name: each for each in contributions(both)}
    alone = context.metric(context.validated["two"].probabilities, context.validation.known_labels)
    whole = context.metric(both.evaluations["blend"].probabilities, context.validation.known_labels)
    assert found["one"].without == pytest.approx(alone)
    assert found["one"].lost == pytest.approx(whole - alone)


def test_a_single_member_has_nothing_to_be_compared_with(context):
    assert contributions(replace(context, blend=replace(context.blend, powers={"one": 1.0}))) == []


def test_without_folds_all_images_are_validated_at_once(context):
    (rows,) = fold_rows(context, "one")
    assert rows.tolist() == list(range(len(context.validation)))


def test_folds_end_where_the_order_of_the_images_goes_back(context):
    order = [*range(0, 60, 2), *range(1, 60, 2)]
    validated = context.validated["one"]
    folded = Predictions(tuple(validated.ids[row] for row in order), validated.probabilities[order])
    folds = fold_rows(replace(context, validated=context.validated | {"one": folded}), "one")
    assert [fold.tolist() for fold in folds] == [order[:30], order[30:]]
