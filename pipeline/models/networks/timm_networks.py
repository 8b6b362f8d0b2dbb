"""timm's networks, as timm describes them."""

import warnings
from functools import partial
from typing import Any

import timm
from huggingface_hub.constants import ENDPOINT
from torch import nn

from pipeline.data.cache import Size
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.networks.backbones import Backbone, WeightsFile, unknown_network
from pipeline.models.networks.state import SUFFIXES, State, hashless
from pipeline.models.recipe import TIMM

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # the safe one first


def from_timm(name: str) -> Backbone:
    """The network of that name, e.g. ``timm/convnext_tiny.fb_in22k_ft_in1k``. Raises UserError if there is none."""
    own_name = name.removeprefix(TIMM)
    try:
        facts: Any = timm.get_pretrained_cfg(own_name, allow_unregistered=False)
    except RuntimeError:
        raise unknown_network(name, TIMM, {*timm.list_models(), *timm.list_pretrained()}) from None
    return Backbone(
        partial(create, own_name),
        classes=facts.num_classes,
        input_size=facts.input_size[1:],
        takes_one_size=facts.fixed_input_size,
        normalisation=Normalisation.of_unit_range(facts.mean, facts.std),
        weights=_weights(name, facts) if facts.has_weights else None,
        converted=partial(converted, own_name),
    )


def _weights(name: str, facts: Any) -> WeightsFile:
    """The file on the Hugging Face Hub, else the one that the network's authors published."""
    own_name = f"{facts.architecture}.{facts.tag}" if facts.tag else facts.architecture
    default: Any = timm.get_pretrained_cfg(facts.architecture)
    architecture = facts.architecture if default.tag == facts.tag else own_name
    file = (facts.url or "").rpartition("/")[2]
    if not facts.hf_hub_id:
        return WeightsFile(name, file, urls=(facts.url,), further_names=(own_name,), architecture=architecture)
    return WeightsFile(
        name,
        f"{own_name}.safetensors",
        urls=tuple(f"{ENDPOINT}/{facts.hf_hub_id}/resolve/main/{each}" for each in HUB_FILES),
        repository=facts.hf_hub_id,
        further_names=(hashless(file),) if file.endswith(SUFFIXES) else (),
        architecture=architecture,
    )


def create(
    name: str,
    classes: int,
    shape: Size | None = None,
    drop_path: float | None = None,
    grad_checkpointing: bool = False,
    **arguments: Any,
) -> nn.Module:
    """timm's network of that name with ``classes`` outputs and random weights.

    shape: (height, width) of the images, for networks that are built for one size.
    drop_path: most of the chance of a residual branch to be left out in a training step; ignored without such branches.
    grad_checkpointing: compute activations again in the backward pass, for less memory and a third more time.
    arguments: any other of ``timm.create_model``.
    Raises TypeError for an unknown argument.
    """
    optional = {key: each for key, each in {"img_size": shape, "drop_path_rate": drop_path}.items() if each is not None}
    network = _created(name, optional, num_classes=classes, **arguments)
    if grad_checkpointing:
        network.set_grad_checkpointing()
    return network


def _created(name: str, optional: dict[str, Any], **arguments: Any) -> Any:
    """The network, without those of the optional arguments that it does not take."""
    try:
        return timm.create_model(name, **optional, **arguments)
    except TypeError as error:
        refused = [key for key in optional if f"'{key}'" in str(error)]
        if not refused:
            raise
    return _created(name, {key: each for key, each in optional.items() if key not in refused}, **arguments)


def converted(name: str, state: State, classes: int, **arguments: Any) -> State:
    """Weights in any form that timm reads, in the form of the network that ``create`` builds.

    Position embeddings are resampled to its image size. Raises RuntimeError if the weights do not fit.
    """
    given = {"state_dict": state, "num_classes": classes, "label_offset": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how timm resamples
        return create(name, classes, pretrained=True, pretrained_cfg_overlay=given, **arguments).state_dict()
