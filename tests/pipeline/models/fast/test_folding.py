"""Folding: the same answers with fewer layers, and only where that is exact."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.fast.folding import FUSES, ActivatedConv2d, activations_fused, folded
from pipeline.models.networks.registry import NETWORKS, build_network
from pipeline.models.recipe import RECIPES, load_recipe
from tests.pipeline.models.small import small_network, tinted_noise

fusing = pytest.mark.skipif(not FUSES, reason="this PyTorch comes without oneDNN")


def layers(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


@torch.inference_mode()
def assert_same_answers(network: nn.Module) -> None:
    """In double precision, where a mistake cannot pass for rounding."""
    network = copy.deepcopy(network).double()
    seen = tinted_noise().double()
    torch.testing.assert_close(folded(network)(seen), network.eval()(seen), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_answers_the_same(name, as_if_trained):
    network = as_if_trained(small_network(name), tinted_noise())
    assert_same_answers(network)


@fusing
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_answers_the_same_with_its_activations_fused(name, as_if_trained):
    network = folded(as_if_trained(small_network(name), tinted_noise()))
    with torch.inference_mode():
        expected = network(tinted_noise())
        fused = activations_fused(network)
        assert layers(fused, ActivatedConv2d)
        torch.testing.assert_close(fused(tinted_noise()), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("recipe", "left"),
    [
        ("eurosat-mobilenet", 0),
        ("fruits-resnet18", 0),
        ("animals-cnn-regularised", 0),
        ("dhc-cnn32", 0),  # after its activations: into the next layers
        ("sprint", 3),  # those behind max-pooling
        ("dhc-vgg-plateau", 12),  # those before a convolution that pads
    ],
)
def test_batch_norms_are_gone_wherever_that_is_exact(recipe, left):
    given = load_recipe(RECIPES / f"{recipe}.toml")
    size = given.input_size or 64
    network = build_network(given.network.name, 5, (size, size), **given.network.arguments)
    assert len(layers(folded(network), _BatchNorm)) == left < len(layers(network, _BatchNorm))


@pytest.mark.parametrize("name", ["timm/efficientnet_b0", "timm/tf_efficientnetv2_b0", "timm/regnety_002"])
def test_batch_norms_of_timm_s_own_kinds_are_gone_too(name, as_if_trained):
    network = as_if_trained(small_network(name), tinted_noise())
    assert len(layers(network, _BatchNorm)) > 20 and not layers(folded(network), _BatchNorm)
    assert_same_answers(network)


def after_activation(stages: nn.Module, padding: int = 0) -> nn.Module:
    """A batch norm between an activation and a further convolution."""
    before = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), stages]
    after = [nn.Conv2d(4, 6, 3, padding=padding), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)]
    return nn.Sequential(*before, *after)


def test_a_batch_norm_that_turns_the_order_round_stays_before_max_pooling(as_if_trained):
    network = as_if_trained(after_activation(nn.MaxPool2d(2)), tinted_noise())
    assert not layers(folded(network), _BatchNorm)
    nn.init.constant_(network[2].weight[1:2], -0.7)
    assert layers(folded(network), _BatchNorm)
    assert_same_answers(network)


def test_a_batch_norm_of_negative_scale_goes_where_nothing_is_pooled(as_if_trained):
    network = as_if_trained(after_activation(nn.Dropout(0.5)), tinted_noise())
    nn.init.constant_(network[2].weight[1:2], -0.7)
    assert not layers(folded(network), _BatchNorm)
    assert_same_answers(network)


def test_a_batch_norm_stays_before_a_convolution_that_pads(as_if_trained):
    network = as_if_trained(after_activation(nn.Dropout(0.5), padding=1), tinted_noise())
    assert layers(folded(network), _BatchNorm)
    assert_same_answers(network)


def test_a_dense_layer_takes_in_the_batch_norm_of_the_map_that_was_flattened(as_if_trained):
    map_of_pixels = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(8), nn.Flatten()]
    network = as_if_trained(nn.Sequential(*map_of_pixels, nn.Linear(4 * 49, 5)), tinted_noise())
    assert not layers(folded(network), _BatchNorm)
    assert_same_answers(network)


class Forked(nn.Module):
    """What its convolution gives is normalised, and used as it is besides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, seen: Tensor) -> Tensor:
        maps = self.conv(seen)
        return self.head((self.norm(maps).relu() + maps).mean((2, 3)))


def test_a_convolution_that_others_see_too_stays_as_it_is(as_if_trained):
    network = as_if_trained(Forked(), tinted_noise())
    assert layers(folded(network), _BatchNorm)
    assert_same_answers(network)


@fusing
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": (3, 1), "padding": "valid"},
        {"kernel_size": 5, "padding": 2, "stride": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "bias": False},
        {"kernel_size": 3, "groups": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.SiLU()], ids=str)
def test_fused_activations_are_those_of_the_layers(arguments, activation):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, **arguments), activation, nn.Flatten())
    seen = 5 * torch.randn(2, 4, 16, 16)
    fused = activations_fused(folded(network))
    assert [type(layer) for layer in fused.children()] == [ActivatedConv2d, nn.Flatten]
    with torch.inference_mode():
        torch.testing.assert_close(fused(seen), network(seen))


def test_the_network_itself_stays_what_it_is(as_if_trained):
    network = as_if_trained(after_activation(nn.MaxPool2d(2)), tinted_noise())
    before = copy.deepcopy(network.state_dict())
    activations_fused(folded(network)).to(torch.bfloat16)
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) and after[name].dtype == before[name].dtype for name in before)
    assert all(module.training for module in network.modules())
