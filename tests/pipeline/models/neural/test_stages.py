"""Stages: what learns in each, and how segments are parted among them."""

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from torch import nn

from competition.errors import UserError
from pipeline.models.networks.registry import build_network
from pipeline.models.neural import stages, time_budget
from pipeline.models.neural.stages import budgeted, cut, freeze, span_at, stage_spans, train_mode
from pipeline.models.neural.time_budget import Planner, Segment
from pipeline.models.recipe import RECIPES, NeuralRecipe, load_recipe

SGD = {"name": "sgd", "lr": 0.1}
CONSTANT = {"name": "constant"}


def recipe(epochs: int = 10, *after: int) -> NeuralRecipe:
    later = [{"after": each, "optimiser": SGD, "schedule": CONSTANT} for each in after]
    return NeuralRecipe(
        name="mine", summary="", kind="neural", network={"name": "cnn"}, epochs=epochs, batch_size=8,
        optimiser=SGD, schedule=CONSTANT, train="head", stages=later,
    )  # fmt: skip


def network() -> nn.Module:
    return build_network("cnn", 3, (16, 16), filters=[4, 6], norm="before", pool=2, dense=[5])


def learning(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


HEAD = {"head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"}
LAST_CONVOLUTION = {"features.4.weight", "features.4.bias"}


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("head", HEAD),
        ("head-and-last-convolution", HEAD | LAST_CONVOLUTION),
        (1, {"head.2.weight", "head.2.bias"}),
        (3, HEAD | {"features.5.weight", "features.5.bias"}),
        (4, HEAD | {"features.5.weight", "features.5.bias"} | LAST_CONVOLUTION),
    ],
)
def test_a_stage_lets_learn_what_it_names_and_freezes_the_rest(train, expected):
    module = network()
    freeze(module, train)
    assert learning(module) == expected


def test_efficientnet_lite0_ends_with_its_stem_and_whole_blocks_frozen():
    module = build_network("lite0", 3, (32, 32))
    freeze(module, load_recipe(RECIPES / "efficientnet-lite0.toml").all_stages[-1].train)
    names = {name for name, _ in module.named_parameters()}
    frozen = ("conv_stem.", "bn0.", *(f"blocks.{number}." for number in range(5)))
    assert names - learning(module) == {name for name in names if name.startswith(frozen)}


def test_a_later_stage_thaws_all_but_what_the_network_itself_keeps_frozen():
    module = network()
    freeze(module, "head")
    freeze(module, "all", frozenset({"features.0.weight"}))
    assert learning(module) == {name for name, _ in module.named_parameters()} - {"features.0.weight"}


def test_frozen_batch_norms_keep_their_averages_and_others_do_not():
    module = network()
    freeze(module, 3)
    train_mode(module)
    assert [norm.training for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)] == [False, True]


def test_stages_cover_the_training_in_proportion_to_their_epochs():
    first, second, third = stage_spans(recipe(10, 2, 6))
    assert [(s.start, s.end, s.epochs) for s in (first, second, third)] == [(0, 0.2, 2), (0.2, 0.6, 4), (0.6, 1, 4)]
    assert [span_at([first, second, third], progress) for progress in (0, 0.19, 0.2, 0.59, 0.99)] == [0, 0, 1, 1, 2]
    assert second.local(0.4) == pytest.approx(0.5) and second.overall(0.5) == pytest.approx(0.4)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 20])
def test_every_stage_gets_its_share_of_any_number_of_epochs(epochs):
    mine = recipe(10, 3)
    parts = list(cut(Planner(mine, 100, 16).fixed(epochs), stage_spans(mine)))
    assert (parts[0].start, parts[-1].end) == (0, 1)
    assert all(before.end == after.start for before, after in pairwise(parts))
    batches = [sum(s.batches for s in parts if (s.start < 0.3 - 1e-9) == first) for first in (True, False)]
    assert batches == pytest.approx([30 * epochs, 70 * epochs], abs=1)


def test_segments_that_lie_in_one_stage_are_left_as_they_are():
    segments = [Segment(16, 5, 0.0, 0.3), Segment(16, 5, 0.3, 1.0)]
    assert list(cut(segments, stage_spans(recipe(10, 3)))) == segments


def batches_of_two_stages(monkeypatch: pytest.MonkeyPatch, end: Callable[[], float]) -> list[int]:
    """A segment after the other, on a clock of their own; both stages are given half of the time until the end."""
    mine = recipe(16, 4)
    now, seconds, batches = [0.0], [{16: 3.0}, {16: 1.0}], []
    for module in (stages, time_budget):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for segment in budgeted(Planner(mine, 1000, 16), stage_spans(mine), seconds, lambda: (end(), 0.0), []):
        now[0] += segment.batches * seconds[segment.start >= 0.25][16]
        batches.append(segment.batches)
    return batches


def test_stages_share_the_validations_of_a_budget(monkeypatch):
    assert batches_of_two_stages(monkeypatch, lambda: 960.0) == [40] * 4 + [120] * 4


def test_time_that_predicting_turns_out_not_to_need_is_the_next_stages(monkeypatch):
    ends = iter([480.0, 960.0])
    assert batches_of_two_stages(monkeypatch, ends.__next__) == [20] * 4 + [180] * 4


@pytest.mark.parametrize("after", [(0,), (10,), (5, 5), (6, 3)])
def test_stages_that_do_not_follow_each_other_are_refused(tmp_path, after):
    tables = "".join(
        f'[[stages]]\nafter = {each}\noptimiser = {{ name = "sgd", lr = 0.1 }}\nschedule = {{ name = "constant" }}\n'
        for each in after
    )
    path = tmp_path / "mine.toml"
    path.write_text(
        'summary = ""\nkind = "neural"\nepochs = 10\nbatch_size = 8\nnetwork = { name = "cnn" }\n'
        'optimiser = { name = "sgd", lr = 0.1 }\nschedule = { name = "constant" }\n' + tables
    )
    with pytest.raises(UserError, match="each stage must begin after the one before it"):
        load_recipe(path)
