"""Depthwise convolutions in training: float32 inside, everything around them as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models.fast.depthwise import Float32Convolution, as_built, learn_in_float32
from pipeline.models.fast.folding import folded
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.registry import build_network
from pipeline.models.neural.training import Training
from tests.pipeline.models.small import sprint

SHAPE = (32, 32)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def images() -> Tensor:
    return torch.randn(4, 6, 9, 9, generator=torch.Generator().manual_seed(0))


def kinds(network: nn.Module) -> list[type[nn.Module]]:
    return [type(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def learnt(layer: nn.Module, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a layer answers under autocast to bfloat16, and the gradients of its input and its weights."""
    seen = seen.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        answer = layer(seen)
    answer.float().square().sum().backward()
    return answer, seen.grad, layer.weight.grad


def gradients(layer: nn.Module, seen: Tensor) -> list[Tensor]:
    seen = seen.clone().requires_grad_()
    return list(torch.autograd.grad(layer(seen).square().sum(), [seen, *layer.parameters()]))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "off"), [(3, {"rtol": 0, "atol": 0}), (5, {})])  # wide filters sum in another order
def test_the_layer_computes_in_float32_under_autocast_and_answers_in_the_precision_it_was_given(
    kernel, off, stride, precision
):
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, stride, padding=2, groups=6)
    layer, seen = copy.deepcopy(plain), images().to(precision)
    learn_in_float32(layer)
    answer, of_input, of_weights = learnt(layer, seen)
    assert answer.dtype == of_input.dtype == precision
    exact = seen.float().requires_grad_()
    expected = plain(exact).to(precision)
    expected.float().square().sum().backward()
    torch.testing.assert_close(answer, expected, **off)
    torch.testing.assert_close(of_input, exact.grad.to(precision), **off)
    torch.testing.assert_close(of_weights, plain.weight.grad, **off)


@pytest.mark.parametrize("size", [(9, 9), (3, 3), (8, 5)])
@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        (5, {"padding": 2}),
        (5, {"padding": 2, "stride": 2}),
        (7, {"padding": (3, 4), "bias": False}),
        ((3, 4), {"padding": 1, "stride": (1, 2)}),
        (5, {"padding": 4, "dilation": 2}),
        (5, {"padding": "same"}),
    ],
)
def test_wide_filters_learn_what_pytorch_says_they_should(kernel, arguments, size):
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, groups=6, dtype=torch.float64, **arguments)
    layer, seen = copy.deepcopy(plain).float(), torch.randn(4, 6, *size)
    learn_in_float32(layer)
    torch.testing.assert_close(gradients(layer, seen), gradients(plain, seen.double()), check_dtype=False, **CLOSE)


def test_what_is_frozen_has_no_gradient():
    layer, seen = nn.Conv2d(6, 6, 5, padding=2, groups=6).requires_grad_(False), images().requires_grad_()
    learn_in_float32(layer)
    layer(seen).sum().backward()
    assert seen.grad is not None and layer.weight.grad is None


def test_only_filters_over_single_channels_are_changed():
    network = nn.Sequential(nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3, groups=2), nn.Conv2d(6, 12, 3, groups=6))
    network.append(nn.Conv2d(1, 8, 3))
    learn_in_float32(network)
    assert kinds(network) == [nn.Conv2d, nn.Conv2d, Float32Convolution, nn.Conv2d]


@pytest.mark.parametrize("name", ["lite0", "mobilenet_v2"])
def test_a_training_changes_them_alone_and_its_weights_keep_their_names(name, tmp_path):
    network = build_network(name, 3, SHAPE)
    names, convolutions = list(network.state_dict()), kinds(network)
    scale = Normalisation((127.5,) * 3, (127.5,) * 3)
    predictor = Predictor(network, scale, SHAPE, torch.device("cpu"))
    training = Training(predictor, sprint(), lambda batch, _: batch, 0, tmp_path)
    for trained in (training.network, training.evaluated):
        assert kinds(trained).count(Float32Convolution) == len([each for each in network.modules() if depthwise(each)])
        assert list(trained.state_dict()) == names
    assert kinds(as_built(training.network)) == convolutions


def depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1


@torch.inference_mode()
def test_a_prediction_folds_the_ordinary_layers(as_if_trained):
    seen = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, *SHAPE))).float()
    network = as_if_trained(build_network("lite0", 3, SHAPE), seen)
    expected = network.eval()(seen)
    learn_in_float32(network)
    ready = folded(network)
    assert set(kinds(ready)) == {nn.Conv2d}
    assert not [layer for layer in ready.modules() if isinstance(layer, nn.BatchNorm2d)]
    torch.testing.assert_close(ready(seen), expected, rtol=0, atol=2e-3)
    assert Float32Convolution in kinds(network)
