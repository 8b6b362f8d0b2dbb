"""VGG16-like networks with batch norm and heavy dropout, out of the second Deep Hallucination report."""

from collections import OrderedDict

from torch import nn

from pipeline.models.networks.cnn import dense_head, flat_size

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HEAD = (4069, 4069, 512)  # the report's own number, not VGG's 4096


def vgg(
    classes: int, shape: tuple[int, int], conv_dropout: float, head_dropout: float, channels: int = 3
) -> nn.Sequential:
    """Thirteen 3x3 convolutions in five groups and a dense head 4069-4069-512.

    Input ``[N, channels, H, W]`` with a ``shape`` (H, W) of at least 34 each (five halvings must leave a pixel), output
    logits ``[N, classes]``. The very first convolution is unpadded, as in the report.
    """
    features = nn.Sequential()
    filters = channels
    for number, group in enumerate(GROUPS):
        for position, width in enumerate(group):
            padding = 0 if number == position == 0 else 1
            features.extend([nn.Conv2d(filters, width, 3, padding=padding), nn.ReLU(), nn.BatchNorm2d(width)])
            filters = width
        features.extend([nn.MaxPool2d(2), nn.Dropout(conv_dropout)])
    features.append(nn.Flatten())
    head = dense_head(flat_size(features, channels, shape), classes, HEAD, [0.0, 0.0, head_dropout], norm=True)
    return nn.Sequential(OrderedDict(features=features, head=head))
