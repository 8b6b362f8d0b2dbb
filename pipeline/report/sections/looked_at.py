"""What a network of the blend looked at in the blend's surest mistakes."""

import numpy as np

from competition.task import Task
from pipeline.report import figures, pictures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.fold_rows import fold_rows
from pipeline.report.looked_at import Looker, lookers, overlaid
from pipeline.report.mistakes import Answer, shown_id, surest_mistakes
from pipeline.report.section import Section
from pipeline.training.runs import REFIT

MISTAKES, COLUMNS = 4, 6  # each with three pictures


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    """Of the first network with a map of convolutions; None if there is none, or no mistake."""
    for looker in lookers(context):
        rows = set(fold_rows(context, looker.name)[0].tolist())  # that its first model was not trained on
        answers = [each for each in surest_mistakes(context, len(context.validation)) if each.row in rows]
        figure = _figure(looker, answers[:MISTAKES], context, figure_folder)
        if figure is not None:
            is_refitted = looker.run.fold_folders == (REFIT,)
            content = {"name": looker.name, "figure": figure, "is_refitted": is_refitted}
            return Section("looked-at", "What a network looked at", "looked_at.html.j2", content)
    return None


def _figure(
    looker: Looker, answers: list[Answer], context: ReportContext, folder: FigureFolder
) -> EmbeddedImage | None:
    """Three pictures for each mistake: the image, what spoke for the answer, and what spoke for the truth."""
    split = context.validation
    seen = [(each, image) for each in answers if (image := looker.sees(split.paths[each.row])) is not None]
    if not seen:
        return None
    heats = _heats(looker, [each for each, _ in seen], np.stack([image for _, image in seen]), context)
    if heats is None:
        return None
    side, tiles, captions = figures.tile_side(COLUMNS), [], []
    for place, (each, image) in enumerate(seen):
        warm = [overlaid(image, heat[place], side) for heat in heats]
        tiles += [pictures.tiles([split.paths[each.row]], side)[0], *warm]
        captions += [shown_id(split.ids[each.row]), *_spoke_for(each)]
    figure = figures.contact_sheet(np.stack(tiles), captions, f"What {looker.name} looked at", COLUMNS)
    said = "; ".join(f"{split.ids[each.row]}: {each.truth}, answered {each.said}" for each, _ in seen)
    alt = f"Heat maps of what {looker.name} looked at in mistakes: {said}"
    return folder.add("looked-at", figure, alt, photographs=True)


def _spoke_for(answer: Answer) -> tuple[str, str]:
    if answer.choices is None:
        return f"above {answer.said}", f"below {answer.said}"
    return f"for {answer.said}", f"for {answer.truth}"


def _heats(
    looker: Looker, answers: list[Answer], images: np.ndarray, context: ReportContext
) -> tuple[np.ndarray, np.ndarray] | None:
    """For the answers and for the truth, float32 ``[N, h, w]``; None if the network has no map."""
    task, outputs = context.competition.task, context.evaluations[BLEND].probabilities
    pairs = [heat_weights(task, each, outputs[each.row]) for each in answers]
    said, truth = (looker.heat(images, np.stack(each)) for each in zip(*pairs, strict=True))
    return None if said is None or truth is None else (said, truth)


def heat_weights(task: Task, answer: Answer, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the network's outputs, ``[T * K]``, with which their sum speaks for the answer, and for the truth.

    output: of the blend, ``[T * K]``. Of a number they are those that move it up and down.
    """
    said, truth = np.zeros((2, task.target_count, task.choices))
    if answer.choices is None:
        shares, means = output.reshape(said.shape)[answer.target], np.array(task.intervals[answer.target])
        said[answer.target] = shares * (means - shares @ means)
        truth[answer.target] = -said[answer.target]
    else:
        for weights, choice in zip((said, truth), answer.choices, strict=True):
            weights[answer.target, choice] = 1
    return said.ravel(), truth.ravel()
