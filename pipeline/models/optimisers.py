"""Optimisers by name, as the recipes call them."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from pipeline.models import recipe


class Muon(Optimizer):
    """Momentum SGD whose update of each filter bank is orthogonalised (K. Jordan et al., 2024).

    Takes convolution kernels ``[out, in, h, w]``, read as matrices ``[out, in * h * w]``; ``torch.optim.Muon``
    takes matrices alone, and works in bfloat16, which CPUs without AMX only emulate. Before each step a
    kernel is scaled to the norm ``sqrt(out)``: batch norm follows, so only its direction matters.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        for group in self.param_groups:
            for kernel in group["params"]:
                buffer = self.state[kernel].setdefault("momentum_buffer", torch.zeros_like(kernel))
                buffer.mul_(group["momentum"]).add_(kernel.grad)
                update = kernel.grad.add(buffer, alpha=group["momentum"])
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                kernel.add_(orthogonalised(update.flatten(1)).view_as(kernel), alpha=-group["lr"])


def orthogonalised(matrix: Tensor, steps: int = 3) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly, by a quintic Newton-Schulz iteration.

    The coefficients are Jordan's: steepest at zero, singular values end between 0.7 and 1.2.
    """
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def build_optimisers(network: nn.Module, settings: recipe.Optimiser) -> list[Optimizer]:
    """One optimiser over all parameters or, for ``muon``, two: Muon on kernels, Nesterov SGD on the rest.

    Weight decay is the L2 kind, added to the gradient, as the reports use it.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    if settings.name == "adam":
        return [Adam(parameters, lr=settings.lr, weight_decay=settings.weight_decay)]
    sgd = partial(SGD, momentum=settings.momentum, weight_decay=settings.weight_decay, nesterov=True)
    if settings.name == "sgd":
        return [sgd(parameters, lr=settings.lr)]
    kernels = [p for p in parameters if p.ndim == 4]
    others = [p for p in parameters if p.ndim != 4]
    return [Muon(kernels, lr=settings.lr, momentum=settings.momentum), sgd(others, lr=settings.sgd_lr)]
