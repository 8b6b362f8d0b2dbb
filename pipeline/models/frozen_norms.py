"""Batch norms that learn what they scale and shift by, but keep their averages: part of the convolutions before them.

A network that is trained on then passes over memory less often, forward and backward, and answers in training as it
does in prediction.
"""

import torch
from torch import Tensor, fx, nn

from pipeline.models.folding import layer_at, leave_out


class NormedConv2d(nn.Module):
    """A convolution and the batch norm after it, as they are in evaluation mode; the weights of both learn."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, norm

    def forward(self, images: Tensor) -> Tensor:
        convolution, norm = self.convolution, self.norm
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        mean = norm.running_mean if convolution.bias is None else norm.running_mean - convolution.bias
        weight = convolution.weight * scale[:, None, None, None]
        return convolution._conv_forward(images, weight, norm.bias - mean * scale)


def norms_worked_in(network: nn.Module) -> fx.GraphModule:
    """The network, its weights the same ones, whose batch norms after a convolution are computed along with it.

    Each layer must be used once in a pass.
    """
    traced = fx.GraphModule(network, _Tracer().trace(network))
    for node in list(traced.graph.nodes):
        if isinstance(norm := layer_at(traced, node), nn.BatchNorm2d) and len(node.args[0].users) == 1:
            before = node.args[0]
            if isinstance(convolution := layer_at(traced, before), nn.Conv2d):
                traced.set_submodule(before.target, NormedConv2d(convolution, norm))
                leave_out(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class _Tracer(fx.Tracer):
    """Takes each convolution as a whole, be it of PyTorch or one that learns in float32."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)
