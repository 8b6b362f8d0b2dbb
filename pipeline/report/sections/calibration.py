"""Whether the probabilities can be believed: of the blend, with and without its temperature, and of each model."""

from dataclasses import replace

from pipeline.report import plots
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.reliability import Reliability, given_answers
from pipeline.report.section import Section

UNTEMPERED = "blend without its temperature"
SAME = 1e-3  # of a temperature; nearer to 1 it changes nothing


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if context.competition.task.kind == "continuous":
        return None
    measured = reliabilities(context)
    drawn = {name: measured[name] for name in (UNTEMPERED, BLEND) if name in measured}
    content = {
        "measured": measured,
        "temperature": temperature(context) if UNTEMPERED in measured else None,
        "before": measured.get(UNTEMPERED),
        "after": measured[BLEND],
        "figure": _figure(drawn, figure_folder),
        "is_multilabel": context.competition.task.kind == "multilabel",
    }
    return Section("calibration", "Calibration", "calibration.html.j2", content)


def temperature(context: ReportContext) -> float:
    """By what the blend's logarithms are divided, beside the weights of its members: above 1 it becomes less sure."""
    return 1 / sum(context.blend.powers.values())


def reliabilities(context: ReportContext) -> dict[str, Reliability]:
    """Of the blend, of the blend without its temperature if it has one, and of the models, best first."""
    outputs = {name: each.probabilities for name, each in context.evaluations.items()}
    if abs(temperature(context) - 1) > SAME:
        untempered = replace(context.blend, powers=context.blend.weights)
        members = {name: context.validated[name].aligned_to(context.validation.ids) for name in untempered.powers}
        blend = outputs.pop(BLEND)
        outputs = {BLEND: blend, UNTEMPERED: untempered.apply(members).probabilities} | outputs
    task, labels = context.competition.task, context.validation.known_labels
    return {name: Reliability.of(*given_answers(task, output, labels)) for name, output in outputs.items()}


def _in_words(each: Reliability) -> str:
    points = (f"{rate:.0%} right at {sure:.0%}" for sure, rate in zip(each.probabilities, each.rates, strict=True))
    return f"expected calibration error {each.error:.3f}, {', '.join(points)}"


def _figure(drawn: dict[str, Reliability], figure_folder: FigureFolder) -> EmbeddedImage:
    said = "; ".join(f"{name}: {_in_words(each)}" for name, each in drawn.items())
    figure = plots.reliability(drawn, "Reliability of the blend's answers")
    return figure_folder.add("calibration", figure, f"Share of right answers by their probability; {said}")
