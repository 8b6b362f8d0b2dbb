"""The stages of a training: what of the network learns in each, and which stretch of the training it covers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.networks.pretrained import last_child
from pipeline.models.neural.time_budget import Epoch
from pipeline.models.recipe import NeuralRecipe, Stage, Trained

SLIVER = 1e-9  # of the training; what is shorter comes from rounding


@dataclass(frozen=True)
class StageSpan:
    """A stage and the part of the training, in [0, 1], that it covers. epochs: of the recipe, in that part."""

    stage: Stage
    start: float
    end: float
    epochs: int

    def local(self, progress: float) -> float:
        """Progress in the training as progress in the stage."""
        return (progress - self.start) / (self.end - self.start)

    def overall(self, progress: float) -> float:
        """Progress in the stage as progress in the training."""
        return self.end if progress == 1 else self.start + (self.end - self.start) * progress

    def inside(self, epoch: Epoch) -> Epoch:
        """An epoch of the training as one of the stage."""
        return replace(epoch, start=self.local(epoch.start), end=self.local(epoch.end))

    def outside(self, epoch: Epoch) -> Epoch:
        """An epoch of the stage as one of the training."""
        return replace(epoch, start=self.overall(epoch.start), end=self.overall(epoch.end))


def stage_spans(recipe: NeuralRecipe) -> list[StageSpan]:
    ends = [stage.after for stage in recipe.stages] + [recipe.epochs]
    return [
        StageSpan(stage, stage.after / recipe.epochs, end / recipe.epochs, end - stage.after)
        for stage, end in zip(recipe.all_stages, ends, strict=True)
    ]


def span_at(stage_spans: Sequence[StageSpan], progress: float) -> int:
    """The number of the stretch that a training is in after ``progress``."""
    return max(number for number, span in enumerate(stage_spans) if span.start <= progress + SLIVER)


def cut(epochs: Iterable[Epoch], stage_spans: Sequence[StageSpan]) -> Iterator[Epoch]:
    """The same epochs, parted where a stage begins within one, so that each belongs to one stage."""
    for epoch in epochs:
        inside = [s.start for s in stage_spans if epoch.start + SLIVER < s.start < epoch.end - SLIVER]
        for start, end in pairwise([epoch.start, *inside, epoch.end]):
            batches = max(1, round(epoch.batches * (end - start) / (epoch.end - epoch.start)))
            yield replace(epoch, batches=batches, start=start, end=end)


def freeze(network: nn.Module, train: Trained, frozen: frozenset[str] = frozenset()) -> None:
    """Let learn what ``train`` says (see ``Stage``), but never what is ``frozen`` for good."""
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
