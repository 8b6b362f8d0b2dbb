from dataclasses import replace
from itertools import count
from types import SimpleNamespace

from pipeline.report import context as report_context
from pipeline.report import figures
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.sections import each_model


def test_models_are_drawn_the_best_first_as_long_as_there_is_time(context, tmp_path, monkeypatch):
    clock = count(step=10.0)
    monkeypatch.setattr(each_model, "time", SimpleNamespace(process_time=lambda: next(clock)))
    with figures.style():
        section = each_model.section(context, FigureFolder(tmp_path))
    assert [model["name"] for model in section.content["models"]] == ["network"]
    assert section.content["left_out"] == ["neighbours"]


def test_of_many_models_the_best_have_figures_and_the_others_are_named(shown, context, monkeypatch):
    monkeypatch.setattr(each_model, "MOST_DETAILED", 1)
    html = shown(each_model.section, context)
    assert html.count("<details>") == 1 and "<summary>network" in html
    assert "quick to draw: neighbours." in html


def test_the_report_may_take_half_a_minute_or_a_tenth_of_the_training(context):
    assert context.drawing_seconds == report_context.LEAST_DRAWING
    hour = replace(context.sessions[0], stages={"network": 3600.0})
    assert replace(context, sessions=[hour]).drawing_seconds == 360.0
