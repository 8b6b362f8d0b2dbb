import numpy as np
import pytest
import torch
from torch import nn

from pipeline.models.networks.registry import build_network
from pipeline.models.neural.grad_cam import grad_cam, map_layer


class Corners(nn.Module):
    """A network with an output for each half of the image: its brightness there."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 1, bias=False)
        nn.init.ones_(self.maps.weight)
        self.act = nn.ReLU(inplace=True)

    def forward(self, images):
        maps = self.act(self.maps(images))
        left, right = maps.clone(), maps.clone()
        left[:, 0, :, 4:], right[:, 1, :, :4] = 0, 0
        return torch.stack([left[:, 0].mean((1, 2)), right[:, 1].mean((1, 2))], 1)


def test_the_map_is_bright_where_the_answer_comes_from():
    images = torch.zeros(2, 1, 8, 8)
    images[0, :, 2, 1], images[1, :, 5, 6] = 1.0, 1.0
    found = grad_cam(Corners(), images, torch.eye(2))
    assert [np.unravel_index(each.argmax(), each.shape) for each in found] == [(2, 1), (5, 6)]
    assert found.max() == 1 and found.min() == 0


def test_what_lowers_the_answer_is_dark():
    images = torch.ones(1, 1, 8, 8)
    assert (grad_cam(Corners(), images, torch.tensor([[-1.0, 0.0]])) == 0).all()


@pytest.mark.parametrize(
    ("name", "arguments", "side"),
    [
        ("sprint", {"width": 8}, 32),
        ("lite0", {}, 64),
        ("resnet18", {}, 64),
        ("torchvision/convnext_tiny", {}, 64),
        ("timm/resnet10t", {}, 64),
        ("timm/convnext_atto", {}, 64),
    ],
)
def test_networks_with_convolutions_have_a_map(name, arguments, side):
    network = build_network(name, 3, (side, side), **arguments)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = grad_cam(network, torch.randn(2, 3, side, side), torch.eye(3)[:2])
    assert found.shape == (2, side, side)
    assert np.isfinite(found).all()
    assert network.training and all((before[key] == value).all() for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("name", "side"), [("timm/vit_tiny_patch16_224", 224), ("timm/swin_tiny_patch4_window7_224", 224)]
)
def test_a_transformer_has_none(name, side):
    network = build_network(name, 3, (side, side))
    assert grad_cam(network, torch.randn(1, 3, side, side), torch.eye(3)[:1]) is None


def test_of_small_images_an_earlier_map_shows_more():
    network = build_network("sprint", 3, (16, 16), width=8).eval()
    assert map_layer(network, torch.randn(1, 3, 16, 16)) == "groups.2.conv1"  # before its maps shrink to 2 x 2 cells
