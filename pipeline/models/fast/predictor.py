"""Predictor: what a trained network answers, the one way for validation, test images and features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.data.augment import View, resized
from pipeline.data.cache import ImageCache, Size, rows_of
from pipeline.models.fast.folding import FUSES, activations_fused, folded
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.prefetch import prefetched
from pipeline.runtime import distributed
from pipeline.runtime.devices import mixed_precision, product_precision

PIXELS_AT_ONCE = 2**19  # in a batch: what a layer leaves for the next one then fits a large cache
AS_IT_IS: tuple[View, ...] = (np.asarray,)


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network with all that it takes to predict; predicting leaves the network as it is.

    normalise: makes of an image's bytes what the network sees.
    input_size: (height, width) in pixels that the network takes.
    """

    network: nn.Module
    normalise: Normalisation
    input_size: Size
    device: torch.device

    def predict_proba(
        self, images: np.ndarray | ImageCache, views: Sequence[View] = AS_IT_IS, title: str | None = None
    ) -> np.ndarray:
        """Probabilities float32 ``[N, classes]``, averaged over the views.

        images: uint8 ``[N, H, W, 3]``. title: shows a progress bar. Of several ranks each predicts a part.
        """

        def compute(rows: slice) -> np.ndarray:
            answers = self.prepared().outputs(rows_of(images, rows), views, title)
            return torch.cat([logits.softmax(2).mean(0).cpu() for logits in answers]).numpy()

        return distributed.shared_out(compute, len(images))

    def prepared(self) -> "Predictor":
        """The same with a copy of the network as ``prepared`` makes it; it no longer follows the network's weights."""
        return replace(self, network=prepared(self.network, self.device))

    def outputs(
        self, images: np.ndarray | ImageCache, views: Sequence[View] = AS_IT_IS, title: str | None = None
    ) -> Iterator[Tensor]:
        """What the network gives, to be called once it is prepared: float32 ``[views, n, D]``, batch by batch."""
        batches = ([np.ascontiguousarray(view(batch)) for view in views] for batch in self.batches(images))
        count = -(-len(images) // self.batch_size)
        bar = tqdm(prefetched(batches), title, count, unit="batch", leave=False, disable=title is None)
        for batch in bar:
            with torch.inference_mode(), mixed_precision(self.device):
                answers = torch.stack([self.network(self.normalise(view, self.device)).float() for view in batch])
            yield answers

    def batches(self, images: np.ndarray | ImageCache) -> Iterator[np.ndarray]:
        """The images, uint8 ``[N, H, W, 3]``, at the size that the network takes, ``batch_size`` of them at a time."""
        starts = range(0, len(images), self.batch_size)
        return (resized(images[start : start + starts.step], *self.input_size) for start in starts)

    @property
    def batch_size(self) -> int:
        """How many images are predicted at once."""
        height, width = self.input_size
        return max(1, PIXELS_AT_ONCE // (height * width))


def prepared(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy for prediction alone: fewer passes over memory, weights in the precision that products are computed in."""
    ready = folded(network)
    if device.type == "cpu" and FUSES:
        ready = activations_fused(ready)
    for layer in ready.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(product_precision(device))
    return ready.to(device).to(memory_format=torch.channels_last)
