"""How the networks learned, and what ended it."""

from pipeline.report import figures
from pipeline.report.context import MOST_DETAILED, ReportContext
from pipeline.report.endings import endings
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    networks = training_curves(context, figure_folder)
    ended = [each for name in context.records for each in endings(name, context)]
    content = {"networks": networks, "endings": ended}
    return Section("training", "Training", "training.html.j2", content) if networks else None


def training_curves(context: ReportContext, figure_folder: FigureFolder) -> list[EmbeddedImage]:
    """The curves of the best networks."""
    drawn: list[EmbeddedImage] = []
    for name, record in context.records.items():
        if record.histories and len(drawn) < MOST_DETAILED:
            figure = figures.training(record.histories, f"Training of {name}")
            best = max(history["validation_accuracy"].max() for history in record.histories)
            epochs = max(len(history["epoch"]) for history in record.histories)
            alt = (
                f"Loss, accuracy and learning rate of {name} over {epochs} epochs; "
                f"the highest validation accuracy of an epoch is {best:.3f}"
            )
            drawn.append(figure_folder.add(f"{name}-training", figure, alt))
    return drawn
