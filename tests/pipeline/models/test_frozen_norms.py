"""Frozen batch norms in training: the answers and gradients of the plain network, whose weights they are."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.depthwise import learn_in_float32
from pipeline.models.frozen_norms import NormedConv2d, norms_worked_in
from pipeline.models.networks import build_network
from pipeline.models.normalisation import Normalisation
from pipeline.models.pacing import Epoch
from pipeline.models.phases import train_mode
from pipeline.models.training import LabelledImages, Training
from tests.pipeline.models.small import draw, sprint

SHAPE = (32, 32)
NETWORKS = {
    "lite0": {"dropout": 0.0},
    "resnet18": {},
    "cnn": {"filters": [4, 6], "norm": "before", "pool": 2, "dense": [5]},  # its convolutions have a bias
}


def images() -> Tensor:
    return torch.randn(8, 3, *SHAPE, generator=torch.Generator().manual_seed(0))


def trained_on(name: str, as_if_trained) -> nn.Module:
    network = as_if_trained(build_network(name, 4, SHAPE, **NETWORKS[name]), images())
    train_mode(network, frozen_norms=True)
    return network


def learnt(network: nn.Module, weights: list[Tensor]) -> tuple[Tensor, ...]:
    answers = network(images().double())
    return answers, *torch.autograd.grad(answers.square().sum(), weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_and_gradients_are_those_of_the_plain_network(name, as_if_trained):
    network = trained_on(name, as_if_trained).double()
    weights = list(network.parameters())
    worked_in = norms_worked_in(network)
    assert {id(weight) for weight in worked_in.parameters()} == {id(weight) for weight in weights}
    ours, plain = (learnt(each, weights) for each in (worked_in, network))
    torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_norm_is_left_for_a_pass_of_its_own(name, as_if_trained):
    network = trained_on(name, as_if_trained)
    learn_in_float32(network)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    worked_in = norms_worked_in(network)
    called = [worked_in.get_submodule(node.target) for node in worked_in.graph.nodes if node.op == "call_module"]
    assert sum(isinstance(layer, NormedConv2d) for layer in called) == norms
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in called)


def test_a_training_moves_all_weights_and_keeps_averages_and_names(as_if_trained, tmp_path):
    network = trained_on("lite0", as_if_trained)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    recipe = sprint(averaging=0.0, pretrained=True, frozen_norms=True)
    scale = Normalisation((127.5,) * 3, (127.5,) * 3)
    training = Training(network, recipe, scale, lambda batch, _: batch, SHAPE, torch.device("cpu"), 0, tmp_path)
    sample = LabelledImages(*draw(32, seed=1, shape=SHAPE))
    training.run(sample, sample, [Epoch(32, 2, 0.0, 1.0)], "")
    after = training.network.state_dict()
    assert list(after) == list(before)
    kept = {name for name in before if torch.equal(after[name], before[name])}
    assert kept == {name for name, _ in network.named_buffers()}
