"""The networks: the layers and numbers of the reports."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from competition.errors import UserError
from pipeline.models.fast.folding import same_padded
from pipeline.models.networks.lite0 import POOLED, conv
from pipeline.models.networks.pretrained import lite0_features
from pipeline.models.networks.registry import NETWORKS, build_network
from pipeline.models.networks.sprint import WHITENED, Sprint
from pipeline.models.networks.vgg import vgg
from pipeline.models.recipe import RECIPES, load_recipe
from pipeline.runtime.memory import is_out_of_memory


def layers(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def of_recipe(name: str, classes: int, size: int = 64) -> nn.Module:
    """The network of a recipe, for images of ``size`` pixels unless the recipe has an input size."""
    recipe = load_recipe(RECIPES / f"{name}.toml")
    size = recipe.input_size or size
    return build_network(
        recipe.network.name, classes, (size, size), 1 if recipe.grey else 3, **recipe.network.arguments
    )


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [
        ("animals-cnn", 525_130),
        ("animals-cnn-small", 133_034),
        ("animals-cnn-regularised", 526_090),
        ("animals-transfer-head", 526_090),
        ("eurosat-alexnet", 57_044_810),
        ("eurosat-mobilenet", 2_236_682),
    ],
)
def test_networks_have_the_reports_numbers_of_parameters(recipe, parameters):
    assert count(of_recipe(recipe, classes=10)) == parameters


def test_the_mlp_on_fashion_mnists_grey_pixels_has_the_reports_number_of_parameters():
    assert count(of_recipe("fashion-mlp", classes=10, size=28)) == 567_434


def test_lite0_has_as_many_parameters_as_its_published_weights():
    assert count(build_network("lite0", 1000, (64, 64))) == 4_652_008


def test_cnn32_has_the_reports_number_of_values_with_batch_norms_running_ones():
    network = of_recipe("dhc-cnn32", classes=96)
    running = sum(buffer.numel() for name, buffer in network.named_buffers() if "running" in name)
    assert (count(network), count(network) + running) == (642_912, 643_360)


def test_cnn32_has_the_reports_layers():
    network = of_recipe("dhc-cnn32", classes=96)
    convolutions = layers(network, nn.Conv2d)
    assert [conv.out_channels for conv in convolutions] == [32, 64, 128]
    assert {(conv.kernel_size, conv.padding) for conv in convolutions} == {((3, 3), "valid")}
    assert len(layers(network, nn.BatchNorm2d)) == 3 and len(layers(network, nn.MaxPool2d)) == 2
    assert [dense.out_features for dense in layers(network, nn.Linear)] == [256, 96]


def test_vgg_has_the_reports_layers():
    network = build_network("vgg", 96, (64, 64), conv_dropout=0.6, head_dropout=0.7)
    convolutions = layers(network, nn.Conv2d)
    assert [conv.out_channels for conv in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [conv.padding for conv in convolutions] == [(0, 0)] + [(1, 1)] * 12
    assert {conv.kernel_size for conv in convolutions} == {(3, 3)}
    assert len(layers(network, nn.BatchNorm2d)) == 13 and len(layers(network, nn.MaxPool2d)) == 5
    assert [dense.out_features for dense in layers(network, nn.Linear)] == [4069, 4069, 512, 96]
    assert [dropout.p for dropout in layers(network, nn.Dropout)] == [0.6] * 5 + [0.7]
    kinds = [type(module) for module in network.head]
    assert kinds[-3:] == [nn.BatchNorm1d, nn.Dropout, nn.Linear]


def test_lists_of_a_recipe_have_one_entry_a_layer():
    with pytest.raises(UserError, match="2 entries for 3 layers"):
        build_network("cnn", 10, (32, 32), filters=[8, 8, 8], pool=[2, 2])


def test_the_dense_layers_of_the_pretrained_networks_can_be_replaced():
    network = of_recipe("fashion-resnet", classes=10)
    assert [dense.out_features for dense in layers(network, nn.Linear)] == [256, 10]
    assert layers(network, nn.Dropout)[0].p == 0.5


def test_middle_fusion_puts_the_maps_of_both_trunks_side_by_side_at_one_size():
    network = of_recipe("eurosat-fusion", classes=10).eval()
    seen = []
    network.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert network(images).shape == (2, 10)
        alexnet, mobilenet = (trunk(images) for trunk in network.trunks.values())
    assert seen[0].shape == (2, (256 + 1280) * 2 * 2)
    torch.testing.assert_close(seen[0].view(2, -1, 2, 2)[:, 256:], F.adaptive_avg_pool2d(mobilenet, 2))
    torch.testing.assert_close(seen[0].view(2, -1, 2, 2)[:, :256], F.adaptive_avg_pool2d(alexnet, 2))


@pytest.mark.parametrize(("shape", "padded"), [((8, 8), (0, 1)), ((7, 7), (1, 1))])
def test_lite0_pads_as_tensorflow_does(shape, padded):
    """A kernel of ones counts the pixels under it: with an even side, padding is only at the bottom and the right."""
    ones = conv(1, 1, kernel=3, stride=2)
    nn.init.ones_(ones.weight)
    with torch.inference_mode():
        seen = ones(same_padded(torch.ones(1, 1, *shape), (3, 3), (2, 2)))[0, 0]
    assert seen.shape == ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    assert [3 - seen[0, 1].item() / 3, 3 - seen[-1, 1].item() / 3] == list(padded)


def test_lite0_features_are_the_means_that_the_plain_network_comes_to(as_if_trained, native_bfloat16):
    native_bfloat16(False)
    images = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), np.uint8)
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
    network = as_if_trained(build_network("lite0", 5, (128, 128)), pixels)
    seen = lite0_features(network, images, torch.device("cpu"), "lite0")
    assert seen.shape == (5, POOLED) and seen.std(axis=0).mean() > 0.01
    with torch.inference_mode():
        np.testing.assert_allclose(seen, network.eval().pooled(pixels), rtol=1e-3, atol=1e-4)


def test_memory_that_runs_out_is_not_called_images_that_are_too_small():
    with pytest.raises(RuntimeError) as failure:
        build_network("cnn", 5, (10**6, 10**6), filters=[4, 4, 4], pool=2)
    assert is_out_of_memory(failure.value)


@pytest.mark.parametrize(
    ("name", "shape"), [("vgg", (32, 32)), ("alexnet", (28, 28)), ("cnn", (9, 9))], ids=["vgg", "alexnet", "cnn"]
)
def test_images_that_are_too_small_are_refused_in_one_line(name, shape):
    arguments = {"vgg": {"conv_dropout": 0.6, "head_dropout": 0.7}, "cnn": {"filters": [4, 4, 4], "pool": 2}}
    with pytest.raises(UserError, match=f"{shape[0]}x{shape[1]} pixels are too small") as refusal:
        build_network(name, 10, shape, **arguments.get(name, {}))
    assert "\n" not in str(refusal.value)


def test_one_channel_is_refused_by_networks_that_take_three():
    with pytest.raises(UserError, match="resnet18 takes three channels"):
        build_network("resnet18", 10, (32, 32), channels=1)


@pytest.mark.parametrize("shape", [(34, 34), (35, 70)])
def test_vgg_takes_images_that_are_small_or_not_square(shape):
    network = vgg(5, shape, conv_dropout=0.6, head_dropout=0.7).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, *shape)).shape == (1, 5)


@pytest.mark.parametrize("shape", [(16, 16), (20, 33)])
def test_sprint_takes_images_of_any_size(shape):
    network = build_network("sprint", 7, shape, width=8)
    assert network(torch.rand(2, 3, *shape)).shape == (2, 7)


def test_sprint_doubles_its_width_from_group_to_group():
    network = Sprint(10, width=8)
    assert [conv.out_channels for conv in layers(network, nn.Conv2d)] == [WHITENED] + [8] * 3 + [16] * 3 + [32] * 3


def test_sprint_learns_neither_its_first_filters_nor_the_scales_of_its_norms():
    network = Sprint(10, width=8)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    norms = {f"groups.{group}.norm{number}.weight" for group in range(3) for number in (1, 2, 3)}
    assert frozen == {"whiten.weight"} | norms
    assert network.whiten.bias is None
    assert all((norm.weight == 1).all() for norm in layers(network, nn.BatchNorm2d))


def test_whitening_makes_the_principal_directions_of_patches_uncorrelated_with_unit_variance():
    smooth = torch.rand(64, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    images = F.interpolate(smooth, size=(16, 16), mode="bilinear") + 0.2 * torch.rand(64, 3, 16, 16)
    network = Sprint(4, width=8)
    network.initialise_from(images)
    with torch.inference_mode():
        answers = network.whiten(images)[:, :, 1:-1, 1:-1]  # patches at the border contain padding
    half = WHITENED // 2
    torch.testing.assert_close(answers[:, :half], -answers[:, half:])
    covariance = torch.cov(answers[:, :half].transpose(0, 1).flatten(1))
    torch.testing.assert_close(covariance, torch.diag(covariance.diagonal()), atol=1e-2, rtol=0)
    assert covariance[0, 0] == pytest.approx(1.0, abs=0.02)
    assert covariance.diagonal().min() > 0.7 and covariance.diagonal().max() < 1.02


def test_whitening_takes_the_strongest_directions():
    images = torch.rand(64, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    images[:, 1:] *= 0.01
    network = Sprint(4, width=8)
    network.initialise_from(images)
    filters = network.whiten.weight[:9]
    assert filters[:, 0].norm() > 20 * filters[:, 1:].norm()


def test_whitening_survives_images_of_one_colour():
    network = Sprint(4, width=8)
    network.initialise_from(torch.full((8, 3, 12, 12), 0.5))
    assert all(parameter.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"alexnet", "resnet18", "resnet50", "efficientnet_b0"}))
def test_a_seed_gives_the_same_weights(name):
    arguments = {
        "sprint": {"width": 8},
        "vgg": {"conv_dropout": 0.6, "head_dropout": 0.7},
        "fusion": {"trunks": ["mobilenet_v2"], "spatial": 1, "dense": [8], "dropout": 0.5},
    }.get(name, {})
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build_network(name, 3, (64, 64), **arguments).state_dict())
    first, again, other = states
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
