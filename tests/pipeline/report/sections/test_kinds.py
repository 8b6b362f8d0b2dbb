"""The views that fit one kind of task: labels, targets, numbers, grades and rankings."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from competition.metrics import find_metric
from pipeline.report.sections import grades, labels, numbers, rankings, targets
from tests.pipeline.report.contexts import made_context

SECTIONS = {"multilabel": labels, "multioutput": targets, "continuous": numbers}


def cells(html: str) -> list[list[str]]:
    """The text of the cells of all rows."""
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", row)] for row in rows]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "multioutput", "continuous"])
def test_a_section_about_another_kind_of_task_is_left_out(shown, tmp_path, kind):
    context = made_context(tmp_path, kind, metric="rmse" if kind == "continuous" else "log-loss", images=20)
    for other, module in SECTIONS.items():
        assert bool(shown(module.section, context)) == (other == kind)
    assert shown(grades.section, context) == shown(rankings.section, context) == ""


def test_each_label_has_its_matrix_and_the_worst_comes_first(shown, tmp_path):
    context = made_context(tmp_path, "multilabel", classes=3, metric="f1-samples")
    truth = context.validation.known_labels
    output = context.decision.decided(context.evaluations["blend"].probabilities)
    said = output.reshape(len(truth), 3, 2)[:, :, 1] > 0.5
    f1 = f1_score(truth, said, average=None)
    worst = int(f1.argmin())
    table = cells(shown(labels.section, context))[1:]
    assert [row[7] for row in table] == [f"{value:.3f}" for value in np.sort(f1)]
    found, missed = (said & (truth == 1))[:, worst].sum(), (~said & (truth == 1))[:, worst].sum()
    assert table[0][:5] == [
        f"name {worst}",
        str(truth[:, worst].sum()),
        str(found),
        str(missed),
        str((said & (truth == 0))[:, worst].sum()),
    ]


def test_of_many_labels_the_worst_are_drawn_and_all_are_in_the_table(shown, tmp_path):
    context = made_context(tmp_path, "multilabel", classes=40, metric="f1-macro", images=30)
    html = shown(labels.section, context)
    assert "the 12 labels with the lowest F1" in html
    assert len(cells(html)) == 1 + 40


def test_the_target_with_the_lowest_accuracy_comes_first(shown, tmp_path):
    context = made_context(tmp_path, "multioutput", classes=3)
    results = targets.target_results(context)
    table = cells(shown(targets.section, context))[1:]
    assert [row[1] for row in table] == [
        f"{each.accuracy:.3f}" for each in sorted(results, key=lambda each: each.accuracy)
    ]


def test_numbers_are_measured_one_by_one(shown, tmp_path):
    context = made_context(tmp_path, "continuous", classes=2, metric="rmse")
    results = {each.name: each for each in numbers.number_results(context)}
    truth = context.validation.known_labels[:, 1]
    off = context.competition.task.numbers(context.evaluations["blend"].probabilities)[:, 1] - truth
    each = results["name 1"]
    assert (each.mae, each.bias) == (pytest.approx(np.abs(off).mean()), pytest.approx(off.mean()))
    assert each.explained == pytest.approx(1 - (off**2).mean() / truth.var())
    assert len(cells(shown(numbers.section, context))) == 1 + 2


def test_the_spread_of_an_honest_model_covers_what_it_says(tmp_path):
    context = made_context(tmp_path, "continuous", classes=1, metric="rmse", images=2000, noise=2.0)
    task, generator = context.competition.task, np.random.default_rng(1)
    output = context.evaluations["blend"].probabilities
    chosen = [generator.choice(task.choices, p=row / row.sum()) for row in output.astype(np.float64)]
    truths = task.true_numbers(np.array(chosen)[:, None])
    covered = numbers._covered(task, output, truths)[0]
    assert covered == pytest.approx(numbers.NOMINAL, abs=0.06)


def test_a_constant_number_has_no_explained_share(shown, tmp_path):
    context = made_context(tmp_path, "continuous", classes=1, metric="mae", images=20)
    constant = replace(context.validation, labels=np.full((20, 1), 5.0))
    html = shown(numbers.section, replace(context, validation=constant))
    assert "–" in html


def test_grades_are_shown_as_submitted_and_by_their_steps(shown, tmp_path):
    context = made_context(tmp_path, "multiclass", classes=4, metric="kappa")
    truth = context.validation.known_labels
    said = context.decision.decided(context.evaluations["blend"].probabilities).argmax(axis=1)
    table = cells(shown(grades.section, context))
    right = next(row for row in table if row[0] == "right")
    assert right[1] == str((truth == said).sum())
    first = next(row for row in table if row[0] == "0")
    assert first[1:3] == [str((truth == 0).sum()), f"{(said[truth == 0] == 0).mean():.3f}"]


def test_hits_grow_with_the_answers_that_are_looked_at(tmp_path):
    context = made_context(tmp_path, "multiclass", classes=12, metric="map@5")
    output, truth = context.evaluations["blend"].probabilities, context.validation.known_labels
    hits = rankings.hits_at(output, context)
    assert hits[0] == pytest.approx((output.argmax(axis=1) == truth).mean())
    assert hits[4] == pytest.approx(find_metric("top-5")(output, truth))
    assert len(hits) == 10 and (np.diff(hits) >= 0).all()


@pytest.mark.parametrize(("kind", "metric"), [("multiclass", "map@5"), ("multilabel", "map@3")])
def test_rankings_of_few_labels_can_be_drawn(shown, tmp_path, kind, metric):
    context = made_context(tmp_path, kind, classes=2, metric=metric, images=20)
    html = shown(rankings.section, context)
    assert "k = 2" in html and "k = 3" not in html


@pytest.mark.parametrize(
    ("kind", "classes", "metric"), [("multilabel", 1, "f1-samples"), ("multioutput", 1, "accuracy")]
)
def test_a_single_class_has_a_section_too(shown, tmp_path, kind, classes, metric):
    context = made_context(tmp_path, kind, classes=classes, metric=metric, images=20)
    assert "<table>" in shown(SECTIONS[kind].section, context)
