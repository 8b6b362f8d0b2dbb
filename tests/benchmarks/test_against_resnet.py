"""Sprint against ResNet-18: when a target is reached, what is said of it, and one run of both sides."""

import re
import time
from functools import partial

import pytest

from benchmarks import against_resnet
from benchmarks.against_resnet import Evaluation, Stopwatch, check_reached, validation_accuracies, verdict, watch
from competition.errors import UserError
from pipeline.commands import run_main
from tests.commands import call

CURVE = [Evaluation(60.0, 0.7), Evaluation(120.0, 0.95), Evaluation(180.0, 0.9), Evaluation(240.0, 0.97)]


@pytest.mark.parametrize(
    ("target", "limit", "seconds"),
    [(0.7, 1e9, 60.0), (0.95, 1e9, 120.0), (0.96, 1e9, 240.0), (0.96, 120.0, 120.0), (0.96, 121.0, 180.0)],
)
def test_the_first_evaluation_at_the_target_or_past_the_limit_ends_the_watch(target, limit, seconds):
    evaluations = iter(CURVE)
    assert watch(evaluations, target, limit).seconds == seconds
    assert all(later.seconds > seconds for later in evaluations)


def test_evaluations_are_printed_as_they_come(capsys):
    watch(CURVE, 0.95, 1e9)
    assert capsys.readouterr().out.splitlines() == ["ResNet-18     60.0 s  0.7000", "ResNet-18    120.0 s  0.9500"]


def test_the_ratio_is_of_the_seconds_to_the_target():
    said = verdict(Evaluation(80.0, 0.96), Evaluation(1200.0, 0.95), 0.95)
    assert said == "to 0.95: sprint 80 s, ResNet-18 1200 s: sprint is 15.0 times as fast"


def test_a_target_that_was_not_reached_bounds_the_ratio():
    said = verdict(Evaluation(80.0, 0.96), Evaluation(3600.0, 0.94), 0.95)
    assert said == "to 0.95: sprint 80 s, ResNet-18 not within 3600 s: sprint is more than 45.0 times as fast"


def test_a_sprint_that_ends_short_of_the_target_is_compared_with_nothing():
    check_reached(Evaluation(80.0, 0.95), 0.95)
    with pytest.raises(UserError, match=re.escape("sprint ended at 0.9499, short of 0.95; give it a larger --budget")):
        check_reached(Evaluation(80.0, 0.9499), 0.95)


def test_a_pause_is_not_on_the_clock():
    running, paused = Stopwatch(), Stopwatch()
    with paused.paused():
        time.sleep(0.05)
    seconds = paused.seconds
    assert running.seconds - seconds >= 0.05


def test_a_history_that_is_not_there_yet_has_no_accuracies(tmp_path):
    history = tmp_path / "history.csv"
    assert validation_accuracies(history) == []
    history.write_text("epoch,validation_accuracy\n1,0.5\n2,0.75\n")
    assert validation_accuracies(history) == [0.5, 0.75]


@pytest.mark.slow
def test_both_sides_are_evaluated_on_the_same_images_until_a_ratio_can_be_said(make_competition, tmp_path):
    folder = make_competition(tmp_path / "insects", train=130, val=20)
    options = ("--target", "0.3", "--budget", "10s", "--limit-minutes", "0.1", "--every", "1")
    done = call(partial(run_main, against_resnet.main), "--competition", folder, *options)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert any(re.fullmatch(r"sprint +\d+\.\d s  [01]\.\d{4}, the whole run", line) for line in lines)
    accuracies = [float(line.split()[-1]) for line in lines if line.startswith("ResNet-18")]
    assert accuracies and all((20 * accuracy) % 1 == pytest.approx(0, abs=0.01) for accuracy in accuracies)
    assert re.fullmatch(r"to 0\.3: sprint \d+ s, ResNet-18 .* times as fast", lines[-1])


def test_a_budget_that_is_no_time_is_said_in_one_line(make_competition, tmp_path):
    folder = make_competition(tmp_path / "insects")
    done = call(partial(run_main, against_resnet.main), "--competition", folder, "--budget", "soon")
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith("error: argument --budget: 'soon' is not a time")
