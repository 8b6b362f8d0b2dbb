"""The phases of a training: what of the network learns in each, and which stretch of the training it covers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.networks.pretrained import last_child
from pipeline.models.neural.time_budget import Epoch
from pipeline.models.recipe import NeuralRecipe, Phase, Trained

SLIVER = 1e-9  # of the training; what is shorter comes from rounding


@dataclass(frozen=True)
class Stretch:
    """A phase and the part of the training, in [0, 1], that it covers. epochs: of the recipe, in that part."""

    phase: Phase
    start: float
    end: float
    epochs: int

    def local(self, progress: float) -> float:
        """Progress in the training as progress in the phase."""
        return (progress - self.start) / (self.end - self.start)

    def overall(self, progress: float) -> float:
        """Progress in the phase as progress in the training."""
        return self.end if progress == 1 else self.start + (self.end - self.start) * progress

    def inside(self, epoch: Epoch) -> Epoch:
        """An epoch of the training as one of the phase."""
        return replace(epoch, start=self.local(epoch.start), end=self.local(epoch.end))

    def outside(self, epoch: Epoch) -> Epoch:
        """An epoch of the phase as one of the training."""
        return replace(epoch, start=self.overall(epoch.start), end=self.overall(epoch.end))


def stretches(recipe: NeuralRecipe) -> list[Stretch]:
    ends = [phase.after for phase in recipe.then] + [recipe.epochs]
    return [
        Stretch(phase, phase.after / recipe.epochs, end / recipe.epochs, end - phase.after)
        for phase, end in zip(recipe.phases, ends, strict=True)
    ]


def stretch_at(stretches: Sequence[Stretch], progress: float) -> int:
    """The number of the stretch that a training is in after ``progress``."""
    return max(number for number, stretch in enumerate(stretches) if stretch.start <= progress + SLIVER)


def cut(epochs: Iterable[Epoch], stretches: Sequence[Stretch]) -> Iterator[Epoch]:
    """The same epochs, parted where a phase begins within one, so that each belongs to one phase."""
    for epoch in epochs:
        inside = [s.start for s in stretches if epoch.start + SLIVER < s.start < epoch.end - SLIVER]
        for start, end in pairwise([epoch.start, *inside, epoch.end]):
            batches = max(1, round(epoch.batches * (end - start) / (epoch.end - epoch.start)))
            yield replace(epoch, batches=batches, start=start, end=end)


def freeze(network: nn.Module, train: Trained, frozen: frozenset[str] = frozenset()) -> None:
    """Let learn what ``train`` says (see ``Phase``), but never what is ``frozen`` for good."""
    learning = _learning(network, train)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in learning and name not in frozen)


def _learning(network: nn.Module, train: Trained) -> set[str]:
    """The names of the parameters that learn."""
    names = [name for name, _ in network.named_parameters()]
    if train == "all":
        return set(names)
    if isinstance(train, int):
        layers = [name for name, module in network.named_modules() if list(module.parameters(recurse=False))]
        return {name for name in names if name.rpartition(".")[0] in layers[-train:]}
    prefixes = (last_child(network) + ".",)
    if train == "head-and-last-convolution":
        prefixes += ([name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)][-1] + ".",)
    return {name for name in names if name.startswith(prefixes)}


def train_mode(network: nn.Module) -> None:
    """Training mode, except for batch norms that are frozen: these keep the averages they have."""
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
            module.eval()
