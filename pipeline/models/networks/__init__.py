"""The networks: layers and shapes alone; nothing here reads a file, trains or prints."""

from torch import nn

from pipeline.models.networks.cnn import cnn32
from pipeline.models.networks.sprint import Sprint
from pipeline.models.networks.vgg import vgg

NETWORKS = {"cnn32": cnn32, "sprint": Sprint, "vgg": vgg}


def build_network(name: str, classes: int, shape: tuple[int, int], **arguments) -> nn.Module:
    """The network of that name for ``classes`` classes and images of (height, width) ``shape``.

    Networks that take any size are not told the shape. Raises KeyError for a name that is not there.
    """
    if name == "vgg":
        arguments["shape"] = shape
    return NETWORKS[name](classes, **arguments)
