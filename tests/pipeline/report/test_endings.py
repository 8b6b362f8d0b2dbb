from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.models.neural.time_budget import Segment
from pipeline.report.context import ReportContext
from pipeline.report.endings import endings, steps_per_epoch, what_ended
from pipeline.report.run_record import RunRecord
from pipeline.training.planning import Fit, ModelPlan
from pipeline.training.runs import Run
from tests.pipeline.report.contexts import made_context, made_run


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return made_context(tmp_path_factory.mktemp("ended"), "multiclass")


@pytest.fixture
def network(context) -> Run:
    """A run of sprint within a budget of 90 seconds."""
    output, labels = context.validated["one"].probabilities, context.validation.known_labels
    run = made_run("network", "sprint", context.competition.task, output, labels, context.metric)
    return replace(run, plan=replace(run.plan, seconds=90.0))


def segments(count: int, batches: int, **changes) -> tuple[Segment, ...]:
    cut = np.linspace(0, 1, count + 1).tolist()
    return tuple(Segment(16, batches, start, end, **changes) for start, end in pairwise(cut))


def test_the_time_that_ended_a_training_is_told_with_its_epochs(network):
    ended = what_ended(network, segments(4, batches=3), steps=6)
    assert ended == f"its share of the time budget, 90 s, after 2.0 of at most {network.recipe.epochs} epochs"


def test_of_other_images_the_epochs_are_not_known(network):
    assert what_ended(network, segments(4, 3), steps=None) == "its share of the time budget, 90 s"


def test_all_epochs_can_be_done_before_the_time_is_over(network):
    ended = what_ended(network, segments(network.recipe.epochs, batches=6), steps=6)
    assert ended == f"all {network.recipe.epochs} epochs of its recipe, before the time budget did"


def test_without_a_budget_all_epochs_are_trained(network):
    plan = ModelPlan(network.recipe.model_copy(update={"epochs": 3}))
    assert what_ended(replace(network, plan=plan), segments(3, 6), steps=6) == "all 3 epochs"


def test_halved_batches_and_a_part_that_was_cut_short_are_told(network):
    slow = segments(2, batches=3, parts=2, planned=5)
    ended = what_ended(network, (*slow[:1], replace(slow[1], planned=None)), steps=6)
    assert ended.endswith(
        "; memory ran out, and batches were split into 2; the machine slowed down, and a part was cut short"
    )


def test_a_training_that_diverged_ended_early(network):
    assert "not finite after 50% of the training" in what_ended(network, segments(2, 3)[:1], steps=6)


def test_an_epoch_has_as_many_steps_as_use_each_image_once(context, network):
    runs = context.runs | {"network": network}
    validated = context.validated | {"network": context.validated["one"]}
    trained = replace(context, runs=runs, validated=validated)
    size = min(network.recipe.batch_size, max(8, 60 // 8))
    assert steps_per_epoch("network", trained) == 60 // size
    limited = replace(trained, runs=runs | {"network": replace(network, options={"limit": "20"})})
    assert steps_per_epoch("network", limited) is None


def trained_with(context, network: Run, scores: list[float], count: int) -> ReportContext:
    """The context with the network, its training of so many segments, and its scores after each of them."""
    history = {"epoch": np.arange(1, count + 1), "validation_score": np.array(scores)}
    network = replace(network, plan=replace(network.plan, fits=(Fit(None, segments(count, 6)),)))
    trained = replace(
        context,
        runs=context.runs | {"network": network},
        validated=context.validated | {"network": context.validated["one"]},
    )
    trained.__dict__["records"] = {"network": RunRecord("", None, [history], [])}
    return trained


def test_the_best_validation_and_what_the_last_fifth_gained(context, network):
    scores = [0.1, 0.2, 0.3, 0.4, 0.4, 0.5, 0.5, 0.4, 0.6, 0.55]
    trained = trained_with(context, network, scores, 10)
    (found,) = endings("network", trained)
    assert (found.name, found.best, found.validations, found.best_score) == ("network", 9, 10, 0.6)
    assert found.late_gain == pytest.approx(0.1)
    assert found.epochs == 10 * 6 / steps_per_epoch("network", trained)


def test_where_less_is_better_the_least_is_the_best(context, network):
    network = replace(network, score=replace(network.score, metric="log-loss"))
    (found,) = endings("network", trained_with(context, network, [2.0, 1.0, 0.9, 1.5, 0.7], 5))
    assert (found.best, found.best_score) == (5, 0.7) and found.late_gain == pytest.approx(0.2)


def test_of_a_single_validation_nothing_is_gained_late(context, network):
    (found,) = endings("network", trained_with(context, network, [0.5], 1))
    assert (found.best, found.late_gain) == (1, 0.0)
