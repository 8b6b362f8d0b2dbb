"""A frozen start: computed as in prediction, and for what learns behind it nothing changes."""

import ast
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from pipeline.models.fast.depthwise import learn_in_float32
from pipeline.models.fast.folded_prefix import with_folded_prefix
from pipeline.models.networks.registry import NETWORKS, build_network
from pipeline.models.neural.stages import freeze, train_mode
from pipeline.models.recipe import Trained
from pipeline.runtime.devices import mixed_precision
from tests.pipeline.models.small import small_network, tinted_noise

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[4]


def learning(network: nn.Module, train: Trained) -> nn.Module:
    """The network as it is while only a part of it learns."""
    learn_in_float32(network)
    freeze(network, train)
    train_mode(network)
    return network


def without_chance(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, _DropoutNd | StochasticDepth):
            module.p = 0.0
    return network


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


def answered(learner: nn.Module) -> Tensor:
    """Logits float32 ``[8, 5]``, as in a step of the training."""
    with mixed_precision(CPU):
        return learner(tinted_noise()).float()


def gradients(network: nn.Module, learner: nn.Module) -> tuple[Tensor, Tensor]:
    """What the learner answers, and all gradients that it leaves in the network, in one row."""
    answers = answered(learner)
    network.zero_grad()
    answers.square().sum().backward()
    return answers.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("name", "train"), [*((name, "head") for name in NETWORKS), ("lite0", 10), ("resnet18", 10), ("fusion", 10)]
)
def test_every_network_answers_and_learns_the_same(name, train, as_if_trained, native_bfloat16):
    native_bfloat16(False)  # its rounding would hide a small mistake
    network = as_if_trained(small_network(name), tinted_noise())
    network = without_chance(learning(network, train))
    expected, expected_gradients = gradients(network, network)
    answers, found = gradients(network, with_folded_prefix(network, CPU, tinted_noise()))
    torch.testing.assert_close(answers, expected, rtol=0, atol=2e-3)
    assert (found - expected_gradients).norm() < 0.02 * expected_gradients.norm()


@pytest.mark.parametrize("name", ["cnn", "lite0", "resnet18"])
def test_half_precision_rounds_no_more_than_in_the_network_itself(name, as_if_trained, native_bfloat16):
    network = as_if_trained(small_network(name), tinted_noise())
    network = without_chance(learning(network, "head"))
    native_bfloat16(False)
    _, exact = gradients(network, network)
    native_bfloat16(True)
    learner = with_folded_prefix(network, CPU, tinted_noise())
    error, own_error = ((gradients(network, each)[1] - exact).norm() for each in (learner, network))
    assert 0 < error < 1.5 * own_error


def test_the_start_reaches_to_the_first_layer_that_learns(as_if_trained):
    network = learning(as_if_trained(small_network("lite0"), tinted_noise()), 69)
    assert norms(with_folded_prefix(network, CPU, tinted_noise())) == norms(network.blocks[5:]) + 1  # that of the head


def test_a_network_that_learns_from_its_first_layer_on_stays_itself():
    network = learning(small_network("lite0"), "all")
    assert with_folded_prefix(network, CPU, tinted_noise()) is network


@pytest.mark.parametrize("chance", [nn.Dropout(0.5), StochasticDepth(0.5, "row")], ids=["dropout", "stochastic depth"])
def test_what_is_random_in_training_stays_random(chance):
    torch.manual_seed(0)
    start = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()]
    network = learning(nn.Sequential(*start, chance, nn.Flatten(), nn.Linear(4 * 62 * 62, 5)), "head")
    learner = with_folded_prefix(network, CPU, tinted_noise())
    assert norms(learner) == 0
    assert not torch.equal(answered(learner), answered(learner))


def test_the_frozen_start_is_the_network_s_own_as_it_is_now(as_if_trained):
    network = learning(as_if_trained(small_network("lite0"), tinted_noise()), "head")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    answered(with_folded_prefix(network, CPU, tinted_noise())).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Untraceable(nn.Module):
    """Behind a start that could be folded, its layers depend on what the images show."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.start(images)
        return self.head((maps if images.mean() > 100 else maps.abs()).mean((2, 3)))


def test_a_network_that_cannot_be_traced_is_trained_as_it_is():
    network = learning(Untraceable(), "head")
    assert with_folded_prefix(network, CPU, tinted_noise()) is network


def test_a_network_of_timm_whose_paths_are_dropped_at_random_stays_random(as_if_trained):
    network = build_network("timm/resnet18", 5, (64, 64), drop_path=0.9)
    network = learning(as_if_trained(network, tinted_noise()), "head")
    learner = with_folded_prefix(network, CPU, tinted_noise())
    assert 0 < norms(learner) < norms(network)
    assert not torch.equal(answered(learner), answered(learner))


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline").rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_imports_torchvision_timm_or_albumentations_before_it_is_needed(path):
    """Each takes a good part of what a command takes to start; so do the modules that begin by importing one."""
    top = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = {name for node in top for name in [getattr(node, "module", ""), *(alias.name for alias in node.names)]}
    slow = {"torchvision", "timm", "albumentations", "torchvision_networks", "timm_networks"}
    assert path.stem in slow or not slow & {part for name in names for part in name.split(".")}
