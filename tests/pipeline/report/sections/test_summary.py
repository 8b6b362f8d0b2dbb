from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.data.predictions import Predictions
from pipeline.findings.duplicates import LEAKS
from pipeline.findings.finding import Finding
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.sections import summary
from tests.pipeline.report.conftest import SESSION, sent


def content(context, tmp_path) -> dict:
    return summary.section(context, FigureFolder(tmp_path)).content


def test_short_stages_are_summed_up_and_all_shares_make_one(context, tmp_path):
    stages = content(context, tmp_path)["stages"]
    assert [stage.name for stage in stages] == ["start", "decoding images", "neighbours", "network", "everything else"]
    assert stages[3].time == "36s"
    assert sum(stage.share for stage in stages) == pytest.approx(1)
    assert len({stage.colour for stage in stages}) == len(stages)


def test_several_runs_of_train_py_are_added_up(context, tmp_path):
    twice = replace(context, sessions=[SESSION, replace(SESSION, stages={"start": 4.0, "other": 60.0})])
    assert content(twice, tmp_path)["whole"] == "2m 00s"
    assert content(twice, tmp_path)["stages"][0].time == "9s"


def test_where_no_session_is_recorded_the_time_is_that_of_the_models(context, tmp_path):
    older = content(replace(context, sessions=()), tmp_path)
    assert (older["whole"], older["session"]) == ("24s", None)
    assert {stage.name for stage in older["stages"]} == {"network", "neighbours"}


def test_the_worst_classes_are_named_with_their_f1(context, tmp_path):
    f1 = context.evaluations["blend"].f1
    worst = content(context, tmp_path)["worst"]
    assert [value for _, value in worst] == sorted(f1)[:2]
    assert worst[0][0] == context.class_names[f1.argmin()]


def test_a_class_without_a_mistake_is_not_among_the_worst(context, tmp_path):
    val = context.validation
    perfect = Predictions(val.ids, np.eye(len(context.class_names))[val.known_labels], val.labels)
    flawless = replace(context, validated=dict.fromkeys(context.runs, perfect))
    assert content(flawless, tmp_path)["worst"] == []


def test_the_last_public_score_is_shown(context, tmp_path):
    sessions = (sent("2026-05-01", 0.8, 0.7), sent("2026-05-02", 0.8, 0.75), sent("2026-05-03", 0.8, float("nan")))
    assert content(replace(context, sent=sessions), tmp_path)["public"].public == 0.75
    assert content(replace(context, sent=()), tmp_path)["public"] is None


def test_copies_between_splits_are_counted_once_the_images_were_looked_at(context, tmp_path):
    table = pd.DataFrame({"split": ["test"] * 3, "id": ["1", "2", "3"]})
    assert content(replace(context, findings=()), tmp_path)["leaks"] is None
    assert content(replace(context, findings=[Finding("blank", "", table)]), tmp_path)["leaks"] == 0
    assert content(replace(context, findings=[Finding(LEAKS, "3 copies", table)]), tmp_path)["leaks"] == 3


def test_the_page_begins_with_the_score_the_steps_and_how_it_was_made(page):
    first = page.read_text(encoding="utf-8").partition('<section id="models"')[0]
    for words in ("of the blend on validation", "95 % interval", "What to try next", SESSION.command, SESSION.machine):
        assert words in first
    assert "of a budget of 1m 00s" in first and "private score not shown yet" in first
