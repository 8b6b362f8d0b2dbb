"""How probabilities become answers: the numbers that were fitted, such as thresholds, and the score along them."""

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
MOST_MEASURED = 60  # numbers of which the gain is measured, those furthest from the plain value


@dataclass(frozen=True, eq=False)
class Along:
    """The metric along one number. title: of the number; scores: float64 ``[V]``, at its values ``tried``."""

    title: str
    number: RuleNumber
    scores: np.ndarray
    fitted_score: float
    plain_score: float

    def gain(self, metric: Metric) -> float:
        """How much better the fitted value is than the plain one."""
        return metric.rank(self.fitted_score) - metric.rank(self.plain_score)


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    decision = context.decision
    if not decision.description:
        return None
    metric = context.metric.at_half
    measured = [_along(number, context) for number in _furthest(numbers_of(decision.fitted))]
    measured.sort(key=lambda each: -each.gain(metric))
    drawn = measured[:MOST_DRAWN]
    content = {
        "description": decision.description,
        "is_used": metric.rank(decision.expected_score) > metric.rank(decision.plain_score),
        "measured": measured,
        "drawn": len(drawn),
        "left_out": len(numbers_of(decision.fitted)) - len(measured),
        "figure": _figure(drawn, metric, figure_folder) if drawn else None,
    }
    return Section("decision", "From probabilities to answers", "decision.html.j2", content)


def _furthest(numbers: list[RuleNumber]) -> list[RuleNumber]:
    """At most ``MOST_MEASURED`` numbers, those that are furthest from their plain values."""
    return sorted(numbers, key=lambda number: -abs(number.fitted - number.plain))[:MOST_MEASURED]


def _along(number: RuleNumber, context: ReportContext) -> Along:
    labels = context.validation.known_labels
    rows = np.random.default_rng(0).permutation(len(labels))[: max(1, VALUES // context.competition.task.columns)]
    outputs, labels = context.evaluations[BLEND].probabilities[rows], labels[rows]
    metric, last = context.metric.at_half, context.decision.last or Steps(())

    def score(value: float) -> float:
        return metric(Steps((number.rule_at(value), last))(outputs), labels)

    scores = np.array([score(float(value)) for value in number.tried])
    return Along(_title(number, context), number, scores, score(number.fitted), score(number.plain))


def _title(number: RuleNumber, context: ReportContext) -> str:
    return number.name if number.label is None else f"{number.name} of {context.drawn_names[number.label]}"


def _figure(drawn: list[Along], metric: Metric, figure_folder: FigureFolder) -> EmbeddedImage:
    lines = [(each.title, each.number.tried, each.scores, each.number.fitted, each.number.plain) for each in drawn]
    said = "; ".join(
        f"{each.title}: {each.plain_score:.4f} at {each.number.plain:.3g}, {each.fitted_score:.4f} at the fitted "
        f"{each.number.fitted:.3g}"
        for each in drawn
    )
    figure = plots.score_along(metric, lines, f"{metric.title[0].upper()}{metric.title[1:]} along what was fitted")
    return figure_folder.add("decision", figure, f"{metric.title} on validation along each number; {said}")
