"""The networks: layers and shapes alone; nothing here reads a file, trains or prints."""

from inspect import signature

from torch import nn

from competition.errors import UserError
from pipeline.models.networks.cnn import cnn32
from pipeline.models.networks.sprint import Sprint
from pipeline.models.networks.vgg import vgg

NETWORKS = {"cnn32": cnn32, "sprint": Sprint, "vgg": vgg}


def build_network(name: str, classes: int, shape: tuple[int, int], **arguments) -> nn.Module:
    """The network of that name for ``classes`` classes and images of (height, width) ``shape``.

    Networks that take any size are not told the shape. Raises UserError for a name or an argument that is not there.
    """
    if name not in NETWORKS:
        raise UserError(f"no network is called {name!r}; there are {', '.join(NETWORKS)}")
    if name == "vgg":
        arguments["shape"] = shape
    try:
        signature(NETWORKS[name]).bind(classes, **arguments)
    except TypeError as error:
        raise UserError(f"network {name}: {error}; mend the recipe") from None
    return NETWORKS[name](classes, **arguments)
