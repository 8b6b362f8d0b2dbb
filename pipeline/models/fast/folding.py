"""A trained network with fewer passes over memory: the same answers in less time."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.fast.depthwise import as_built

# The operator is an inner one of PyTorch, the same from 2.10 to 2.14: where it is missing, networks are only folded.
FUSES = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
ACTIVATIONS = {  # what oneDNN calls them, and their arguments
    nn.ReLU: ("relu", []),
    F.relu: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    F.relu6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
}
CHANNEL_BY_CHANNEL = (nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Flatten)


def folded(network: nn.Module) -> fx.GraphModule:
    """A copy in evaluation mode, its batch norms worked into the layers beside them wherever that is exact.

    Into the convolution or dense layer before them, else into the one after them (see ``_layer_after``). Each layer
    must be used once in a pass.
    """
    traced = fuse(as_built(copy.deepcopy(network)).eval(), inplace=True, no_trace=True)  # if it is traced already
    for node in list(traced.graph.nodes):
        if isinstance(norm := layer_of(traced, node), _BatchNorm):
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            if (layer := _layer_after(traced, node, keeps_order=bool((scale > 0).all()))) is not None:
                _work_in(layer, scale, norm.bias - norm.running_mean * scale)
                _leave_out(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _layer_after(traced: fx.GraphModule, node: fx.Node, keeps_order: bool) -> nn.Conv2d | nn.Linear | None:
    """The convolution or dense layer that alone sees what the node gives, channel by channel; None if there is none.

    A convolution that pads is none: what it pads with has not been through the batch norm. keeps_order: whether the
    largest of several values still is the largest after the batch norm, as max-pooling needs it.
    """
    while len(node.users) == 1:
        (node,) = node.users
        layer = layer_of(traced, node)
        if isinstance(layer, nn.Linear):
            return layer
        if isinstance(layer, nn.Conv2d):
            return layer if layer.padding in ("valid", (0, 0)) and layer.groups == 1 else None
        if not isinstance(layer, CHANNEL_BY_CHANNEL) or (isinstance(layer, nn.MaxPool2d) and not keeps_order):
            return None
    return None


@torch.no_grad()
def _work_in(layer: nn.Conv2d | nn.Linear, scale: Tensor, shift: Tensor) -> None:
    """Have the layer see ``scale * x + shift`` where it saw x. scale, shift: ``[channels]``."""
    weight = layer.weight.view(*layer.weight.shape[:2], -1)  # outputs, inputs, pixels of the kernel
    values = weight.shape[1] // len(scale)  # of each channel, where a dense layer sees a flattened map
    scale, shift = scale.repeat_interleave(values), shift.repeat_interleave(values)
    offset = weight.sum(2) @ shift
    layer.bias = nn.Parameter(offset if layer.bias is None else layer.bias + offset)
    weight.mul_(scale[:, None])


def activations_fused(traced: fx.GraphModule) -> fx.GraphModule:
    """The same network for the CPU, each activation right after a convolution computed along with it."""
    for node in list(traced.graph.nodes):
        activation = ACTIVATIONS.get(type(layer_of(traced, node)), ACTIVATIONS.get(node.target))
        if activation is not None and len(node.args[0].users) == 1:
            before = node.args[0]
            if isinstance(convolution := layer_of(traced, before), nn.Conv2d):
                traced.set_submodule(before.target, ActivatedConv2d(convolution, *activation))
                _leave_out(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class ActivatedConv2d(nn.Module):
    """A convolution and its activation in one pass over memory, by the operator that torch.compile uses on a CPU."""

    def __init__(self, convolution: nn.Conv2d, activation: str, arguments: list[float]) -> None:
        super().__init__()
        self.convolution, self.activation, self.arguments = convolution, activation, arguments
        named = {"valid": [0, 0], "same": [side // 2 for side in convolution.kernel_size]}
        self.padding = named.get(convolution.padding) or list(convolution.padding)

    def forward(self, images: Tensor) -> Tensor:
        layer = self.convolution
        return torch.ops.mkldnn._convolution_pointwise(
            images.to(layer.weight.dtype),  # autocast does not know this operator
            layer.weight,
            layer.bias,
            self.padding,
            layer.stride,
            layer.dilation,
            layer.groups,
            self.activation,
            self.arguments,
            "",
        )


def layer_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that the node of a traced network calls; None if it calls none."""
    return traced.get_submodule(node.target) if node.op == "call_module" else None


def _leave_out(traced: fx.GraphModule, node: fx.Node) -> None:
    node.replace_all_uses_with(node.args[0])
    traced.graph.erase_node(node)
