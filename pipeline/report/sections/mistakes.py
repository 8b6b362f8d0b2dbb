"""Where the blend is wrong: the worst classes, confused pairs, surest mistakes; and where it is unsure in test."""

import numpy as np

from pipeline.report import figures, pictures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.evaluation import Confusion, Evaluation
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.mistakes import Answer, half_of_mistakes, least_sure, shown_id, surest_mistakes, worst_classes
from pipeline.report.section import Section

MOST_CLASSES = 20  # in the table of the worst
SHOWN = 12  # surest mistakes, and least sure test images
COLUMNS = 6  # of pictures
PAIRS, OF_EACH = 5, 2  # confused pairs; pictures of a pair's mistakes and of each of its classes


def section(context: ReportContext, figure_folder: FigureFolder) -> Section:
    surest, unsure = surest_mistakes(context, SHOWN), least_sure(context, SHOWN)
    content = {
        "surest": [_row(context.validation.ids, answer) for answer in surest],
        "surest_figure": _answers("surest-mistakes", surest, context, figure_folder) if surest else None,
        "unsure": [_row(context.competition.test.ids, answer) for answer in unsure],
        "unsure_figure": _answers("least-sure", unsure, context, figure_folder) if unsure else None,
        "by_class": _by_class(context, figure_folder) if context.has_classes else None,
    }
    return Section("mistakes", "Mistakes", "mistakes.html.j2", content)


def _row(ids: tuple[str, ...], answer: Answer) -> tuple[str, str, str]:
    return ids[answer.row], answer.truth, f"{answer.said} {answer.note}".replace("\n", ", ")


def _answers(name: str, answers: list[Answer], context: ReportContext, folder: FigureFolder) -> EmbeddedImage:
    """The pictures with their ids, and what was answered; the truth if it is known."""
    is_test = name == "least-sure"
    split = context.competition.test if is_test else context.validation
    lines = [(split.ids[each.row], *_lines(each)) for each in answers]
    captions = ["\n".join((shown_id(name), *others)) for name, *others in lines]
    title = f"The {len(answers)} {'least sure test images' if is_test else 'surest mistakes'}"
    tiles = pictures.tiles([split.paths[each.row] for each in answers], figures.tile_side(COLUMNS))
    figure = figures.contact_sheet(tiles, captions, title, COLUMNS)
    said = "; ".join(", ".join(each) for each in lines)
    return folder.add(name, figure, f"{title}: {said}", photographs=True)


def _lines(answer: Answer) -> tuple[str, ...]:
    answered = (answer.truth, f"→ {answer.said}") if answer.truth else tuple(answer.said.split("\n"))
    return (*answered, answer.note)


def _by_class(context: ReportContext, folder: FigureFolder) -> dict:
    evaluation = context.evaluations[BLEND]
    worst = worst_classes(evaluation, context.class_names)
    pairs = evaluation.worst_confusions(PAIRS)
    return {
        "worst": worst[:MOST_CLASSES],
        "others": len(worst) - MOST_CLASSES,
        "half": half_of_mistakes(worst),
        "mistakes": len(evaluation.labels) - evaluation.right,
        "pairs": _pairs(pairs, evaluation, context, folder) if pairs else None,
    }


def _pairs(
    pairs: list[Confusion], evaluation: Evaluation, context: ReportContext, folder: FigureFolder
) -> EmbeddedImage:
    """A row for each pair: its first class as it should be, the mistakes, and the class that they were taken for."""
    names, ids = context.drawn_names, context.validation.ids
    rows = [row for pair in pairs for row in _pictures_of(pair, evaluation)]
    mistaken = np.tile(np.repeat([False, True, False], OF_EACH), len(pairs))
    captions = [_pair_caption(row, evaluation, names, ids) for row in rows]
    side = figures.tile_side(3 * OF_EACH)
    tiles = np.full((len(rows), side, side, 3), pictures.WHITE, np.uint8)
    there = {place: context.validation.paths[row] for place, row in enumerate(rows) if row is not None}
    tiles[list(there)] = pictures.tiles(list(there.values()), side)
    colours = [figures.RED if wrong else figures.GREEN for wrong in mistaken]
    figure = figures.contact_sheet(tiles, captions, "The pairs that are confused most", 3 * OF_EACH, colours)
    said = "; ".join(f"{names[pair.true]} taken for {names[pair.predicted]}, {pair.count} images" for pair in pairs)
    return folder.add("confused-pairs", figure, f"Pictures of the pairs that are confused most: {said}", True)


def _pictures_of(pair: Confusion, evaluation: Evaluation) -> list[int | None]:
    """Rows of the surest answers: the first class as such, its images taken for the second, the second as such."""
    kinds = ((pair.true, pair.true), (pair.true, pair.predicted), (pair.predicted, pair.predicted))
    return [row for true, said in kinds for row in _surest(true, said, evaluation)]


def _surest(true: int, said: int, evaluation: Evaluation) -> list[int | None]:
    rows = np.flatnonzero((evaluation.labels == true) & (evaluation.predicted_labels == said))
    best = rows[np.argsort(-evaluation.probabilities[rows, said], kind="stable")][:OF_EACH].tolist()
    return best + [None] * (OF_EACH - len(best))


def _pair_caption(row: int | None, evaluation: Evaluation, names: list[str], ids: tuple[str, ...]) -> str:
    if row is None:
        return "none\n\n"
    true, said = evaluation.labels[row], evaluation.predicted_labels[row]
    answered = f"→ {names[said]}" if said != true else ""
    return f"{shown_id(ids[row])}\n{names[true]}\n{answered}"
