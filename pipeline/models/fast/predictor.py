"""Prediction: what a trained network answers, the one way for validation, test images and features."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.data.augment import View, resized
from pipeline.data.cache import ImageCache, rows_of
from pipeline.models.fast.folding import FUSES, activations_fused, folded
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.prefetch import prefetched
from pipeline.runtime import distributed
from pipeline.runtime.devices import mixed_precision, product_precision

PIXELS_AT_ONCE = 2**19  # in a batch: what a layer leaves for the next one then fits a large cache
AS_IT_IS: tuple[View, ...] = (np.asarray,)


def predict(
    network: nn.Module,
    images: np.ndarray | ImageCache,
    normalise: Normalisation,
    full: tuple[int, int],
    device: torch.device,
    views: Sequence[View] = AS_IT_IS,
    title: str | None = None,
) -> np.ndarray:
    """Probabilities float32 ``[N, classes]``, averaged over the views. The network stays as it is.

    images: uint8 ``[N, H, W, 3]``. full: (height, width) that the network takes. title: shows a progress bar.
    Of several ranks each predicts a part of the images.
    """

    def compute(rows: slice) -> np.ndarray:
        part = rows_of(images, rows)
        answers = outputs(prepared(network, device), part, normalise, full, device, views, title)
        return torch.cat([logits.softmax(2).mean(0).cpu() for logits in answers]).numpy()

    return distributed.shared_out(compute, len(images))


def prepared(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy for prediction alone: fewer passes over memory, weights in the precision that products are computed in."""
    ready = folded(network)
    if device.type == "cpu" and FUSES:
        ready = activations_fused(ready)
    for layer in ready.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(product_precision(device))
    return ready.to(device, memory_format=torch.channels_last)


def outputs(
    network: nn.Module,
    images: np.ndarray | ImageCache,
    normalise: Normalisation,
    full: tuple[int, int],
    device: torch.device,
    views: Sequence[View] = AS_IT_IS,
    title: str | None = None,
) -> Iterator[Tensor]:
    """What a prepared network gives, float32 ``[views, n, D]`` for a batch of n images after the other."""
    batches = ([np.ascontiguousarray(view(batch)) for view in views] for batch in resized_batches(images, full))
    count = -(-len(images) // batch_size(full))
    bar = tqdm(prefetched(batches), title, count, unit="batch", leave=False, disable=title is None)
    for batch in bar:
        with torch.inference_mode(), mixed_precision(device):
            answers = torch.stack([network(normalise(view, device)).float() for view in batch])
        yield answers


def resized_batches(images: np.ndarray | ImageCache, full: tuple[int, int]) -> Iterator[np.ndarray]:
    """The images, uint8 ``[N, H, W, 3]``, at (height, width) ``full``, as many at once as are predicted at once."""
    starts = range(0, len(images), batch_size(full))
    return (resized(images[start : start + starts.step], *full) for start in starts)


def batch_size(full: tuple[int, int]) -> int:
    """How many images of (height, width) ``full`` are predicted at once."""
    return max(1, PIXELS_AT_ONCE // (full[0] * full[1]))
