"""What the tests of models share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@pytest.fixture
def as_if_trained() -> Callable[[nn.Module, Tensor], nn.Module]:
    """A function that has a new network see images ``[N, C, H, W]``, so that its answers to them differ.

    Its batch norms know the images' mean and variance, and shift and scale each channel in a way of its own; its
    logits are scaled to a deviation of 2 around 0.
    """

    @torch.no_grad()
    def as_if_trained(network: nn.Module, images: Tensor) -> nn.Module:
        torch.manual_seed(1)
        for norm in (module for module in network.modules() if isinstance(module, _BatchNorm)):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            norm.momentum = 1.0
        network.train()(images)
        logits = network.eval()(images)
        [*_, head] = (module for module in network.modules() if isinstance(module, nn.Linear))
        factor = 2 / logits.std(dim=0)
        head.weight.mul_(factor[:, None])
        if head.bias is not None:
            head.bias.sub_(logits.mean(dim=0)).mul_(factor)
        return network.train()

    return as_if_trained
