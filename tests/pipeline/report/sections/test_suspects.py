"""Labels under suspicion in the report."""

from dataclasses import replace

import pandas as pd

from competition.layouts import label_cells
from pipeline.findings.finding import Finding
from pipeline.findings.suspects import KIND
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.sections.suspects import section


def with_suspects(context: ReportContext, labels: list[str]) -> ReportContext:
    """Three suspects with these labels; each is like the first two images of train."""
    train = context.competition.train
    near = "; ".join(train.ids[:2])
    table = pd.DataFrame({"split": "train", "id": train.ids[3:6], "label": labels, "models_say": "$x^"})
    table = table.assign(probability=["0.98", "0.9", ""], odds="0.01", nearest=[near, near, ""])
    return replace(context, findings=[Finding(KIND, "told", table)])


def test_suspects_stand_with_the_pictures_most_like_them_without_those_that_have_been_corrected(context, tmp_path):
    competition = context.competition
    (labels,) = label_cells(competition.task, competition.train.known_labels[3:6]).values()
    found = section(with_suspects(context, labels), FigureFolder(tmp_path))
    first, *_, last = found.content["rows"]
    assert found.content["count"] == 3
    assert (first.id, first.label, first.said, first.probability) == (competition.train.ids[3], labels[0], "$x^", "98%")
    (near,) = label_cells(competition.task, competition.train.known_labels[:2]).values()
    assert first.nearest == tuple(zip(competition.train.ids[:2], near, strict=True))
    assert (last.nearest, last.probability, len(last.paths)) == ((), "", 1)
    found = section(with_suspects(context, ["猫 corrected", *labels[1:]]), FigureFolder(tmp_path))
    assert [row.id for row in found.content["rows"]] == list(competition.train.ids[4:6])
    assert all(row.id in found.content["figure"].alt for row in found.content["rows"])


def test_without_suspects_there_is_no_section(context, tmp_path):
    assert section(context, FigureFolder(tmp_path)) is None
    assert section(with_suspects(context, ["", "", ""]), FigureFolder(tmp_path)) is None
