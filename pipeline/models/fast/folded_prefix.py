"""The start of a network that does not learn: computed as in prediction, while the rest learns from what it gives."""

from operator import attrgetter

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx.passes.split_module import split_module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import stochastic_depth

from pipeline.models.fast.folding import layer_of
from pipeline.models.fast.inference import prepared

START, REST = 0, 1


def with_folded_prefix(network: nn.Module, device: torch.device) -> nn.Module:
    """The network in training mode, sharing all that learns; it answers the same but for rounding.

    The start reaches to the first layer that learns, or that is random in training. The network itself is returned
    where there is no batch norm before that, as then little is gained.
    """
    traced = fx.GraphModule(network, _Tracer().trace(network))
    part = _parts(traced)
    if not any(place == START and isinstance(layer_of(traced, node), _BatchNorm) for node, place in part.items()):
        return network
    parted = split_module(traced, None, part.__getitem__)
    parted.submod_0 = prepared(parted.submod_0, device).requires_grad_(False)
    return parted


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Convolutions of our own are layers, too."""
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def _parts(traced: fx.GraphModule) -> dict[fx.Node, int]:
    """The part of the network that each node belongs to: the rest is what changes in training, and all after it."""
    part: dict[fx.Node, int] = {}
    for node in traced.graph.nodes:
        after_rest = any(part[before] == REST for before in node.all_input_nodes)
        part[node] = REST if after_rest or _changes(traced, node) else START
    return part


def _changes(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether what the node computes from its input differs from one step of the training to the next."""
    if node.op == "get_attr":
        return attrgetter(node.target)(traced).requires_grad
    layer = layer_of(traced, node)
    if layer is None:
        return node.target in (F.dropout, stochastic_depth)
    learns = any(weights.requires_grad for weights in layer.parameters())
    return learns or (layer.training and isinstance(layer, _BatchNorm | _DropoutNd))
