"""Which models can be compared: those that were validated on the same images, or have enough of them in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Models must have in common half of their smallest validation set, and MANY images or this share of the largest one.
# It is less than a tenth: what is held out without folds is compared with the folds, however few images there are.
SMALLEST, LARGEST, MANY = 1 / 2, 1 / 15, 100

Images = frozenset[str]  # ids


@dataclass(frozen=True)
class Group:
    """Models that can be compared.

    names: of the models. ids: the images that all of them were validated on.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...]


def comparable_groups(validated: Mapping[str, Sequence[str]]) -> list[Group]:
    """The largest groups of models that can be compared; usually a single one, with all of them.

    Models with folds were validated on all labelled images, the others on some of these.

    validated: the ids of the images that each model was validated on, by the model's name.
    """
    sets = {name: frozenset(ids) for name, ids in validated.items()}
    distinct = list(dict.fromkeys(sets.values()))
    joined = dict.fromkeys(_joined(first, distinct) for first in distinct)
    return [_group(group, validated, sets) for group in joined if not any(group < other for other in joined)]


def decisive_groups(groups: Sequence[Group]) -> list[Group]:
    """The groups whose blends can be judged: on many images, or not on far fewer than another one's."""
    most = max(len(group.ids) for group in groups)
    return [group for group in groups if len(group.ids) >= min(MANY, LARGEST * most)]


def _joined(first: Images, sets: Sequence[Images]) -> frozenset[Images]:
    """The sets that can be compared with the first one and with each other; those with most in common join first."""
    group, common = [first], first
    for other in sorted(sets, key=lambda each: -len(each & first)):
        if other != first and len(common & other) >= _enough([*group, other]):
            group.append(other)
            common &= other
    return frozenset(group)


def _enough(group: Sequence[Images]) -> float:
    """How many images the models of a group must have in common."""
    sizes = [len(images) for images in group]
    return max(SMALLEST * min(sizes), min(MANY, LARGEST * max(sizes)))


def _group(group: frozenset[Images], validated: Mapping[str, Sequence[str]], sets: Mapping[str, Images]) -> Group:
    names = [name for name in validated if sets[name] in group]
    common = frozenset.intersection(*group)
    fewest = min(names, key=lambda name: len(validated[name]))
    return Group(tuple(names), tuple(name for name in validated[fewest] if name in common))
