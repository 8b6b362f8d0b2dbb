"""Search spaces: which of a recipe's values are tuned, and in which range around the recipe's own values.

A value is named by its place in the recipe, e.g. ``optimiser.lr`` or ``augment.1.rotate``. A list stands for its
largest absolute entry: when the search tries 10 for ``rotate = [-20, 20]``, it tries ``[-10, 10]``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Self, cast

from optuna import Trial
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from competition.errors import UserError
from pipeline.models.recipe import AnyRecipe

Value = float | int | str
Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
Rule = Callable[[Sequence[Any]], Distribution]  # from the recipe's own values, several for a grid, to what is tried


def rate(own: Sequence[float]) -> Distribution:
    """From a tenth to ten times the recipe's value, on a logarithmic scale."""
    return FloatDistribution(min(own) / 10, max(own) * 10, log=True)


def count(own: Sequence[int]) -> Distribution:
    """From half to double the recipe's value, on a logarithmic scale."""
    return IntDistribution(max(1, min(own) // 2), max(own) * 2, log=True)


def doubling(own: Sequence[int]) -> Distribution:
    """Half the recipe's value, the same, or double, so that a power of two stays one."""
    return CategoricalDistribution(sorted({size for value in own for size in (max(1, value // 2), value, value * 2)}))


def strength(own: Sequence[float]) -> Distribution:
    """From zero to double the recipe's value."""
    if isinstance(own[0], int):
        return IntDistribution(0, round(2 * max(own)))
    return FloatDistribution(0, 2 * max(own))


def up_to(more: float, own: Sequence[float], most: float = 0.9) -> Distribution:
    """From zero to the recipe's value plus ``more``, but at most ``most``, unless the recipe's value is larger."""
    return FloatDistribution(0.0, max(*own, min(most, max(own) + more)))


def momentum(own: Sequence[float]) -> Distribution:
    """From a quarter to four times ``1 - momentum``."""
    return FloatDistribution(max(0.0, 1 - 4 * (1 - min(own))), 1 - (1 - max(own)) / 4)


def weight_decay(own: Sequence[float]) -> Distribution:
    """As ``rate``; if the recipe has no weight decay, from zero to 5e-4."""
    return rate(own) if min(own) > 0 else up_to(5e-4, own)


def choice(own: Sequence[str]) -> Distribution:
    """One of the recipe's own values."""
    return CategoricalDistribution(list(dict.fromkeys(own)))


SPACE: dict[str, Rule] = {  # a table with a name is written as ``optimiser:adam``
    "*optimiser:*.lr": rate,
    "*optimiser:muon.sgd_lr": rate,
    "*optimiser:muon.momentum": momentum,
    "*optimiser:sgd.momentum": momentum,
    "*optimiser:*.weight_decay": weight_decay,
    "batch_size": doubling,
    "label_smoothing": partial(up_to, 0.2),
    "network:*.*dropout": partial(up_to, 0.3),
    "augment.*:Shift.fraction": strength,
    "augment.*:Cutout.fraction": strength,
    "augment.*:Affine.rotate": strength,
    "augment.*:Affine.translate_percent": strength,
    "augment.*:Rotate.limit": strength,
    "classifier:*.grid.0.kernel": choice,
    "classifier:*.grid.0.C": rate,
    "classifier:knn.neighbours": count,
    "classifier:forest.trees": count,
    "classifier:boosting.iterations": count,
}


@dataclass(frozen=True)
class SearchSpace:
    """The values of one recipe that are tuned.

    recipe: with the first of its own values and without a grid, which the search replaces.
    distributions: what is tried for each tuned value, by the value's name.
    own: the recipe's own values, which are tried first; several if it has a grid.
    """

    recipe: AnyRecipe
    distributions: dict[str, Distribution]
    own: tuple[dict[str, Value], ...]

    @classmethod
    def of(cls, recipe: AnyRecipe) -> Self:
        """The search space of a recipe. Raises UserError if the recipe has no value to tune."""
        points = recipe.points
        rules, *_ = found = [dict(_searched(point)) for point in points]
        own = [{place: _size(value) for place, (value, _) in each.items()} for each in found]
        distributions = {place: rule([values[place] for values in own]) for place, (_, rule) in rules.items()}
        distributions = {place: each for place, each in distributions.items() if not each.single()}
        if not distributions:
            raise UserError(f"{recipe.name} has no value that can be tuned; choose another recipe with --model")
        return cls(points[0], distributions, tuple({place: values[place] for place in distributions} for values in own))

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """Draw the values of a trial, by name."""
        return {place: _suggestion(trial, place, each) for place, each in self.distributions.items()}

    def recipe_with(self, values: dict[str, Value]) -> AnyRecipe:
        """The recipe with these values; floats are rounded to four significant digits."""
        table = self.recipe.model_dump()
        for place, value in values.items():
            *above, last = place.split(".")
            node = table
            for key in above:
                node = node[key] if isinstance(node, dict) else node[int(key)]
            node[last] = _resized(node[last], value)
        return type(self.recipe)(**table)


def _searched(recipe: AnyRecipe) -> Iterator[tuple[str, tuple[Any, Rule]]]:
    """Yield the place of each tuned value, with the recipe's own value and its rule."""
    for place, label, value in _leaves(recipe.model_dump(exclude={"name"})):
        rules = [rule for pattern, rule in SPACE.items() if fnmatchcase(label, pattern)]
        if rules and not (isinstance(value, list) and _size(value) == 0):
            yield place, (value, rules[0])


def _leaves(node: Any, place: str = "", label: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield the place, label (the place with table names) and value of each entry of a table and its subtables."""
    if isinstance(node, dict):
        label += f":{node['name']}" if "name" in node else ""
        inner: Iterable[tuple[Any, Any]] = node.items()
    elif isinstance(node, list | tuple) and node and isinstance(node[0], dict):
        inner = enumerate(node)
    else:
        yield place, label, node
        return
    for key, value in inner:
        yield from _leaves(value, f"{place}.{key}".lstrip("."), f"{label}.{key}".lstrip("."))


def _size(value: Any) -> Value:
    return max(abs(each) for each in value) if isinstance(value, list) else value


def _resized(own: Any, size: Value) -> Any:
    """The recipe's value scaled to ``size``, its new largest absolute entry if it is a list."""
    if isinstance(own, list):
        return [_rounded(each * size / _size(own), type(each)) for each in own]
    return _rounded(size, type(size))


def _rounded(value: Value, kind: type) -> Value:
    if kind is float:
        return float(f"{value:.4g}")
    return round(float(value)) if kind is int else value


def _suggestion(trial: Trial, place: str, distribution: Distribution) -> Value:
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(place, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(place, distribution.low, distribution.high, log=distribution.log)
    return cast(Value, trial.suggest_categorical(place, distribution.choices))
