"""Runs side by side: which is best by the metric, and whether the others are worse by more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pandas as pd

from competition.metrics import Metric
from pipeline.ensemble.comparable import Group
from pipeline.ensemble.paired import adjusted, chance
from pipeline.training.runs import Options, Run, StoredRun, options_text
from pipeline.training.scores import ModelScore

CERTAIN = 0.05  # a difference that chance makes less often counts as real


def chance_text(chance: float | None) -> str:
    """``0.021``, ``<0.001``, or nothing."""
    if chance is None:
        return ""
    return f"{chance:.3f}" if chance >= 0.0005 else "<0.001"


@dataclass(frozen=True)
class Compared:
    """A run beside the best one.

    options: those of its options that not all runs share, as text. lead: of the best run, in the metric, at least 0.
    chance: how likely chance alone makes such a difference, adjusted to the number of runs; None for the best run.
    """

    row: ModelScore
    options: str
    lead: float
    chance: float | None

    @property
    def verdict(self) -> str:
        if self.chance is None:
            return "best"
        return "worse" if self.chance < CERTAIN else "no clear difference"

    @property
    def chance_text(self) -> str:
        return chance_text(self.chance)


@dataclass(frozen=True)
class Effect:
    """What a single option changed: two runs of a recipe that differ in nothing else.

    change: the option, with both values where it was given twice. base: the run without it, or with the first value.
    gain: of the metric, above 0 if it is better. chance: as of ``Compared``.
    """

    change: str
    base: str
    gain: float
    chance: float

    @property
    def verdict(self) -> str:
        if self.chance >= CERTAIN:
            return "no clear effect"
        return "helps" if self.gain > 0 else "harms"

    @property
    def chance_text(self) -> str:
        return chance_text(self.chance)


@dataclass(frozen=True)
class Comparison:
    """Runs that can be compared, best first. images: the number of validation images that all of them share."""

    images: int
    rows: tuple[Compared, ...]
    effects: tuple[Effect, ...]


def compare(group: Group, runs: Mapping[str, StoredRun], metric: Metric) -> Comparison:
    """The runs of the group by the metric, on the images that they share. runs: by name."""
    rows = {name: runs[name].row(metric, group.ids) for name in group.names}
    best, *others = ranked = sorted(rows, key=lambda name: -rows[name].score.rank)
    chances = adjusted([_chance(runs[best], runs[name], group.ids, metric) for name in others])
    shared = set.intersection(*(set(runs[name].run.options.items()) for name in ranked))
    compared = [
        Compared(rows[name], _text_without(runs[name].run.options, shared), _lead(rows, best, name), likely)
        for name, likely in zip(ranked, [None, *chances], strict=True)
    ]
    return Comparison(len(group.ids), tuple(compared), tuple(_effects(group, runs, rows, metric)))


def table_of(comparisons: Sequence[Comparison], metric: Metric) -> pd.DataFrame:
    """A row for each run: the images that it was compared on, its options, score, cost and verdict."""
    rows = [
        {"images": comparison.images, "model": each.row.model, "options": each.row.options}
        | {metric.column: each.row.score.value, "low": each.row.score.low, "high": each.row.score.high}
        | {"behind": each.lead, "chance": each.chance, "verdict": each.verdict, "seconds": each.row.seconds}
        for comparison in comparisons
        for each in comparison.rows
    ]
    return pd.DataFrame(rows).round(6)


def _effects(
    group: Group, runs: Mapping[str, StoredRun], rows: Mapping[str, ModelScore], metric: Metric
) -> list[Effect]:
    """What single options changed, the surest effects first."""
    found = []
    for pair in combinations(group.names, 2):
        base, other = sorted(pair, key=lambda name: len(runs[name].run.options))
        if change := _change(runs[base].run, runs[other].run):
            likely = _chance(runs[base], runs[other], group.ids, metric)
            found.append(Effect(change, base, _lead(rows, other, base), likely))
    chances = adjusted([effect.chance for effect in found])
    effects = [replace(effect, chance=likely) for effect, likely in zip(found, chances, strict=True)]
    return sorted(effects, key=lambda effect: effect.chance)


def _lead(rows: Mapping[str, ModelScore], one: str, other: str) -> float:
    """How much better one run is than another, in the metric."""
    return rows[one].score.rank - rows[other].score.rank


def _change(base: Run, other: Run) -> str:
    """The only option in which a run of a recipe differs from another, as text; empty if there is more or nothing."""
    before, after = base.options, other.options
    different = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if base.recipe.name != other.recipe.name or len(different) != 1:
        return ""
    (name,) = different
    return options_text({name: after[name]}) + (f" instead of {before[name]}" if name in before else "")


def _text_without(options: Options, shared: set[tuple[str, str]]) -> str:
    return options_text({name: value for name, value in options.items() if (name, value) not in shared})


def _chance(one: StoredRun, other: StoredRun, ids: Sequence[str], metric: Metric) -> float:
    first, second = (stored.validated.aligned_to(ids) for stored in (one, other))
    return chance(first.probabilities, second.probabilities, first.known_targets, metric)
