"""Contests of every form go all the way: from their files to a valid submission that beats their sample."""

import shutil
from pathlib import Path

import pytest

from competition.errors import UserError
from competition.layouts import read_corrections
from competition.metrics import find_metric
from competition.rehearsal import draw_rehearsal
from competition.rehearsal_forms import FORMS
from competition.scoring import score_submission
from competition.sources import open_competition
from competition.submission import check_submission
from tests.commands import run, succeed

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
    submission = Path(succeed("predict", *options, "--no-report", "--debug").splitlines()[-1])
    competition = open_competition(str(folder), None, tmp_path)
    check_submission(competition, submission)
    if (suspects := tmp_path / "runs" / form / "audit" / "suspects.csv").exists():
        with pytest.raises(UserError, match="no label in it differs"):  # it is read, and nobody has corrected it
            read_corrections(suspects, competition)
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


# --- in a notebook


def kernel(notebook: Path, form: str, *options: str) -> Path:
    """Run the kernel on the notebook's inputs, and its scripts in this process. Returns the submission it leaves."""
    places = ("--input", notebook / "input", "--work", notebook / "working")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.kernel.run", lambda script, words, seconds=None: run(script, *words).status)
        succeed("kernel", "--competition", form, *places, *options)
    return notebook / "working" / "submission.csv"


def notebook_with(folder: Path, notebook: Path, form: str) -> Path:
    """The competition's files in a notebook's inputs, to be changed."""
    shutil.copytree(folder, notebook / "input" / "competitions" / form)
    (notebook / "working").mkdir()
    return notebook / "input" / "competitions" / form


@pytest.mark.parametrize("form", ["lists", "numbers", "folders"])
def test_a_kernel_answers_with_the_models_of_an_earlier_one(form, drawn, tmp_path):
    folder, answers = drawn(form)
    notebook_with(folder, tmp_path, form)
    trained = tmp_path / "input" / "notebooks" / "ann" / "pipeline"
    options = ("--competition", form, "--data", folder, "--work", trained)
    succeed("train", *options, "--models", MODEL)
    score_submission(kernel(tmp_path, form, "--predict-only", "--no-report"), answers)


@pytest.mark.parametrize("form", ["probabilities", "targets"])
def test_the_test_images_that_lie_there_when_it_predicts_are_answered(form, drawn, tmp_path):
    """In some contests a single row stands for the test set until the submission is scored."""
    folder, answers = drawn(form)
    mounted = notebook_with(folder, tmp_path, form)
    tables = [mounted / name for name in ("test.csv", "sample_submission.csv") if (mounted / name).exists()]
    few = len(FORMS[form].rule.targets) or 1
    for table in tables:
        table.write_text("".join(table.read_text().splitlines(keepends=True)[: 1 + few]))
    assert len(kernel(tmp_path, form, "--models", MODEL, "--epochs", "1").read_text().splitlines()) == 1 + few
    trained = tmp_path / "input" / "notebooks" / "ann" / "pipeline"
    shutil.copytree(tmp_path / "working", trained)
    for table in tables:
        shutil.copyfile(folder / table.name, table)
    score_submission(kernel(tmp_path, form, "--predict-only", "--no-report"), answers)
