"""How the models of a blend differ: how often they agree, and what each of them adds."""

from dataclasses import dataclass, replace

import numpy as np

from competition.metrics import VALUES
from competition.task import Task
from pipeline.report.context import BLEND, ReportContext

MOST_COMPARED = 24  # models, the best ones


@dataclass(frozen=True)
class Contribution:
    """What a member adds. name: of its run; without: the metric of the blend without it; lost: by how much worse."""

    name: str
    without: float
    lost: float


def answers_of(task: Task, output: np.ndarray) -> np.ndarray:
    """The choice of each target, int64 ``[N, T]``; of numbers the numbers themselves, float64 ``[N, T]``."""
    return task.numbers(output) if task.kind == "continuous" else task.by_target(output).argmax(axis=2)


def agreement(context: ReportContext) -> tuple[list[str], np.ndarray]:
    """The names of the models, best first, and how often two of them give the same answer, float64 ``[M, M]`` in 0-1.

    Of numbers it is their correlation, the mean over the numbers; of those that do not vary, 0.
    """
    task = context.competition.task
    names = [run.name for run in context.ranked][:MOST_COMPARED]
    answers = [answers_of(task, context.evaluations[name].probabilities) for name in names]
    alike = _correlation if task.kind == "continuous" else _share_alike
    return names, np.array([[alike(one, other) for other in answers] for one in answers])


def _share_alike(one: np.ndarray, other: np.ndarray) -> float:
    return float((one == other).mean())


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    left, right = ((each - each.mean(axis=0)) / np.maximum(each.std(axis=0), 1e-12) for each in (one, other))
    return float((left * right).mean())


def closest(names: list[str], shares: np.ndarray) -> tuple[str, str, float] | None:
    """The two different models that agree most, and how often; None if there is one model."""
    if len(names) < 2:
        return None
    apart = np.where(np.eye(len(names), dtype=bool), -np.inf, shares)
    one, other = np.unravel_index(apart.argmax(), apart.shape)
    return names[one], names[other], float(shares[one, other])


def contributions(context: ReportContext) -> list[Contribution]:
    """Of each member of the blend, the largest first; the others keep their proportions. A single member has none."""
    powers, metric = context.blend.powers, context.metric
    total, found = sum(powers.values()), []
    rows = np.random.default_rng(0).permutation(len(context.validation))[: VALUES // context.competition.task.columns]
    some = context.validation.take(rows)  # of many classes, as each blend of all images would take seconds
    members = {name: context.validated[name].aligned_to(some.ids) for name in powers}
    whole = metric(context.evaluations[BLEND].probabilities[rows], some.known_labels)
    for name in powers if len(powers) > 1 else ():
        others = {each: power for each, power in powers.items() if each != name}
        scale = total / sum(others.values())
        rest = replace(context.blend, powers={each: scale * power for each, power in others.items()})
        without = metric(rest.apply(members).probabilities, some.known_labels)
        found.append(Contribution(name, without, metric.rank(whole) - metric.rank(without)))
    return sorted(found, key=lambda each: -each.lost)
