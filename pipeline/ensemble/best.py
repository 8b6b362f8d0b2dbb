"""The runs that are blended: of those that can be compared with each other, the group whose blend is the safest."""

from collections.abc import Sequence

import numpy as np

from competition.spec import Competition, Split
from pipeline.data.training_data import labelled_images
from pipeline.ensemble.blend import Blend, select_blend
from pipeline.ensemble.comparable import Group, comparable_groups, decisive_groups
from pipeline.training.runs import StoredRun, leave_out


def best_blend(competition: Competition, runs: dict[str, StoredRun]) -> tuple[Group, Blend]:
    """The runs that can be compared with each other, and their blend.

    Of several groups of such runs, the one whose blend is expected to be at least that good; if others are left out for
    it, they are printed.
    """
    groups = decisive_groups(comparable_groups({name: stored.validated.ids for name, stored in runs.items()}))
    blends = [(group, blend_of(group, competition, runs)) for group in groups]
    group, blend = max(blends, key=lambda each: each[1].expected.cautious_rank)
    reason = "they share too few validation images with the others, whose blend is the safer choice"
    leave_out({name: reason for name in runs if name not in group.names})
    if any(len(runs[name].validated) > len(group.ids) for name in group.names):
        print(f"compared on the {len(group.ids):,} images that all models were validated on")
    return group, blend


def blend_of(group: Group, competition: Competition, runs: dict[str, StoredRun]) -> Blend:
    _, validation = train_and_validation(competition, group.ids)
    validated = {name: runs[name].validated for name in group.names}
    return select_blend(validated, validation.ids, validation.known_labels, competition.metric)


def train_and_validation(competition: Competition, ids: Sequence[str]) -> tuple[Split, Split]:
    """The labelled images as (train, validation): those with the given ids, in their order, validate."""
    split = labelled_images(competition)
    places = {name: row for row, name in enumerate(split.ids)}  # if an id is in both tables, the row of val counts
    rows = np.array([places[name] for name in ids])
    return split.take(np.setdiff1d(np.arange(len(split)), rows)), split.take(rows)
