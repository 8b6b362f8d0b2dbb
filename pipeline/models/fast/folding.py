"""Folds a trained network so that it passes over memory less often: the same predictions in less time."""

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.fast.depthwise import as_built

# A private operator of PyTorch, unchanged from 2.10 to 2.14. If it is missing, networks are folded but not fused.
FUSES = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
ACTIVATIONS = {  # oneDNN's names and arguments
    nn.ReLU: ("relu", []),
    F.relu: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    F.relu6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
}
CHANNEL_BY_CHANNEL = (nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Flatten)


def folded(network: nn.Module) -> fx.GraphModule:
    """A copy in evaluation mode whose batch norms are folded into neighbouring layers wherever that is exact.

    A batch norm is folded into the convolution or dense layer before it, otherwise into the one after it (see
    ``_layer_after``). Each layer must be used only once per forward pass.
    """
    copied = in_standard_layers(for_evaluation(network))
    traced = cast(fx.GraphModule, fuse(traced_by_layers(copied), inplace=True, no_trace=True))
    for node in list(traced.graph.nodes):
        if isinstance(norm := layer_of(traced, node), _BatchNorm):
            scale, shift = _scale_and_shift(norm)
            if (layer := _layer_after(traced, node, keeps_order=bool((scale > 0).all()))) is not None:
                _work_in(layer, scale, shift)
                _leave_out(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Treat convolutions and batch norms of this project's and of libraries' own kinds as single layers too."""
        return isinstance(module, nn.Conv2d | _BatchNorm) or super().is_leaf_module(module, name)


def traced_by_layers(network: nn.Module) -> fx.GraphModule:
    """The network as a graph of its layers, which are its own. Raises errors of many types if it cannot be traced."""
    return fx.GraphModule(network, _Tracer().trace(network))


def in_standard_layers(network: nn.Module) -> nn.Module:
    """Put PyTorch's own layers in the place of timm's that compute the same, in place. Returns the network itself.

    They are told by their names, as importing timm takes seconds.
    """
    for name, layer in list(network.named_modules()):
        parts: Any = layer
        if type(layer).__name__ == "BatchNormAct2d":
            layer.__class__ = nn.BatchNorm2d
            network.set_submodule(name, nn.Sequential(layer, parts.drop, parts.act))
        elif type(layer).__name__ == "Conv2dSame" and set(parts.dilation) == {1}:
            layer.__class__ = nn.Conv2d
            network.set_submodule(name, nn.Sequential(SamePadding(parts.kernel_size, parts.stride), layer))
    return network


class SamePadding(nn.Module):
    """The padding of a convolution as in TensorFlow, see ``same_padded``."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, images: Tensor) -> Tensor:
        return same_padded(images, self.kernel, self.stride)


@fx.wrap  # image sizes are unknown during tracing
def same_padded(images: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """The images padded as in TensorFlow: an odd pixel of padding goes to the bottom or the right."""
    padding: list[int] = []
    for side, width, step in zip(images.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):  # the last side first
        needed = max(0, (-(-side // step) - 1) * step + width - side)
        padding += [needed // 2, needed - needed // 2]
    return F.pad(images, padding)


def for_evaluation(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, without what only training needs."""
    copied = as_built(copy.deepcopy(network)).eval()
    if uses_grad_checkpointing(copied):
        copied.set_grad_checkpointing(False)  # type: ignore[operator]  # of timm
    return copied


def uses_grad_checkpointing(network: nn.Module) -> bool:
    """Whether timm's network computes activations again in the backward pass."""
    return any(getattr(module, "grad_checkpointing", False) for module in network.modules())


def _scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """``[channels]`` each: in evaluation mode the batch norm computes ``scale * x + shift``."""
    scale = norm.weight * torch.rsqrt(norm.get_buffer("running_var") + norm.eps)
    return scale, norm.bias - norm.get_buffer("running_mean") * scale


def _layer_after(traced: fx.GraphModule, node: fx.Node, keeps_order: bool) -> nn.Conv2d | nn.Linear | None:
    """The convolution or dense layer to fold the following batch norm ``node`` into; None if there is none.

    It must be the only consumer of the batch norm's output.
    keeps_order: whether the largest of several values is still the largest after the batch norm.
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
    """Whether a batch norm can be folded into the layer; not if it pads, as the norm does not apply to padding.

    Libraries' own kinds of layers may compute something else.
    """
    if type(layer) is nn.Conv2d:
        return layer.padding in ("valid", (0, 0)) and layer.groups == 1
    return type(layer) is nn.Linear


def _commutes(layer: nn.Module | None, keeps_order: bool) -> bool:
    """Whether the layer and the batch norm can be swapped; max-pooling allows it only if order is kept."""
    return isinstance(layer, CHANNEL_BY_CHANNEL) and (keeps_order or not isinstance(layer, nn.MaxPool2d))


@torch.no_grad()
def _work_in(layer: nn.Conv2d | nn.Linear, scale: Tensor, shift: Tensor) -> None:
    """Change the layer, in place, to compute from x what it computed from ``scale * x + shift``.

    scale, shift: ``[channels]``.
    """
    weight = layer.weight.view(*layer.weight.shape[:2], -1)  # outputs, inputs, pixels of the kernel
    values = weight.shape[1] // len(scale)  # per channel; more than one if a dense layer takes a flattened feature map
    scale, shift = scale.repeat_interleave(values), shift.repeat_interleave(values)
    offset = weight.sum(2) @ shift
    layer.bias = nn.Parameter(offset if layer.bias is None else layer.bias + offset)
    weight.mul_(scale[:, None])


def activations_fused(traced: fx.GraphModule) -> fx.GraphModule:
    """The network for the CPU, with each activation that follows a convolution fused into it."""
    for node in list(traced.graph.nodes):
        activation = ACTIVATIONS.get(type(layer_of(traced, node)), ACTIVATIONS.get(node.target))
        if activation is None or len((before := _input(node)).users) > 1:
            continue
        if type(convolution := layer_of(traced, before)) is nn.Conv2d:
            traced.set_submodule(str(before.target), ActivatedConv2d(convolution, *activation))
            _leave_out(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


class ActivatedConv2d(nn.Module):
    """A convolution and its activation in one pass over memory, with the operator that torch.compile uses on CPUs."""

    def __init__(self, convolution: nn.Conv2d, activation: str, arguments: list[float]) -> None:
        super().__init__()
        self.convolution, self.activation, self.arguments = convolution, activation, arguments
        self.padding = _pixels_padded(convolution)

    def forward(self, images: Tensor) -> Tensor:
        layer = self.convolution
        return torch.ops.mkldnn._convolution_pointwise(
            images.to(layer.weight.dtype),  # autocast does not handle this operator
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
    """Pixels of padding on each side: [above and below, left and right]."""
    if not isinstance(convolution.padding, str):
        return list(convolution.padding)
    return [0, 0] if convolution.padding == "valid" else [side // 2 for side in convolution.kernel_size]


def layer_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that the node of a traced network calls; None if it calls none."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _input(node: fx.Node) -> fx.Node:
    """The node's first input."""
    return cast(fx.Node, node.args[0])


def _leave_out(traced: fx.GraphModule, node: fx.Node) -> None:
    """Remove the node; its users take its input instead."""
    node.replace_all_uses_with(_input(node))
    traced.graph.erase_node(node)
