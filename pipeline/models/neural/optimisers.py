"""Optimisers, by the names that recipes use."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from pipeline.models import recipe
from pipeline.runtime.devices import mixed_precision

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "rmsprop": partial(RMSprop, alpha=0.9),
    "sgd": SGD,
}  # alpha: Keras's default


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

    Weight decay is an L2 penalty added to the gradient, as in the reports. Frozen parameters are excluded.
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
    """One parameter group; with ``dense_l2`` a second one, for the weights of the hidden dense layers."""
    dense = [module.weight for module in network.modules() if isinstance(module, nn.Linear)][:-1]
    penalised = {id(weight) for weight in dense} if settings.dense_l2 else set()
    decay = settings.weight_decay + 2 * settings.dense_l2  # the gradient of the penalty is 2 w
    hidden = {"params": [p for p in parameters if id(p) in penalised], "weight_decay": decay}
    others = {"params": [p for p in parameters if id(p) not in penalised]}
    return [group for group in (others, hidden) if group["params"]]
