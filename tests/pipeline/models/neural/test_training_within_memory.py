"""A training that runs out of memory: it goes on with smaller batches, and can be resumed and repeated all the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.neural.speed import StepTimer
from pipeline.models.neural.time_budget import Planner, Segment
from pipeline.models.neural.training import Training
from tests.pipeline.models.neural.test_training import (
    BATCH,
    PROTOCOLS,
    TRAIN,
    assert_same_weights,
    begin,
    history,
    interrupted_after,
    protocol,
    run,
    segments_of,
)


def exhaust(network: nn.Module, inputs: tuple[Tensor]) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def room_for(images: int) -> Callable[[nn.Module, tuple[Tensor]], None]:
    """A hook that stands for a GPU whose memory holds that many images."""
    return lambda network, inputs: exhaust(network, inputs) if len(inputs[0]) > images else None


def begun(folder: Path, hook: Callable | None, name: str = "muon, one cycle, averaged") -> Training:
    """A training on a device whose memory the hook limits, from its first weights or from where another one stopped."""
    training = begin(folder, protocol(name))
    if hook is not None:
        training.network.register_forward_pre_hook(hook)
    return training


def parts(training: Training) -> list[int]:
    return [segment.parts for segment in training.segments]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_batches_and_learning_rate_are_halved_and_one_line_says_so(tmp_path, capsys, name):
    segments = segments_of(protocol(name))
    training = run(begun(tmp_path / "small", room_for(BATCH // 2), name), segments)
    whole = run(begun(tmp_path / "large", None, name), segments)
    assert capsys.readouterr().out == (
        f"warning: small: memory ran out; going on with batches of {BATCH // 2} images and 1/2 of the learning rate\n"
    )
    assert parts(training) == [2] * 4
    (ours, *_), (theirs, *_) = training.history.records, whole.history.records
    assert ours.batches == 2 * theirs.batches
    assert ours.learning_rate == pytest.approx(theirs.learning_rate / 2, rel=0.1)  # the last step is a later one


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_plan_repeats_the_smaller_batches_to_the_bit(tmp_path, name):
    training = run(begun(tmp_path / "short", room_for(BATCH // 2), name), segments_of(protocol(name)))
    assert 2 in parts(training)
    repeated = run(begun(tmp_path / "repeated", None, name), training.segments)
    assert history(repeated) == history(training)
    assert_same_weights(repeated.network, training.network)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumed_equals_uninterrupted(tmp_path, name, stop):
    segments, room = segments_of(protocol(name)), room_for(BATCH // 2)
    whole = run(begun(tmp_path / "whole", room, name), segments)
    with pytest.raises(KeyboardInterrupt):
        run(begun(tmp_path / "parts", room, name), interrupted_after(segments, stop))
    resumed = run(begun(tmp_path / "parts", room, name), segments[stop:])
    assert history(resumed) == history(whole)
    assert_same_weights(resumed.network, whole.network)


@pytest.mark.parametrize("step", [0, 2, 6])
def test_a_segment_that_runs_out_of_memory_in_its_middle_begins_anew(tmp_path, step):
    """Four steps a segment: the third step is in the first one, the seventh in the second."""
    segments, steps = segments_of(protocol()), iter(range(100))
    training = run(begun(tmp_path / "short", lambda *at: exhaust(*at) if next(steps) == step else None), segments)
    assert parts(training) == ([2, 2, 2, 2] if step < 4 else [1, 2, 2, 2])
    repeated = run(begun(tmp_path / "repeated", None), training.segments)
    assert_same_weights(repeated.network, training.network)


def test_each_image_is_used_as_often_as_in_whole_batches(tmp_path):
    seen: list[int] = []
    training = begun(tmp_path, room_for(BATCH // 4))
    training.network.register_forward_hook(lambda module, inputs, outputs: seen.append(len(outputs)))
    run(training, segments_of(protocol()))
    kept = sum(segment.batches for segment in training.segments) * BATCH
    assert parts(training)[-1] == 4 and sum(seen) == kept == 4 * len(TRAIN)


def test_what_does_not_fit_in_the_smallest_batches_is_an_error(tmp_path):
    with pytest.raises(torch.OutOfMemoryError):
        run(begun(tmp_path, exhaust), segments_of(protocol()))


def test_another_error_is_not_taken_for_a_lack_of_memory(tmp_path):
    def fail(*inputs: object) -> None:
        raise RuntimeError("another error")

    with pytest.raises(RuntimeError, match="another error"):
        run(begun(tmp_path, fail), segments_of(protocol()))


def test_a_step_is_timed_in_the_parts_that_fit(tmp_path):
    seen: list[int] = []
    training = begun(tmp_path, room_for(BATCH // 2))
    training.network.register_forward_hook(lambda module, inputs, outputs: seen.append(len(outputs)))
    timer = StepTimer(lambda network: Training(replace(training.predictor, network=network), *rest(training)))
    assert timer.seconds(training.network, [16])[16] > 0
    assert seen == [BATCH // 2] * 3
    assert training.parts == 1


def rest(training: Training) -> tuple:
    return training.recipe, training.augment, training.seed, training.history.path.parent


def test_a_segment_that_was_cut_off_in_parts_has_reached_what_its_steps_have():
    segment = replace(Segment(16, 10, 0.0, 0.5), parts=2)
    assert segment.progress_at(10) == 0.25
    cut = segment.cut_off(4)
    assert (cut.batches, cut.planned, cut.reached) == (4, 10, 0.2)
    assert Segment(16, 10, 0.0, 0.5).cut_off(4).reached == cut.reached


def test_a_budget_counts_whole_batches(tmp_path):
    planner = Planner(protocol(), len(TRAIN) // BATCH, 16)
    training = run(begun(tmp_path, room_for(BATCH // 2)), planner.fixed(2))
    assert sum(segment.batches for segment in training.segments) == 2 * planner.steps_per_epoch
