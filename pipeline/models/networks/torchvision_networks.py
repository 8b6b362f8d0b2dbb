"""torchvision's networks for classification, as torchvision describes them."""

import re
from functools import partial
from types import MethodType
from typing import Any

import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.vision_transformer import interpolate_embeddings

from pipeline.data.cache import Size
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.networks.backbones import Backbone, WeightsFile, unknown_network
from pipeline.models.networks.cnn import dense_head
from pipeline.models.networks.state import State, last_child
from pipeline.models.recipe import TORCHVISION

CLASSES = 1000
SIZE_ARGUMENTS = {"vit": "image_size", "maxvit": "input_size"}  # of networks that take images of one size
WITHOUT_AUXILIARY = {"aux_logits": False, "init_weights": False, "transform_input": True}
ARGUMENTS = {"googlenet": WITHOUT_AUXILIARY, "inception_v3": WITHOUT_AUXILIARY}
OLD_NAME = re.compile(
    r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)"
)  # DenseNet's weights were published with one dot more


def from_torchvision(name: str) -> Backbone:
    """The network of that name. Raises UserError if there is none.

    Without the prefix, its weights are the first that torchvision published, with it the best.
    """
    own_name = name.removeprefix(TORCHVISION)
    known = list_models(module=torchvision.models)
    if own_name not in known:
        raise unknown_network(name, TORCHVISION, known)
    weights = get_model_weights(own_name)
    best = weights["DEFAULT"] if name.startswith(TORCHVISION) else weights["IMAGENET1K_V1"]
    file = best.url.rpartition("/")[2]
    seen = best.transforms()
    return Backbone(
        partial(create, own_name),
        classes=CLASSES,
        input_size=(seen.crop_size[0],) * 2,
        takes_one_size=_family(own_name) in SIZE_ARGUMENTS,
        normalisation=Normalisation.of_unit_range(seen.mean, seen.std),
        weights=WeightsFile(name, file, best.meta["_file_size"], (best.url,), architecture=own_name),
        converted=partial(converted, own_name),
    )


def create(
    name: str,
    classes: int,
    shape: Size = (224, 224),
    dense: tuple[int, ...] = (),
    dropout: float = 0.0,
    drop_path: float | None = None,
    **arguments: Any,
) -> nn.Module:
    """torchvision's network of that name with ``classes`` outputs and random weights.

    dense: widths of hidden layers, with ReLU and dropout, that replace the network's last child; empty to keep it.
    drop_path: most of the chance of a residual branch to be left out in a training step; ignored without such branches.
    arguments: any other of torchvision's.
    """
    arguments = ARGUMENTS.get(name, {}) | arguments
    if (family := _family(name)) in SIZE_ARGUMENTS:
        arguments[SIZE_ARGUMENTS[family]] = shape[0] if family == "vit" else shape
    if drop_path is not None and family in ("efficientnet", "convnext", "swin", "maxvit"):
        arguments["stochastic_depth_prob"] = drop_path
    network = get_model(name, weights=None, num_classes=classes, **arguments)
    if family.startswith("mnasnet"):  # it would not load weights without the number of a version
        network._load_from_state_dict = MethodType(nn.Module._load_from_state_dict, network)
    if dense:
        head = last_child(network)
        inputs = next(module for module in getattr(network, head).modules() if isinstance(module, nn.Linear))
        setattr(network, head, dense_head(inputs.in_features, classes, dense, dropout))
    return network


def _family(name: str) -> str:
    return name.partition("_")[0]


def converted(name: str, state: State, classes: int, shape: Size, **arguments: Any) -> State:
    """Published weights, in the form of the network that ``create`` builds. Raises RuntimeError if they do not fit."""
    if not classes:
        raise RuntimeError("the weights of the head are missing")
    state = {OLD_NAME.sub(r"\1\2", key): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not key.lower().startswith("aux")}  # only ImageNet needs it
    if "encoder.pos_embedding" in state:
        state = dict(interpolate_embeddings(shape[0], state["conv_proj.weight"].shape[-1], state))
    network = create(name, classes, shape, **arguments)
    network.load_state_dict(state)
    return network.state_dict()
