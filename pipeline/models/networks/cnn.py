"""Small plain convolutional networks out of the reports."""

from torch import nn


def cnn32(classes: int) -> nn.Sequential:
    """Three unpadded 3x3 convolutions of 32, 64 and 128 filters, then dense 256.

    Input ``[N, 3, 32, 32]`` in [0, 1], output logits ``[N, classes]``. With 96 classes 642,912 trainable
    parameters, as in the first Deep Hallucination report (ReLU before batch norm, as Keras code writes it).
    """
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.BatchNorm2d(64), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 128, 3), nn.ReLU(), nn.BatchNorm2d(128)),
        nn.Flatten(),
        *(nn.Linear(128 * 4 * 4, 256), nn.ReLU()),
        nn.Linear(256, classes),
    )
