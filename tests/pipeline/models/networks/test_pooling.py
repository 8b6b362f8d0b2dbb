"""Generalised-mean pooling: between average and maximum, in networks of every library, learnt and predicted fast."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from competition.errors import UserError
from pipeline.models.fast.predictor import prepared
from pipeline.models.networks.pooling import GeM, with_gem
from pipeline.models.networks.registry import build_network
from pipeline.models.networks.state import differences, last_child
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.recipe import RECIPES, NeuralRecipe, load_recipe
from pipeline.runtime.devices import mixed_precision
from tests.pipeline.models.small import CLASSES, SAMPLE

CPU = torch.device("cpu")
MAPS = torch.rand(4, 5, 6, 7, generator=torch.Generator().manual_seed(0))


def gem(exponent: float, flat: bool = True) -> GeM:
    layer = GeM(flat)
    nn.init.constant_(layer.exponent, exponent)
    return layer


def test_it_lies_between_the_average_and_the_maximum():
    torch.testing.assert_close(gem(1.0)(MAPS), MAPS.mean((2, 3)))
    torch.testing.assert_close(gem(200.0)(MAPS), MAPS.amax((2, 3)), rtol=0.05, atol=0)
    assert (gem(3.0)(MAPS) > MAPS.mean((2, 3))).all()
    assert gem(3.0, flat=False)(MAPS).shape == (4, 5, 1, 1)


def own() -> nn.Module:
    return build_network("cnn", 5, (64, 64), filters=[8, 8], norm="before", pool=[2, 2], global_pool=True)


NETWORKS = {
    "cnn": own,
    "resnet18": lambda: build_network("resnet18", 5, (64, 64)),
    "efficientnet_b0": lambda: build_network("efficientnet_b0", 5, (64, 64)),
    "lite0": lambda: build_network("lite0", 5, (64, 64)),
    "timm": lambda: timm.create_model("resnet10t", num_classes=5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_replaces_the_last_global_average_of_a_network_and_predicts_fast_as_it_does_plainly(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    images = torch.rand(4, 3, 64, 64)
    with torch.inference_mode():
        before = network.eval()(images)
        pooled = with_gem(network, name)
        layers = [layer for layer in pooled.modules() if isinstance(layer, GeM)]
        assert len(layers) == 1 and not torch.allclose(pooled(images), before)
        with mixed_precision(CPU):
            fast = prepared(pooled, CPU, images)(images).float()
        torch.testing.assert_close(fast, pooled(images), rtol=0.05, atol=0.05)
        nn.init.ones_(layers[0].exponent)
        torch.testing.assert_close(pooled(images), before, rtol=1e-3, atol=1e-3)


def test_imagenet_weights_are_those_of_the_network_without_it():
    pooled, plain = with_gem(build_network("lite0", 5, (64, 64)), "lite0"), build_network("lite0", 5, (64, 64))
    assert differences(pooled.state_dict(), plain.state_dict()) == ""
    assert last_child(pooled) == last_child(plain) == "fc"


def test_a_network_without_such_a_layer_is_refused():
    with pytest.raises(UserError, match="network vgg: it has no layer of global average pooling; remove pooling"):
        with_gem(build_network("vgg", 5, (64, 64), conv_dropout=0.6, head_dropout=0.7), "vgg")


def test_a_recipe_with_it_learns_the_exponent_and_its_saved_network_says_the_same(tmp_path):
    recipe = load_recipe(RECIPES / "fashion-cnn.toml").model_dump()
    network = {"name": "cnn", "filters": [8, 12], "norm": "before", "pool": [2, 1], "global_pool": True}
    small = NeuralRecipe(**recipe | {"network": network, "pooling": "gem", "batch_size": 16})
    model = NeuralNetwork(small, CLASSES, tmp_path, plan=NetworkPlan(epochs=3)).fit(*SAMPLE)
    (layer,) = (each for each in model.network.modules() if isinstance(each, GeM))
    assert layer.exponent.item() != 3.0
    model.save(tmp_path)
    found = model.predict_proba(SAMPLE[2])
    np.testing.assert_array_equal(NeuralNetwork.load(tmp_path).predict_proba(SAMPLE[2]), found)
