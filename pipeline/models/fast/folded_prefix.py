"""Folds the frozen start of a network as for prediction, while the rest is trained on the start's output."""

from operator import attrgetter

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pipeline.models.fast.folding import layer_of, traced_by_layers, uses_grad_checkpointing
from pipeline.models.fast.predictor import prepared
from pipeline.runtime.memory import raise_shortage

START, REST = 0, 1


def with_folded_prefix(network: nn.Module, device: torch.device, images: Tensor) -> nn.Module:
    """The network for training, with a fast start: equal output except for rounding, and the same trainable weights.

    The start ends before the first layer that is trained or that is random in training. If it contains no batch norm,
    little would be gained, and the network itself is returned; so it is if torch.fx cannot trace it.
    images: see ``prepared``.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not any(map(is_frozen, norms)) or uses_grad_checkpointing(network):
        return network
    try:
        traced = traced_by_layers(network)
    except Exception as error:  # of many types; ``prepared`` says so when the network is validated
        raise_shortage(error)
        return network
    parts = _parts(traced)
    if not any(part == START and isinstance(layer_of(traced, node), _BatchNorm) for node, part in parts.items()):
        return network
    split = split_module(traced, network, parts.__getitem__)
    start = split.get_submodule("submod_0")
    split.set_submodule("submod_0", prepared(start, device, images).requires_grad_(False))
    return split


def is_frozen(layer: nn.Module) -> bool:
    return not any(weights.requires_grad for weights in layer.parameters())


def _parts(traced: fx.GraphModule) -> dict[fx.Node, int]:
    """The part of each node: REST if its value changes during training or follows from one that does, else START."""
    parts: dict[fx.Node, int] = {}
    for node in traced.graph.nodes:  # in the order of computation, so the parts of a node's inputs are known
        follows_rest = any(parts[before] == REST for before in node.all_input_nodes)
        parts[node] = REST if follows_rest or _changes(traced, node) else START
    return parts


def _changes(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the node's output for the same input changes from one training step to the next."""
    if node.op == "get_attr":
        return attrgetter(str(node.target))(traced).requires_grad
    layer = layer_of(traced, node)
    if layer is None:
        is_drop_path = node.op == "call_method" and node.target in ("new_empty", "bernoulli_")  # timm's
        return is_drop_path or node.target is F.dropout or _is_stochastic_depth(node.target)
    return not is_frozen(layer) or (layer.training and isinstance(layer, _BatchNorm | _DropoutNd))


def _is_stochastic_depth(function: object) -> bool:
    """Whether it is torchvision's; compared by name, as importing torchvision takes a third of a command's start-up."""
    names = getattr(function, "__module__", ""), getattr(function, "__name__", "")
    return names == ("torchvision.ops.stochastic_depth", "stochastic_depth")
