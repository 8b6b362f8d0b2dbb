"""Optimisers: Muon's algebra, who gets which parameters, and that each of them learns."""

import pytest
import torch
from torch import nn

from pipeline.models.networks.registry import build_network
from pipeline.models.neural.optimisers import Muon, build_optimisers, orthogonalised
from pipeline.models.recipe import Optimiser


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
    )


@pytest.mark.parametrize("shape", [(16, 27), (64, 64), (96, 24)], ids=["wide", "square", "tall"])
def test_orthogonalising_brings_the_singular_values_near_one_and_keeps_the_directions(shape):
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), False)
    values = torch.linspace(1, 0.1, min(shape))
    flattened = orthogonalised(left * values @ right)
    assert flattened.shape == shape
    turned = left.T @ flattened @ right.T
    assert turned.diagonal().min() > 0.3 and turned.diagonal().max() < 1.25
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), atol=1e-4, rtol=0)


def test_more_steps_bring_small_singular_values_up_too():
    left, _, right = torch.linalg.svd(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))
    values = torch.logspace(0, -3, 32)
    singular = torch.linalg.svdvals(orthogonalised(left * values @ right, steps=8))
    assert singular.min() > 0.5 and singular.max() < 1.25


def test_orthogonalising_nothing_gives_nothing():
    torch.testing.assert_close(orthogonalised(torch.zeros(4, 9)), torch.zeros(4, 9))


def test_a_step_of_muon_has_the_same_size_whatever_the_scale_of_the_gradient():
    gradient = torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    steps = []
    for scale in (1e-3, 1e3):
        kernel = nn.Parameter(torch.ones(16, 8, 3, 3))
        kernel.grad = gradient * scale
        Muon([kernel], lr=0.1, momentum=0.6).step()
        steps.append(kernel.detach())
    torch.testing.assert_close(*steps, atol=1e-4, rtol=1e-3)


def test_muon_keeps_the_norm_of_a_kernel():
    generator = torch.Generator().manual_seed(0)
    kernel = nn.Parameter(100 * torch.randn(16, 8, 3, 3, generator=generator))
    optimiser = Muon([kernel], lr=0.01, momentum=0.6)
    for _ in range(20):
        kernel.grad = torch.randn(kernel.shape, generator=generator)
        optimiser.step()
        assert kernel.norm().item() == pytest.approx(16**0.5, rel=0.02)


def test_muon_drives_the_kernels_and_sgd_all_other_parameters():
    network = small_network()
    muon, sgd = build_optimisers(network, Optimiser(name="muon", lr=0.2, momentum=0.6, sgd_lr=0.03))
    assert [p.ndim for p in muon.param_groups[0]["params"]] == [4, 4]
    assert {p.ndim for p in sgd.param_groups[0]["params"]} == {1, 2}
    driven = [p for optimiser in (muon, sgd) for p in optimiser.param_groups[0]["params"]]
    assert {id(p) for p in driven} == {id(p) for p in network.parameters()}
    assert (muon.param_groups[0]["lr"], sgd.param_groups[0]["lr"]) == (0.2, 0.03)


@pytest.mark.parametrize("name", ["adam", "sgd", "muon"])
def test_frozen_parameters_stay_as_they_are(name):
    network = small_network()
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    optimisers = build_optimisers(network, Optimiser(name=name, lr=0.1))
    network(torch.randn(4, 3, 8, 8)).sum().backward()
    for optimiser in optimisers:
        optimiser.step()
    assert torch.equal(network[0].weight, before)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_pulls_a_weight_without_gradient_towards_zero(name):
    network = nn.Linear(2, 2)
    nn.init.ones_(network.weight)
    (optimiser,) = build_optimisers(network, Optimiser(name=name, lr=0.01, weight_decay=0.1))
    network.weight.grad = torch.zeros_like(network.weight)
    optimiser.step()
    assert (network.weight < 1).all()


@pytest.mark.parametrize(("name", "lr"), [("adam", 0.01), ("adamw", 0.01), ("sgd", 0.05), ("muon", 0.05)])
def test_a_toy_problem_is_learnt(name, lr):
    network = small_network()
    torch.manual_seed(1)
    labels = torch.arange(64) % 2
    stripes = torch.sin(torch.arange(8) * 1.6)
    pattern = torch.stack([stripes.expand(8, 8), stripes.expand(8, 8).T])[labels].unsqueeze(1)
    images = pattern + 0.5 * torch.randn(64, 3, 8, 8)
    optimisers = build_optimisers(network, Optimiser(name=name, lr=lr))
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(network(images), labels)
        network.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_dense_l2_penalises_the_weights_of_hidden_dense_layers_alone():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    settings = Optimiser(name="sgd", lr=0.1, momentum=0.0, dense_l2=0.5, weight_decay=0.0)
    (optimiser,) = build_optimisers(network, settings)
    before = {name: weights.detach().clone() for name, weights in network.named_parameters()}
    for weights in network.parameters():
        weights.grad = torch.zeros_like(weights)
    optimiser.step()
    for name, weights in network.named_parameters():  # the gradient of 0.5 w^2 is w
        torch.testing.assert_close(weights.detach(), before[name] * (0.9 if name == "2.weight" else 1.0))


def test_rmsprop_divides_by_the_size_of_the_gradients_so_far():
    weights = nn.Parameter(torch.zeros(2))
    holder = nn.Module()
    holder.weights = weights
    (optimiser,) = build_optimisers(holder, Optimiser(name="rmsprop", lr=0.1))
    weights.grad = torch.tensor([1.0, 100.0])
    optimiser.step()
    torch.testing.assert_close(weights.detach(), torch.full((2,), -0.1 / 0.1**0.5))


def test_what_is_frozen_is_left_out():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    (optimiser,) = build_optimisers(network, Optimiser(name="adam", lr=0.1))
    assert [id(p) for p in optimiser.param_groups[0]["params"]] == [id(p) for p in network[1].parameters()]


def decayed(network: nn.Module, **settings: float) -> set[str]:
    """The names of the parameters that a step without gradients makes smaller."""
    (optimiser,) = build_optimisers(network, Optimiser(lr=0.1, weight_decay=0.1, **settings))
    before = {name: weights.detach().clone() for name, weights in network.named_parameters()}
    for weights in network.parameters():
        nn.init.ones_(weights)
        weights.grad = torch.zeros_like(weights)
    optimiser.step()
    return {name for name, weights in network.named_parameters() if (weights < 1).all() and name in before}


def test_adamw_leaves_norms_biases_and_embeddings_as_they_are():
    network = small_network()
    assert decayed(network, name="adamw") == {"0.weight", "3.weight", "8.weight"}
    network = build_network("timm/vit_tiny_patch16_224", 3, (32, 32))
    names = decayed(network, name="adamw")
    assert "blocks.0.mlp.fc1.weight" in names and not names & {"pos_embed", "cls_token", "norm.weight", "head.bias"}


def test_the_other_optimisers_decay_all_weights():
    network = small_network()
    assert decayed(network, name="sgd") == {name for name, _ in network.named_parameters()}


def rates(network: nn.Module, layer_decay: float) -> dict[str, float]:
    """The learning rate of each parameter, beside that of the head."""
    (optimiser,) = build_optimisers(network, Optimiser(name="adamw", lr=0.1, layer_decay=layer_decay))
    names = {id(weights): name for name, weights in network.named_parameters()}
    return {names[id(each)]: group["lr"] / 0.1 for group in optimiser.param_groups for each in group["params"]}


def test_each_twelfth_of_the_layers_learns_slower_than_the_one_behind_it():
    layers = [nn.Linear(2, 2) for _ in range(24)]
    found = rates(nn.Sequential(*layers, nn.Linear(2, 3)), 0.5)
    assert found["24.weight"] == found["24.bias"] == 1.0
    assert [found[f"{place}.weight"] for place in (23, 22, 21, 1, 0)] == pytest.approx(
        [0.5, 0.5, 0.25, 0.5**12, 0.5**12]
    )


def test_the_head_that_learns_at_the_full_rate_is_the_one_that_the_library_names():
    found = rates(build_network("timm/convnext_atto", 3, (32, 32)), 0.5)
    assert {name for name, rate in found.items() if rate == 1.0} == {"head.fc.weight", "head.fc.bias"}
    assert found["stem.0.weight"] == min(found.values()) == pytest.approx(0.5**12)


def test_without_layer_decay_all_layers_learn_at_one_rate():
    (optimiser,) = build_optimisers(small_network(), Optimiser(name="adam", lr=0.1))
    assert [group["lr"] for group in optimiser.param_groups] == [0.1]
