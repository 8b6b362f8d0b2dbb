"""The section on the data: what bears on the answer with pictures and ids, everything else in a table."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pipeline.findings.finding import Finding
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.page import rendered
from pipeline.report.sections.findings import section


@pytest.fixture
def shown(context: ReportContext, tmp_path: Path):
    """A function that gives the HTML of the section on these findings."""

    def shown(*findings: Finding) -> str:
        found = replace(context, findings=findings)
        made = section(found, FigureFolder(tmp_path))
        return "" if made is None else rendered(found, [made])

    return shown


def test_without_an_audit_there_is_no_section(shown):
    assert shown() == ""


def test_what_is_told_comes_with_its_pictures_and_their_ids(shown, context, tmp_path):
    train, test = context.competition.train.ids, context.competition.test.ids
    pairs = {"split": "test", "id": test[:6], "other_split": "train", "other_id": train[:6]}
    table = pd.DataFrame(pairs).assign(label="", other_label="<cat>")
    page = shown(Finding("leaks", "6 test images are among the labelled ones: <i>look</i>", table))
    assert "6 test images are among the labelled ones: &lt;i&gt;look&lt;/i&gt;." in page
    assert f"Leaks: test: {test[0]} and train: {train[0]} (&lt;cat&gt;)" in page
    assert test[4] not in page.split('id="findings"')[1]
    assert "All 6 rows: <code>runs/odd/audit/leaks.csv</code>" in page
    assert (tmp_path / "finding-leaks.png").exists()


def test_a_label_that_the_figures_cannot_spell_is_drawn_by_its_number(shown, context):
    table = pd.DataFrame({"split": ["train"], "id": [context.competition.train.ids[0]], "label": ["猫"]})
    number = context.competition.classes.index("猫")
    assert f"(no. {number})" in shown(Finding("blank", "1 labelled image of a single colour", table))


def test_images_that_are_not_in_the_competition_any_more_are_not_shown(shown, context):
    table = pd.DataFrame({"split": "train", "id": ["gone.png", context.competition.train.ids[0]]})
    page = shown(Finding("blank", "2 labelled images of a single colour", table))
    assert "Blank: train: " in page and "gone.png" not in page


def test_a_finding_that_is_not_about_images_has_no_picture(shown):
    page = shown(Finding("class-counts", "1 class with few images", pd.DataFrame({"class": ["ant"], "train": [1]})))
    assert "<h3>Class counts</h3>" in page and "<img" not in page


def test_what_has_no_bearing_on_the_answer_stands_in_a_table(shown):
    page = shown(Finding("extreme", "", pd.DataFrame({"split": ["train"], "id": ["a.png"]})))
    assert "Nothing was found that has a bearing on the answer." in page
    assert "<code>runs/odd/audit/extreme.csv</code>" in page
