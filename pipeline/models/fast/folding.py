"""A trained network with fewer passes over memory: the same answers in less time."""

import copy
from typing import cast

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
    copied = as_built(copy.deepcopy(network)).eval()
    traced = cast(fx.GraphModule, fuse(copied, inplace=True, no_trace=True))  # no_trace: unless it is traced already
    for node in list(traced.graph.nodes):
        if isinstance(norm := layer_of(traced, node), _BatchNorm):
            scale, shift = _scale_and_shift(norm)
            if (layer := _layer_after(traced, node, keeps_order=bool((scale > 0).all()))) is not None:
                _work_in(layer, scale, shift)
                _leave_out(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """``[channels]`` each: the batch norm answers ``scale * x + shift`` in evaluation mode."""
    scale = norm.weight * torch.rsqrt(norm.get_buffer("running_var") + norm.eps)
    return scale, norm.bias - norm.get_buffer("running_mean") * scale


def _layer_after(traced: fx.GraphModule, node: fx.Node, keeps_order: bool) -> nn.Conv2d | nn.Linear | None:
    """The convolution or dense layer that alone sees what the batch norm ``node`` gives; None if it cannot take it in.

    keeps_order: whether the largest of several values still is the largest after the batch norm.
    """
    while len(node.users) == 1:
        (node,) = node.users
        layer = layer_of(traced, node)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            return layer if _can_take_in(layer) else None
        if not _commutes(layer, keeps_order):
            return None
    return None


def _can_take_in(layer: nn.Conv2d | nn.Linear) -> bool:
    """A convolution that pads cannot: what it pads with has not been through the batch norm."""
    return isinstance(layer, nn.Linear) or (layer.padding in ("valid", (0, 0)) and layer.groups == 1)


def _commutes(layer: nn.Module | None, keeps_order: bool) -> bool:
    """Whether the layer answers the same before the batch norm as after it; max-pooling does where order is kept."""
    return isinstance(layer, CHANNEL_BY_CHANNEL) and (keeps_order or not isinstance(layer, nn.MaxPool2d))


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
        if activation is None or len((before := _input(node)).users) > 1:
            continue
        if isinstance(convolution := layer_of(traced, before), nn.Conv2d):
            traced.set_submodule(str(before.target), ActivatedConv2d(convolution, *activation))
            _leave_out(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class ActivatedConv2d(nn.Module):
    """A convolution and its activation in one pass over memory, by the operator that torch.compile uses on a CPU."""

    def __init__(self, convolution: nn.Conv2d, activation: str, arguments: list[float]) -> None:
        super().__init__()
        self.convolution, self.activation, self.arguments = convolution, activation, arguments
        self.padding = _pixels_padded(convolution)

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


def _pixels_padded(convolution: nn.Conv2d) -> list[int]:
    """Above and below, left and right."""
    if not isinstance(convolution.padding, str):
        return list(convolution.padding)
    return [0, 0] if convolution.padding == "valid" else [side // 2 for side in convolution.kernel_size]


def layer_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that the node of a traced network calls; None if it calls none."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _input(node: fx.Node) -> fx.Node:
    """The node that the layer or function of this one is called on."""
    return cast(fx.Node, node.args[0])


def _leave_out(traced: fx.GraphModule, node: fx.Node) -> None:
    node.replace_all_uses_with(_input(node))
    traced.graph.erase_node(node)
