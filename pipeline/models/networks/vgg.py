"""VGG16-like networks with batch norm and heavy dropout, out of the second Deep Hallucination report."""

from torch import nn

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HEAD = (4069, 4069, 512)  # the report's own number, not VGG's 4096


def vgg(classes: int, shape: tuple[int, int], conv_dropout: float, head_dropout: float) -> nn.Sequential:
    """Thirteen 3x3 convolutions in five groups and a dense head 4069-4069-512.

    Input ``[N, 3, H, W]`` with a ``shape`` (H, W) of at least 34 each (five halvings must leave a pixel), output logits
    ``[N, classes]``. The very first convolution is unpadded, as in the report.
    """
    layers: list[nn.Module] = []
    channels, (height, width) = 3, shape
    for number, group in enumerate(GROUPS):
        for position, filters in enumerate(group):
            padding = 0 if number == position == 0 else 1
            layers += [nn.Conv2d(channels, filters, 3, padding=padding), nn.ReLU(), nn.BatchNorm2d(filters)]
            channels = filters
        layers += [nn.MaxPool2d(2), nn.Dropout(conv_dropout)]
    features = channels * ((height - 2) // 32) * ((width - 2) // 32)
    return nn.Sequential(*layers, nn.Flatten(), *_head(features, classes, head_dropout))


def _head(features: int, classes: int, dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in HEAD:
        layers += [nn.Linear(features, width), nn.ReLU()]
        features = width
    return [*layers, nn.BatchNorm1d(features), nn.Dropout(dropout), nn.Linear(features, classes)]
