"""VGG16-like networks with batch norm and heavy dropout, from the second Deep Hallucination report."""

from collections import OrderedDict

from torch import nn

from pipeline.models.networks.cnn import dense_head, flat_size

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HEAD = (4069, 4069, 512)  # 4069 as in the report, not 4096 as in VGG


def vgg(
    classes: int, shape: tuple[int, int], conv_dropout: float, head_dropout: float, channels: int = 3
) -> nn.Sequential:
    """Thirteen 3x3 convolutions in five groups and a dense head 4069-4069-512.

    The input is ``[N, channels, H, W]`` of ``shape`` (H, W), each side at least 34 pixels (five halvings must leave one
    pixel); the output is logits ``[N, classes]``. The first convolution is unpadded, as in the report.

    conv_dropout, head_dropout: dropout rates after each group and before the output layer.
    Raises RuntimeError if the images are too small.
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
