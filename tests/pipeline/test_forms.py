"""Contests of every form go all the way: from their files to a valid submission that beats their sample."""

from pathlib import Path

import pytest

from competition.metrics import find_metric
from competition.rehearsal import draw_rehearsal
from competition.rehearsal_forms import FORMS
from competition.scoring import score_submission
from competition.sources import open_competition
from competition.submission import check_submission
from tests.commands import succeed

IMAGES, MODEL = 240, "dhc-gaussian-nb"


@pytest.fixture(scope="module")
def drawn(made_once):
    """A function that returns the folder and the answers of the rehearsal in a form."""

    def draw(form: str) -> tuple[Path, Path]:
        place = made_once(form, lambda folder: draw_rehearsal(folder / form, folder / "answers.csv", IMAGES, form=form))
        return place / form, place / "answers.csv"

    return draw


def sample_of(folder: Path) -> Path:
    return folder / "sample_submission.csv"


@pytest.mark.parametrize("form", FORMS)
def test_a_contest_of_any_form_gets_a_valid_submission_that_is_better_than_its_sample(form, drawn, tmp_path):
    folder, answers = drawn(form)
    options = ("--competition", folder, "--work", tmp_path, "--metric", FORMS[form].rule.metric)
    succeed("train", *options, "--models", MODEL)
    submission = Path(succeed("predict", *options, "--no-report").splitlines()[-1])
    check_submission(open_competition(str(folder), None, tmp_path), submission)
    ours, samples = (score_submission(path, answers).overall for path in (submission, sample_of(folder)))
    assert find_metric(FORMS[form].rule.metric).rank(ours - samples) > 0


def test_a_network_and_a_report_take_several_labels_too(drawn, tmp_path):
    folder, _ = drawn("several-labels")
    options = ("--competition", folder, "--work", tmp_path)
    assert "8 labels, any of which an image may have" in succeed(
        "train", *options, "--models", MODEL, "dhc-cnn32", "--epochs", 1
    )
    lines = succeed("predict", *options).splitlines()
    assert any(line.startswith("report: ") for line in lines)
    assert "any of which an image may have" in Path(lines[-1]).with_name("report.html").read_text(encoding="utf-8")
