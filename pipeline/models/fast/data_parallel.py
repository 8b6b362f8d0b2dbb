"""Data parallelism on the cores of a CPU: each thread computes its part of a batch, up to the gradients.

PyTorch shares out every single operation instead, and waits for the slowest core after each. On two cores a step of
sprint takes 1.15 times as long that way, and one of EfficientNet-Lite0 1.3 times.
"""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.fast.folding import uses_grad_checkpointing
from pipeline.runtime import distributed
from pipeline.runtime.devices import mixed_precision

FEWEST = 32  # images of a part whose averages batch norms take
FEWEST_ALONE = 8  # of a part in which no image depends on the others


def with_parallel_parts(network: nn.Module, device: torch.device, batch: int, images: Tensor) -> nn.Module:
    """The network for training on the CPU, with the same trainable weights, faster with several threads.

    Batch norms take the averages of a part of the batch, and learn those of the first part, as on several ranks.

    The network itself is returned on another device, with one thread, for small batches, and if it draws random numbers
    other than for ``nn.Dropout``, since threads would draw them in any order.
    batch: images in a step. images: some that the network takes, float32 ``[n, C, H, W]``.
    """
    parts = parts_of(batch, FEWEST if _takes_averages(network) else FEWEST_ALONE, device)
    if parts < 2 or distributed.world_size() > 1 or uses_grad_checkpointing(network):
        return network
    parallel = _Parallel(network, parts)
    return network if _is_random(parallel.replicas[-1], images) else parallel


def parts_of(batch: int, fewest: int, device: torch.device) -> int:
    """How many parts a batch is computed in, each of at least ``fewest`` images; 1 on another device than a CPU."""
    return max(1, min(torch.get_num_threads(), batch // fewest)) if device.type == "cpu" else 1


def _takes_averages(network: nn.Module) -> bool:
    return any(isinstance(layer, _BatchNorm) and layer.training for layer in network.modules())


class _Parallel(nn.Module):
    """Replicas of a network, which share its weights; the first one shares its averages too."""

    def __init__(self, network: nn.Module, parts: int) -> None:
        super().__init__()
        self.weights = [weights for weights in network.parameters() if weights.requires_grad]
        self.replicas = [_replica(network, number) for number in range(parts)]
        self.threads = threads_for(parts)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = _InParts.apply(self, images, *self.weights)
        return logits

    def outputs(self, images: Tensor) -> list[Tensor]:
        return list(self.threads.map(_output, self.replicas, images.tensor_split(len(self.replicas))))

    def gradients(self, outputs: Sequence[Tensor], gradient: Tensor) -> list[Tensor | None]:
        """Of the weights, given that of all outputs."""
        parts = gradient.tensor_split(len(self.replicas))
        found = self.threads.map(self._gradients, outputs, parts)
        return [_total(of_weights) for of_weights in zip(*found, strict=True)]

    def _gradients(self, output: Tensor, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(output, self.weights, gradient, allow_unused=True)


class _InParts(torch.autograd.Function):
    """A batch computed in parts, side by side."""

    @staticmethod
    def forward(ctx: Any, parallel: _Parallel, images: Tensor, *weights: Tensor) -> Tensor:
        ctx.parallel, ctx.outputs = parallel, parallel.outputs(images)
        return torch.cat([output.detach() for output in ctx.outputs])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.parallel.gradients(ctx.outputs, gradient)


class _Dropout(nn.Module):
    """Dropout with random numbers of its own, so that the order in which threads draw them does not matter."""

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate, self.random = rate, torch.Generator().manual_seed(seed)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return values
        kept = torch.rand(values.shape, generator=self.random) >= self.rate
        return values * kept / (1 - self.rate)


def _replica(network: nn.Module, number: int) -> nn.Module:
    shared = [*network.parameters(), *(network.buffers() if number == 0 else ())]
    replica = copy.deepcopy(network, {id(tensor): tensor for tensor in shared})
    for position, (name, layer) in enumerate(list(replica.named_modules())):
        if type(layer) is nn.Dropout:
            seed = torch.initial_seed() + 1_000_003 * position + number
            replica.set_submodule(name, _Dropout(layer.p, seed).train(layer.training))
    return replica


def _is_random(network: nn.Module, images: Tensor) -> bool:
    """Whether the network draws from the random numbers that all threads share."""
    before = torch.get_rng_state()
    _output(network, images)
    drew = not torch.equal(before, torch.get_rng_state())
    torch.set_rng_state(before)
    return drew


@cache
def threads_for(count: int) -> ThreadPoolExecutor:
    """Threads that share out the cores."""
    cores, begun = torch.get_num_threads(), Barrier(count)

    def begin() -> None:
        torch.set_num_threads(max(1, cores // count))
        begun.wait()

    pool = ThreadPoolExecutor(count, "part of a batch")
    for task in [pool.submit(begin) for _ in range(count)]:
        task.result()
    torch.set_num_threads(cores)  # of the other threads
    return pool


def _output(network: nn.Module, images: Tensor) -> Tensor:
    with torch.enable_grad(), mixed_precision(images.device):
        output: Tensor = network(images)
    return output


def _total(gradients: Sequence[Tensor | None]) -> Tensor | None:
    known = [gradient for gradient in gradients if gradient is not None]
    return sum(known[1:], known[0]) if known else None
