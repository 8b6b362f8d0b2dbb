"""How probabilities become answers: the numbers that were fitted, such as thresholds, and the score along them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from competition.metrics import VALUES, Metric
from pipeline.ensemble.rule_numbers import RuleNumber, numbers_of
from pipeline.ensemble.rules import Steps
from pipeline.report import plots
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

MOST_DRAWN = 6  # numbers with a curve; of more, those that gain most
MOST_MEASURED = 24  # numbers of which the gain is measured, those furthest from the plain value
MOST_VALUES = VALUES // 4  # probabilities that are measured on, as every point of a curve measures them once


@dataclass(frozen=True, eq=False)
class Measured:
    """One number, and the metric at its fitted and at its plain value. title: of the number."""

    title: str
    number: RuleNumber
    fitted_score: float
    plain_score: float

    def gain(self, metric: Metric) -> float:
        """How much better the fitted value is than the plain one."""
        return metric.rank(self.fitted_score) - metric.rank(self.plain_score)


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    decision = context.decision
    if not decision.description:
        return None
    metric, numbers = context.metric.at_half, numbers_of(decision.fitted)
    measured = [_measured(number, context) for number in _furthest(numbers)]
    measured.sort(key=lambda each: -each.gain(metric))
    drawn = measured[:MOST_DRAWN]
    content = {
        "description": decision.description,
        "is_used": metric.rank(decision.expected_score) > metric.rank(decision.plain_score),
        "measured": measured,
        "drawn": len(drawn),
        "left_out": len(numbers) - len(measured),
        "figure": _figure(drawn, context, figure_folder) if drawn else None,
    }
    return Section("decision", "From probabilities to answers", "decision.html.j2", content)


def _furthest(numbers: list[RuleNumber]) -> list[RuleNumber]:
    """At most ``MOST_MEASURED`` numbers, those that are furthest from their plain values."""
    return sorted(numbers, key=lambda number: -abs(number.fitted - number.plain))[:MOST_MEASURED]


def _measured(number: RuleNumber, context: ReportContext) -> Measured:
    fitted, plain = scores_at(number, [number.fitted, number.plain], context)
    return Measured(_title(number, context), number, fitted, plain)


def scores_at(number: RuleNumber, values: Iterable[float], context: ReportContext) -> list[float]:
    """The metric with each of the values in place of the number, on some of the validation images if they are many."""
    labels = context.validation.known_labels
    rows = np.random.default_rng(0).permutation(len(labels))[: max(1, MOST_VALUES // context.competition.task.columns)]
    outputs, labels = context.evaluations[BLEND].probabilities[rows], labels[rows]
    last = context.decision.last or Steps(())
    rules = (Steps((number.rule_at(float(value)), last)) for value in values)
    return [context.metric.at_half(rule(outputs), labels) for rule in rules]


def _title(number: RuleNumber, context: ReportContext) -> str:
    return number.name if number.label is None else f"{number.name} of {context.drawn_names[number.label]}"


def _figure(drawn: list[Measured], context: ReportContext, figure_folder: FigureFolder) -> EmbeddedImage:
    metric, numbers = context.metric.at_half, [each.number for each in drawn]
    curves = [np.array(scores_at(number, number.tried, context)) for number in numbers]
    lines = [
        (each.title, number.tried, scores, number.fitted, number.plain)
        for each, number, scores in zip(drawn, numbers, curves, strict=True)
    ]
    said = "; ".join(
        f"{each.title}: {each.plain_score:.4f} at {each.number.plain:.3g}, {each.fitted_score:.4f} at the fitted "
        f"{each.number.fitted:.3g}"
        for each in drawn
    )
    figure = plots.score_along(metric, lines, f"{metric.title[0].upper()}{metric.title[1:]} along what was fitted")
    return figure_folder.add("decision", figure, f"{metric.title} on validation along each number; {said}")
