"""The stages of a training: which weights each stage trains, and which part of the training it covers."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.networks.state import heads
from pipeline.models.neural.time_budget import MIN_SEGMENTS, Planner, Segment, SegmentLimit
from pipeline.models.recipe import NeuralRecipe, Stage, Trained

SLIVER = 1e-9  # of the training; shorter differences are rounding errors


@dataclass(frozen=True)
class StageSpan:
    """A stage and the part of the training, within [0, 1], that it covers. epochs: the recipe's epochs in that part."""

    stage: Stage
    start: float
    end: float
    epochs: int

    def local(self, progress: float) -> float:
        """Convert progress in the training to progress in the stage."""
        return (progress - self.start) / (self.end - self.start)

    def overall(self, progress: float) -> float:
        """Convert progress in the stage to progress in the training."""
        return self.end if progress == 1 else self.start + (self.end - self.start) * progress

    def inside(self, segment: Segment) -> Segment:
        """Convert a segment of the training to one of the stage."""
        return replace(segment, start=self.local(segment.start), end=self.local(segment.end))

    def outside(self, segment: Segment) -> Segment:
        """Convert a segment of the stage to one of the training."""
        return replace(segment, start=self.overall(segment.start), end=self.overall(segment.end))


def stage_spans(recipe: NeuralRecipe) -> list[StageSpan]:
    """The recipe's stages with the parts of the training that they cover, in order."""
    ends = [stage.after for stage in recipe.stages] + [recipe.epochs]
    return [
        StageSpan(stage, stage.after / recipe.epochs, end / recipe.epochs, end - stage.after)
        for stage, end in zip(recipe.all_stages, ends, strict=True)
    ]


def span_at(stage_spans: Sequence[StageSpan], progress: float) -> int:
    """The index of the stage that a training is in at ``progress``, from 0."""
    return max(number for number, span in enumerate(stage_spans) if span.start <= progress + SLIVER)


def cut(segments: Iterable[Segment], stage_spans: Sequence[StageSpan]) -> Iterator[Segment]:
    """Split segments where a stage begins inside them, so that each belongs to one stage."""
    for segment in segments:
        inside = [s.start for s in stage_spans if segment.start + SLIVER < s.start < segment.end - SLIVER]
        for start, end in pairwise([segment.start, *inside, segment.end]):
            batches = max(1, round(segment.batches * (end - start) / (segment.end - segment.start)))
            yield replace(segment, batches=batches, start=start, end=end)


def budgeted(
    planner: Planner,
    stage_spans: Sequence[StageSpan],
    seconds_a_step: Sequence[dict[int, float]],
    end: Callable[[], tuple[float, float]],
    done: Sequence[Segment],
    limit: SegmentLimit | None = None,
) -> Iterator[Segment]:
    """Yield the segments of all stages within a time budget, shared out by the stages' epochs and measured speed.

    seconds_a_step: by image size, one dictionary per stage.
    end: returns when the training has to end (``time.monotonic``), and the seconds of other work that follow it;
        called as each stage begins.
    done: segments of an earlier, interrupted run.
    limit: see ``Planner.budgeted``.
    """
    work = [span.epochs * s[planner.input_size] for span, s in zip(stage_spans, seconds_a_step, strict=True)]
    for number, span in enumerate(stage_spans):
        before = [span.inside(segment) for segment in done if span_at(stage_spans, segment.start) == number]
        now, (training_end, kept) = time.monotonic(), end()
        deadline = now + (training_end - now) * work[number] / sum(work[number:])
        min_segments = max(1, round(MIN_SEGMENTS * work[number] / sum(work)))
        of_stage = replace(planner, recipe=planner.recipe.model_copy(update={"epochs": span.epochs}))
        segments = of_stage.budgeted(seconds_a_step[number], deadline, before, min_segments, limit, kept)
        yield from map(span.outside, segments)


def freeze(network: nn.Module, train: Trained, frozen: frozenset[str] = frozenset()) -> None:
    """Make the weights that ``train`` names (see ``Stage``) trainable, except those in ``frozen``; freeze the rest."""
    learning = _learning(network, train)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in learning and name not in frozen)


def _learning(network: nn.Module, train: Trained) -> set[str]:
    """The names of the parameters that ``train`` stands for."""
    names = [name for name, _ in network.named_parameters()]
    if train == "all":
        return set(names)
    if isinstance(train, int):
        layers = [name for name, module in network.named_modules() if list(module.parameters(recurse=False))]
        return {name for name in names if name.rpartition(".")[0] in layers[-train:]}
    modules = [*heads(network)]
    if train == "head-and-last-convolution":
        modules += [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)][-1:]
    return {name for name in names if name.startswith(tuple(f"{module}." for module in modules))}


def norm_weights(network: nn.Module) -> frozenset[str]:
    """The names of the weights of batch norms."""
    norms = {name for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    return frozenset(name for name, _ in network.named_parameters() if name.rpartition(".")[0] in norms)


def train_mode(network: nn.Module) -> None:
    """Set training mode, except for frozen batch norms, which keep their running statistics."""
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
            module.eval()
