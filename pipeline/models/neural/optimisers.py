"""Optimisers, by the names that recipes use."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from pipeline.models import recipe
from pipeline.models.networks.state import heads
from pipeline.runtime.devices import mixed_precision

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": partial(Adam, fused=True),
    "adamw": partial(AdamW, fused=True),
    "rmsprop": partial(RMSprop, alpha=0.9),
    "sgd": SGD,
}  # fused: one pass over the weights, three times as fast on a CPU; alpha: Keras's default
DEPTHS = 12  # parts of a network that differ in their learning rate


class Muon(Optimizer):
    """Momentum SGD whose update of each filter bank is orthogonalised (K. Jordan et al., 2024).

    It optimises convolution kernels ``[out, in, h, w]``, treated as matrices ``[out, in * h * w]``.
    ``torch.optim.Muon`` accepts only matrices and works in bfloat16, which most CPUs merely emulate. Before each step
    a kernel is scaled to the norm ``sqrt(out)``; batch norm follows it, so only its direction matters.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no caller here passes a closure
        for group in self.param_groups:
            for kernel in group["params"]:
                buffer = self.state[kernel].setdefault("momentum_buffer", torch.zeros_like(kernel))
                buffer.mul_(group["momentum"]).add_(kernel.grad)
                update = kernel.grad.add(buffer, alpha=group["momentum"])
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                with mixed_precision(kernel.device):
                    direction = orthogonalised(update.flatten(1))
                kernel.add_(direction.view_as(kernel), alpha=-group["lr"])


def orthogonalised(matrix: Tensor, steps: int = 3) -> Tensor:
    """An approximation of the nearest semi-orthogonal matrix, by a quintic Newton-Schulz iteration.

    The coefficients are Jordan's: they maximise the slope at zero, and singular values end between 0.7 and 1.2.
    """
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def build_optimisers(network: nn.Module, settings: recipe.Optimiser) -> list[Optimizer]:
    """One optimiser for all parameters or, for ``muon``, two: Muon for kernels, Nesterov SGD for the rest.

    Weight decay is an L2 penalty added to the gradient, as in the reports. That of ``adamw`` is apart from the
    gradient, and leaves norms, biases and embeddings alone. Frozen parameters are excluded.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    momentum = {"momentum": settings.momentum} if settings.name == "sgd" else {}
    if settings.name != "muon":
        groups = _groups(network, parameters, settings)
        return [OPTIMISERS[settings.name](groups, lr=settings.lr, weight_decay=settings.weight_decay, **momentum)]
    sgd = partial(SGD, momentum=settings.momentum, weight_decay=settings.weight_decay, nesterov=True)
    kernels = [p for p in parameters if p.ndim == 4]
    others = [p for p in parameters if p.ndim != 4]
    return [Muon(kernels, lr=settings.lr, momentum=settings.momentum), sgd(others, lr=settings.sgd_lr)]


def _groups(network: nn.Module, parameters: list[nn.Parameter], settings: recipe.Optimiser) -> list[dict]:
    """The parameters in groups of equal learning rate and weight decay, those nearest the input first."""
    rates, decays = _rates(network, settings), _decays(network, settings)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((rates[id(parameter)], decays[id(parameter)]), []).append(parameter)
    return [{"params": those, "lr": rate, "weight_decay": decay} for (rate, decay), those in groups.items()]


def _rates(network: nn.Module, settings: recipe.Optimiser) -> dict[int, float]:
    """The learning rate of each parameter, by its id."""
    parts = _depths(network) if settings.layer_decay < 1 else {}
    return {
        id(parameter): settings.lr * settings.layer_decay ** parts.get(id(layer), 0)
        for layer in network.modules()
        for parameter in layer.parameters(recurse=False)
    }


def _depths(network: nn.Module) -> dict[int, int]:
    """How far from the head each layer of the trunk is, from 1 to DEPTHS, by its id: equally many layers at each depth.

    As in H. Bao et al., "BEiT" (arXiv:2106.08254), where each block of a transformer has a depth of its own.
    """
    inside = tuple(f"{head}." for head in heads(network))
    layers = [
        layer
        for name, layer in network.named_modules()
        if list(layer.parameters(recurse=False)) and not f"{name}.".startswith(inside)
    ]
    return {id(layer): DEPTHS - DEPTHS * place // len(layers) for place, layer in enumerate(layers)}


def _decays(network: nn.Module, settings: recipe.Optimiser) -> dict[int, float]:
    """The weight decay of each parameter, by its id."""
    dense = [module.weight for module in network.modules() if isinstance(module, nn.Linear)][:-1]
    hidden = {id(weight) for weight in dense} if settings.dense_l2 else set()
    apart = _without_decay(network)

    def decay(name: str, parameter: nn.Parameter) -> float:
        if settings.name == "adamw" and (parameter.ndim < 2 or name in apart):
            return 0.0
        penalty = 2 * settings.dense_l2 if id(parameter) in hidden else 0.0  # the gradient of the penalty is 2 w
        return settings.weight_decay + penalty

    return {id(parameter): decay(name, parameter) for name, parameter in network.named_parameters()}


def _without_decay(network: Any) -> set[str]:
    """The names of the weights that timm says are not to decay, such as embeddings."""
    return set(network.no_weight_decay()) if hasattr(network, "no_weight_decay") else set()
