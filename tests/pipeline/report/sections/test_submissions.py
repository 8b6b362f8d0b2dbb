from dataclasses import replace

from pipeline.report import figures
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.sections import submissions
from tests.pipeline.report.conftest import sent

NAN = float("nan")


def figure_of(context, tmp_path, *sent_before):
    with figures.style():
        return submissions.section(replace(context, sent=sent_before), FigureFolder(tmp_path)).content["figure"]


def test_each_submission_with_both_scores_is_drawn(context, tmp_path):
    figure = figure_of(context, tmp_path, sent("1", 0.7, 0.72), sent("2", 0.8, 0.6), sent("3", 0.9, NAN))
    said = "of 2 submissions, of which 1 lie in the interval of validation: 0.7000 and 0.7200; 0.8000 and 0.6000"
    assert said in figure.alt


def test_submissions_by_another_metric_are_in_the_table_alone(context, tmp_path):
    assert figure_of(context, tmp_path, replace(sent("1", 0.7, 0.72), metric="log-loss")) is None


def test_without_a_submission_there_is_no_section(context, tmp_path):
    assert submissions.section(replace(context, sent=()), FigureFolder(tmp_path)) is None
