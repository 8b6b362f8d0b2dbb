"""Networks with ImageNet weights, and the functions that load trained weights into a network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from competition.errors import UserError
from pipeline.data.augment import View
from pipeline.data.cache import Images, Size
from pipeline.models.fast.predictor import AS_IT_IS, Predictor
from pipeline.models.networks.backbones import LITE_NORMALISATION, backbone
from pipeline.models.networks.cnn import dense_head
from pipeline.models.networks.lite0 import Lite0
from pipeline.models.networks.state import State, differences, heads
from pipeline.models.networks.weights import LITE0, find_weights, in_form_of, load_weights
from pipeline.models.recipe import AnyRecipe
from pipeline.runtime.time_limit import in_time

LITE0_SIZE = 128  # pixels a side


class Fusion(nn.Module):
    """Middle fusion: the feature maps of several trunks, pooled to one size and concatenated, feed one classifier.

    trunks: torchvision networks that keep their convolutions in ``features``.
    spatial: side of the maps after adaptive average pooling.
    dense, dropout: widths and dropout rate of the classifier's hidden layers.
    """

    def __init__(
        self, classes: int, trunks: tuple[str, ...], spatial: int, dense: tuple[int, ...], dropout: float
    ) -> None:
        super().__init__()
        self.spatial = spatial
        self.trunks = nn.ModuleDict({name: _trunk(name) for name in trunks})
        filters = sum(_filters(trunk) for trunk in self.trunks.values())
        self.head = dense_head(filters * spatial**2, classes, dense, dropout)

    def forward(self, images: Tensor) -> Tensor:
        maps = [F.adaptive_avg_pool2d(trunk(images), self.spatial) for trunk in self.trunks.values()]
        return self.head(torch.cat(maps, dim=1).flatten(1))


def _trunk(name: str) -> nn.Module:
    from pipeline.models.networks.torchvision_networks import create  # here, as importing torchvision is slow

    return create(name, 1).get_submodule("features")


def _filters(trunk: nn.Module) -> int:
    return [module.out_channels for module in trunk.modules() if isinstance(module, nn.Conv2d)][-1]


def output_layer(network: nn.Module) -> str:
    """The name of the last linear layer, which outputs the logits."""
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]


def recipe_weights(recipe: AnyRecipe, given: Path | None) -> list[Path]:
    """The files of ImageNet weights that the recipe needs, for its network or its features; empty if it needs none.

    given: the file or folder that is searched first. Raises UserError if a file is missing or damaged.
    """
    return [find_weights(network, given) for network in imagenet_networks(recipe)]


def imagenet_networks(recipe: AnyRecipe) -> tuple[str, ...]:
    """The networks whose ImageNet weights the recipe needs, for its own network or its features."""
    of_features = (LITE0,) if recipe.features is not None and recipe.features.name == LITE0 else ()
    return (*of_features, *recipe.pretrained_networks)


def start_from_imagenet(
    network: nn.Module, name: str, given: Path | None, shape: Size | None = None, **arguments: Any
) -> None:
    """Load ImageNet weights into the network; layers of the head whose shape differs keep their own weights.

    given: the file or folder that is searched first. shape, arguments: those that the network was built with.
    Raises UserError if the weights are missing or do not fit.
    """
    if isinstance(network, Fusion):
        for trunk, module in network.trunks.items():
            state = load_weights(trunk, given)
            module_state = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
            start_from(module, module_state, f"ImageNet weights of {trunk}", head="")
    else:
        state = in_form_of(network, name, load_weights(name, given), shape, **arguments)
        _check_size(network, state, name, shape)
        start_from(network, state, f"ImageNet weights of {name}", heads(network))


def _check_size(network: nn.Module, state: State, name: str, shape: Size | None) -> None:
    """Raises UserError if the weights do not fit since the network is built for images of another size than theirs."""
    found = backbone(name)
    if found is None or shape is None or not found.takes_one_size or shape == found.input_size:
        return
    if misfit := differences(network.state_dict(), state, heads(network)):
        fault = f"the ImageNet weights of {name} do not fit images of {shape[0]}x{shape[1]} pixels: {misfit}"
        raise UserError(f"{fault}; set input_size = {found.input_size[0]} in the recipe")


def start_from(network: nn.Module, state: Mapping[str, Tensor], what: str, head: str | Sequence[str]) -> None:
    """Copy a state into the network; parts of the head that are missing or have another shape are left out.

    what: the name of the state in the error message.
    head: names of children or layers; empty if everything must fit.
    Raises UserError if a weight outside the head is missing, superfluous or of another shape.
    """
    own = network.state_dict()
    if misfit := differences(own, state, head):
        raise UserError(f"the {what} do not fit the network: {misfit}; fix the recipe or use another file")
    fitting = {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}
    network.load_state_dict(fitting, strict=False)


def lite0_features(
    network: Lite0,
    images: Images,
    device: torch.device,
    title: str,
    size: Size = (LITE0_SIZE, LITE0_SIZE),
    views: Sequence[View] = AS_IT_IS,
) -> np.ndarray:
    """The features ``Lite0.pooled`` of uint8 images ``[N, H, W, 3]``, the mean over the views: float32 ``[N, 2024]``.

    images: an array or a cache. title: of the progress bar. size: (height, width) in pixels that they are resized to.
    """
    predictor = Predictor(_Pooled(network), LITE_NORMALISATION, size, device)
    outputs = in_time(predictor.prepared().outputs(images, views, title))
    return torch.cat([features.mean(0).cpu() for features in outputs]).numpy()


class _Pooled(nn.Module):
    """A network whose output is ``Lite0.pooled``."""

    def __init__(self, network: Lite0) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.pooled(images)
