"""Prediction: what the plain network would answer, and the same bytes every time."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.data.augment import View, views
from pipeline.data.cache import ImageCache
from pipeline.models.fast import predictor
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import AS_IT_IS, Predictor, prepared
from pipeline.models.networks.registry import build_network
from pipeline.runtime.devices import mixed_precision

CPU = torch.device("cpu")
NORMALISE = Normalisation((120.0,) * 3, (60.0,) * 3)
SHAPE = (32, 32)
RNG = np.random.default_rng(0)
TINTS, NOISE = RNG.integers(0, 156, (40, 1, 1, 3)), RNG.integers(0, 100, (40, *SHAPE, 3))
IMAGES = (TINTS + NOISE).astype(np.uint8)
NETWORKS = {
    "sprint": {"width": 8},
    "cnn": {"filters": [8, 16], "norm": "after", "pool": 2, "dense": [16]},
    "mobilenet_v2": {},
    "lite0": {},
}


Trained = Callable[[str], nn.Module]


@pytest.fixture
def trained(as_if_trained: Callable) -> Trained:
    """A function from the name of a network to that network in training mode, sure of most of its answers."""

    def trained(name: str = "sprint") -> nn.Module:
        torch.manual_seed(0)
        return as_if_trained(build_network(name, 4, SHAPE, **NETWORKS[name]), NORMALISE(IMAGES, CPU))

    return trained


def plain(network: nn.Module, kinds: Sequence[View] = AS_IT_IS) -> np.ndarray:
    """The forward pass that anybody would write."""
    network = copy.deepcopy(network).eval()
    with torch.inference_mode(), mixed_precision(CPU):
        answers = [network(NORMALISE(view(IMAGES), CPU)).float().softmax(1) for view in kinds]
    return torch.stack(answers).mean(0).numpy()


def predicting(network: nn.Module) -> Predictor:
    return Predictor(network, NORMALISE, SHAPE, CPU)


def predicted(network: nn.Module, kinds: Sequence[View] = AS_IT_IS) -> np.ndarray:
    return predicting(network).predict_proba(IMAGES, kinds)


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_and_decisions_are_those_of_the_plain_forward_pass(name, trained, native_bfloat16):
    native_bfloat16(False)
    network, kinds = trained(name), views("mirror", square=True)
    expected, found = plain(network, kinds), predicted(network, kinds)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    second, first = np.sort(expected, axis=1)[:, -2:].T
    clear = first - second > 2e-4
    assert clear.sum() > 30 and expected.std(axis=0).max() > 0.1
    np.testing.assert_array_equal(found.argmax(1)[clear], expected.argmax(1)[clear])


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_rounds_no_more_than_in_the_plain_forward_pass(name, trained, native_bfloat16):
    native_bfloat16(False)
    network = trained(name)
    exact = plain(network)
    native_bfloat16(True)
    error, plain_error = (np.square(found - exact).mean() ** 0.5 for found in (predicted(network), plain(network)))
    assert 0 < error < 1.5 * plain_error


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_images_give_the_same_bytes(name, trained):
    network = trained(name)
    np.testing.assert_array_equal(predicted(network), predicted(network))
    np.testing.assert_array_equal(predicted(network), predicted(copy.deepcopy(network)))


def test_the_network_can_be_trained_on_as_if_nothing_had_been_predicted(trained):
    network = trained()
    before = copy.deepcopy(network.state_dict())
    predicted(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    network(NORMALISE(IMAGES[:8], CPU)).sum().backward()
    assert network.head.weight.grad is not None


def test_predictions_follow_the_weights(trained):
    network = trained()
    before = predicted(network)
    with torch.no_grad():
        network.head.weight.neg_()
    np.testing.assert_array_equal(predicted(network).argmin(1), before.argmax(1))


@pytest.mark.parametrize(("native", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_weights_are_cast_once_and_batch_norms_that_are_left_stay_precise(trained, native_bfloat16, native, precision):
    native_bfloat16(native)
    network = prepared(trained(), CPU, torch.randn(2, 3, *SHAPE))
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert {layer.weight.dtype for layer in layers} == {precision}
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    assert {norm.weight.dtype for norm in norms} == {torch.float32}


def test_predictions_are_distributions_averaged_over_the_views(trained):
    network, kinds = trained(), views("all", square=True)
    both, each = predicted(network, kinds), [predicted(network, [view]) for view in kinds]
    assert both.dtype == np.float32 and both.shape == (40, 4)
    np.testing.assert_allclose(both.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3


def test_predictions_do_not_depend_on_what_else_is_predicted(monkeypatch, trained):
    network = trained()
    whole = predicted(network)
    monkeypatch.setattr(predictor, "PIXELS_AT_ONCE", 7 * 32 * 32)
    np.testing.assert_allclose(predicted(network), whole, atol=1e-5)


def test_a_cache_is_as_good_as_an_array_and_other_sizes_are_resized(trained):
    network = trained()
    larger = IMAGES.repeat(2, axis=1).repeat(2, axis=2)
    for images in (ImageCache(IMAGES, np.array([], np.int64)), larger):
        np.testing.assert_allclose(predicting(network).predict_proba(images), predicted(network), atol=1e-5)


def test_outputs_come_batch_by_batch_and_view_by_view(monkeypatch, trained):
    monkeypatch.setattr(predictor, "PIXELS_AT_ONCE", 16 * 32 * 32)
    found = list(predicting(trained()).prepared().outputs(IMAGES, views("mirror", square=True)))
    assert [tuple(batch.shape) for batch in found] == [(2, 16, 4), (2, 16, 4), (2, 8, 4)]
    assert {batch.dtype for batch in found} == {torch.float32}


class Hungry(nn.Module):
    """A network on a GPU whose memory holds a few images."""

    def __init__(self, network: nn.Module, most: int) -> None:
        super().__init__()
        self.network, self.most = network, most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.network(images)


def test_where_memory_runs_out_fewer_images_are_predicted_at_once_and_one_line_says_so(monkeypatch, trained, capsys):
    monkeypatch.setattr(predictor, "PIXELS_AT_ONCE", 16 * 32 * 32)
    ready, kinds = predicting(trained()).prepared(), views("mirror", square=True)
    whole = torch.cat(list(ready.outputs(IMAGES, kinds)), 1)
    few = replace(ready, network=Hungry(ready.network, most=8))
    assert torch.allclose(torch.cat(list(few.outputs(IMAGES, kinds)), 1), whole, atol=1e-5)
    assert capsys.readouterr().out == "warning: memory ran out while predicting; going on with 8 images at once\n"


def test_if_one_image_does_not_fit_in_memory_that_is_an_error(trained):
    ready = predicting(trained()).prepared()
    with pytest.raises(torch.OutOfMemoryError):
        next(replace(ready, network=Hungry(ready.network, most=0)).outputs(IMAGES))


def test_a_gpu_predicts_more_images_at_once(trained):
    assert Predictor(trained(), NORMALISE, (64, 64), torch.device("cuda")).batch_size > 128


@pytest.mark.parametrize(
    ("input_size", "images"), [((64, 64), 128), ((32, 32), 512), ((224, 224), 10), ((4000, 4000), 1)]
)
def test_as_many_images_are_predicted_at_once_as_their_size_allows(trained, input_size, images):
    assert Predictor(trained(), NORMALISE, input_size, CPU).batch_size == images


class Untraceable(nn.Module):
    """Its layers depend on what the images show, which torch.fx cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return self.head((maps if images.mean() > 100 else maps.abs()).mean((2, 3)))


class Misleading(nn.Module):
    """Its copy in evaluation mode is traced, but one batch norm cannot be folded into two uses of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 4)
        nn.init.constant_(self.norm.bias, 3.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(self.conv(images))).mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "reason"), [(Untraceable, "symbolically traced"), (Misleading, "the folded copy gives another output")]
)
def test_a_network_that_cannot_be_folded_predicts_as_it_is_and_one_line_says_so(kind, reason, capsys, native_bfloat16):
    native_bfloat16(False)
    torch.manual_seed(0)
    network = kind()
    np.testing.assert_allclose(predicted(network), plain(network), atol=1e-6)
    predicted(network)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{kind.__name__} predicts layer by layer") and reason in line


def test_a_lack_of_memory_is_not_taken_for_a_network_that_cannot_be_traced(monkeypatch, trained):
    def exhausted(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(predictor, "folded", exhausted)
    with pytest.raises(RuntimeError, match="out of memory"):
        predicted(trained())


def test_activations_that_are_computed_again_in_training_are_not_in_prediction():
    network = build_network("timm/vit_tiny_patch16_224", 4, SHAPE, grad_checkpointing=True)
    ready = prepared(network, CPU, torch.randn(2, 3, *SHAPE))
    assert isinstance(ready, fx.GraphModule)
    assert network.grad_checkpointing
