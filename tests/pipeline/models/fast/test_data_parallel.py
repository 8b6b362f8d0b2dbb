"""Parts of a batch side by side: what a network answers and learns stays the same."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.fast.data_parallel import FEWEST, FEWEST_ALONE, with_parallel_parts
from pipeline.models.fast.folded_prefix import with_folded_prefix
from pipeline.models.neural.stages import freeze, train_mode
from pipeline.runtime import distributed
from tests.pipeline.models.small import small_network, tinted_noise

CPU = torch.device("cpu")
BATCH = 2 * FEWEST
pytestmark = pytest.mark.usefixtures("two_threads")


def images() -> Tensor:
    return torch.randn(BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))


def in_parts(learner: nn.Module) -> nn.Module:
    return with_parallel_parts(learner, CPU, BATCH, images()[:2])


def step(learner: nn.Module, weights: nn.Module) -> tuple[Tensor, list[Tensor | None]]:
    """The logits, and the gradients that they leave in the weights."""
    logits = learner(images()).float()
    weights.zero_grad()
    logits.square().sum().backward()
    return logits.detach(), [parameter.grad for parameter in weights.parameters()]


def test_logits_and_gradients_are_those_of_the_whole_batch(native_bfloat16):
    native_bfloat16(False)
    plain = network(nn.BatchNorm2d(4))
    plain[1].eval()
    copied = copy.deepcopy(plain)
    logits, gradients = step(plain, plain)
    found, found_gradients = step(in_parts(copied), copied)
    torch.testing.assert_close(found, logits)
    torch.testing.assert_close(found_gradients, gradients)


def test_batch_norms_learn_the_averages_of_the_first_part():
    plain = network(nn.BatchNorm2d(4))
    expected = copy.deepcopy(plain)
    with torch.no_grad():
        expected(images()[:FEWEST])
    step(in_parts(plain), plain)
    torch.testing.assert_close(plain[1].running_mean, expected[1].running_mean, rtol=0.05, atol=1e-3)


def test_frozen_weights_get_no_gradients():
    plain = network()
    plain[0].requires_grad_(False)
    _, gradients = step(in_parts(plain), plain)
    assert [gradient is None for gradient in gradients] == [True, True, False, False]


def test_what_is_dropped_follows_from_the_seed_and_not_from_the_threads():
    plain = network(nn.Dropout(0.5))

    def logits(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return step(in_parts(plain), plain)[0]

    assert torch.equal(logits(1), logits(1)) and not torch.equal(logits(1), logits(2))


def test_a_frozen_start_is_folded_in_each_part(as_if_trained):
    lite0 = as_if_trained(small_network("lite0"), tinted_noise())
    freeze(lite0, "head")
    train_mode(lite0)
    learner = with_parallel_parts(with_folded_prefix(lite0, CPU, tinted_noise()), CPU, BATCH, tinted_noise())
    learner(tinted_noise()).float().sum().backward()
    assert lite0.fc.weight.grad is not None and lite0.conv_head.weight.grad is None


@pytest.mark.parametrize(("norms", "fewest"), [([nn.BatchNorm2d(4)], FEWEST), ([], FEWEST_ALONE)])
def test_a_small_batch_is_computed_as_a_whole(norms, fewest):
    plain = network(*norms)
    assert with_parallel_parts(plain, CPU, 2 * fewest - 1, images()) is plain
    assert with_parallel_parts(plain, CPU, 2 * fewest, images()) is not plain


def test_a_network_that_draws_random_numbers_in_another_way_is_computed_as_a_whole():
    plain = network(nn.Dropout2d(0.5))
    assert in_parts(plain) is plain


def test_several_ranks_split_the_batches_themselves(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    plain = network()
    assert in_parts(plain) is plain


def test_other_work_keeps_all_threads():
    plain = network()
    step(in_parts(plain), plain)
    assert torch.get_num_threads() == 2
