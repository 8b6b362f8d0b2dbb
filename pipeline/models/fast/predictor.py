"""Predictor: computes a network's output, in one way for validation, test images and features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from competition.progress import Progress
from competition.remembered import remembered
from competition.wording import printable
from pipeline.data.augment import View, resized
from pipeline.data.cache import Images, Size, rows_of
from pipeline.models.fast.data_parallel import FEWEST_ALONE, parts_of, threads_for
from pipeline.models.fast.folding import FUSES, activations_fused, folded, for_evaluation
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.prefetch import computed_ahead
from pipeline.runtime import distributed
from pipeline.runtime.devices import free_unused, loading_threads, mixed_precision, pinned, placed, product_precision
from pipeline.runtime.memory import is_out_of_memory, raise_shortage

ROUNDING = 0.01  # of the largest output: the most that folding may change one
PIXELS_AT_ONCE = 2**19  # per batch, so that a layer's output fits a large cache
ON_A_GPU = 16  # times as many keep it busy
AS_IT_IS: tuple[View, ...] = (np.asarray,)


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network with everything needed to predict; predicting does not change the network.

    normalise: turns an image's bytes into the network's input.
    input_size: (height, width) in pixels that the network takes.
    targets: the number of targets; the network's output holds as many choices for each.
    """

    network: nn.Module
    normalise: Normalisation
    input_size: Size
    device: torch.device
    targets: int = 1

    def predict_proba(self, images: Images, views: Sequence[View] = AS_IT_IS, title: str | None = None) -> np.ndarray:
        """Probabilities float32 ``[N, targets * classes]``, averaged over the views; those of each target sum to 1.

        images: uint8 ``[N, H, W, 3]``. title: of a progress bar; None shows no bar. Each rank predicts a part.
        """

        def compute(rows: slice) -> np.ndarray:
            outputs = self.prepared().outputs(rows_of(images, rows), views, title)
            return torch.cat([self.probabilities(logits).mean(0).cpu() for logits in outputs]).numpy()

        return distributed.shared_out(compute, len(images))

    def probabilities(self, logits: Tensor) -> Tensor:
        """The softmax over the choices of each target. logits: ``[..., targets * classes]``."""
        return logits.unflatten(-1, (self.targets, -1)).softmax(-1).flatten(-2)

    def prepared(self) -> "Predictor":
        """This predictor with a prepared copy of the network, which later changes of the weights do not affect."""
        return replace(self, network=prepared(self.network, self.device, self.noise))

    @property
    def noise(self) -> Tensor:
        """Two images of noise as the network takes them, always the same: float32 ``[2, channels, *input_size]``."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(2, self.normalise.channels, *self.input_size, generator=generator)

    def outputs(self, images: Images, views: Sequence[View] = AS_IT_IS, title: str | None = None) -> Iterator[Tensor]:
        """Yield the network's output batch by batch, float32 ``[views, n, D]``. Call ``prepared`` first."""
        starts = range(0, len(images), self.batch_size)
        jobs = (partial(self._views_of, images, slice(start, start + starts.step), views) for start in starts)
        batches = computed_ahead(jobs, loading_threads(self.device))
        bar = Progress(batches, desc=title, total=len(starts), unit="batch", disable=title is None)
        yield from map(_WithinMemory(self), bar)

    def _views_of(self, images: Images, rows: slice, views: Sequence[View]) -> list[np.ndarray | Tensor]:
        """Each view of the given rows, at the input size."""
        batch = resized(images[rows], *self.input_size)
        return [pinned(np.ascontiguousarray(view(batch)), self.device) for view in views]

    def batches(self, images: Images) -> Iterator[np.ndarray]:
        """Yield the images, uint8 ``[N, H, W, 3]``, resized to the input size, ``batch_size`` at a time."""
        starts = range(0, len(images), self.batch_size)
        return (resized(images[start : start + starts.step], *self.input_size) for start in starts)

    @property
    def batch_size(self) -> int:
        """The number of images predicted at once."""
        height, width = self.input_size
        pixels = PIXELS_AT_ONCE if self.device.type == "cpu" else ON_A_GPU * PIXELS_AT_ONCE
        return max(1, pixels // (height * width))


class _WithinMemory:
    """Computes a network's output for the views of a batch, float32 ``[views, n, D]``; in parts if memory runs out."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.most = predictor, predictor.batch_size  # images at once

    def __call__(self, views: list[np.ndarray | Tensor]) -> Tensor:
        while True:
            try:
                starts = range(0, len(views[0]), self.most)
                return torch.cat([self._outputs([view[start:][: self.most] for view in views]) for start in starts], 1)
            except Exception as error:
                if self.most == 1 or not is_out_of_memory(error):
                    raise
            free_unused(self.predictor.device)
            self.most //= 2
            print(f"warning: memory ran out while predicting; going on with {self.most} images at once")

    def _outputs(self, views: list[np.ndarray | Tensor]) -> Tensor:
        """On a CPU in parts, a thread each; see ``data_parallel``."""
        parts = parts_of(len(views[0]), FEWEST_ALONE, self.predictor.device)
        if parts == 1:
            return self._outputs_of(views)
        split = zip(*(np.array_split(view, parts) for view in views), strict=True)
        return torch.cat(list(threads_for(parts).map(self._outputs_of, split)), 1)

    def _outputs_of(self, views: Sequence[np.ndarray | Tensor]) -> Tensor:
        normalise, device = self.predictor.normalise, self.predictor.device
        with torch.inference_mode(), mixed_precision(device):
            return torch.stack([self.predictor.network(normalise(view, device)).float() for view in views])


def prepared(network: nn.Module, device: torch.device, images: Tensor) -> nn.Module:
    """A copy for prediction only: folded, and with weights in the precision that the device computes in.

    A network that torch.fx cannot trace, or whose folded copy gives another output, is copied as it is, and a line says
    so. images: some that the network takes, float32 ``[n, C, H, W]``, to compare the copies with.
    """
    plain = placed(for_evaluation(network), device)
    try:
        ready = _folded(plain, device, images.to(device))
    except Exception as error:  # what cannot be traced raises many types
        raise_shortage(error)
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        _say_once(f"{name_of(network)} predicts layer by layer, as torch.fx cannot fold it: {printable(reason)}")
        ready = plain
    return placed(ready, device)


def _folded(plain: nn.Module, device: torch.device, images: Tensor) -> nn.Module:
    """A folded copy, checked. Raises ValueError if its output differs, and other errors if it cannot be made."""
    ready = folded(plain)
    if device.type == "cpu" and FUSES:
        ready = activations_fused(ready)
    with torch.inference_mode():
        expected, found = _tensors(plain(images)), _tensors(ready(images))
        for layer in ready.modules():
            if type(layer) in (nn.Conv2d, nn.Linear):
                layer.to(product_precision(device))
        with mixed_precision(device):
            ready(images)  # fails if a layer does not take the precision of another
    if not all(map(_is_alike, expected, found)):
        raise ValueError("the folded copy gives another output")
    return ready


def _tensors(output: Any) -> list[Tensor]:
    """Of one or several outputs; a part of a network may give sizes, too."""
    return [each for each in (output if isinstance(output, tuple) else (output,)) if isinstance(each, Tensor)]


def _is_alike(expected: Tensor, found: Tensor) -> bool:
    """Whether the tensors differ by no more than rounding; true of weights that are not finite, which fail later."""
    bound = ROUNDING * expected.abs().max()
    return not expected.isfinite().all() or bool((found - expected).abs().max() <= bound)


def name_of(network: nn.Module) -> str:
    """What a user knows it by: its name in timm, else the name of its class."""
    own_name = getattr(network, "pretrained_cfg", {}).get("architecture")
    return f"timm/{own_name}" if own_name else type(network).__name__


@remembered
def _say_once(line: str) -> None:
    print(line)
