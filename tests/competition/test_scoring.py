"""The scorer: what a board shows for a submission, and its words where there is nothing to show."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from competition.errors import UserError
from competition.form import Form
from competition.metrics import find_metric
from competition.scoring import Scores, score_submission
from competition.task import Task

ANSWERS = """Image,Class,Usage
a.png,0,Public
b.png,1,Public
c.png,2,Private
d.png,3,Private
e.png,4,Private
"""


@pytest.fixture
def score(tmp_path):
    def scored(submission: str, answers: str = ANSWERS) -> Scores:
        (tmp_path / "submission.csv").write_text(submission, newline="")
        (tmp_path / "answers.csv").write_text(answers, newline="")
        return score_submission(tmp_path / "submission.csv", tmp_path / "answers.csv")

    return scored


def error_of(score, *texts: str) -> str:
    with pytest.raises(UserError) as caught:
        score(*texts)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_each_side_of_the_board_counts_its_own_rows(score):
    scores = score("Image,Class\na.png,0\nb.png,9\nc.png,2\nd.png,3\ne.png,9\n")
    assert scores == Scores(public=1 / 2, private=2 / 3, overall=3 / 5)


def test_rows_are_joined_by_id_and_not_by_place(score):
    scores = score("Image,Class\ne.png,4\nd.png,3\nc.png,2\nb.png,1\na.png,0\n")
    assert scores == Scores(1.0, 1.0, 1.0)


def test_a_byte_order_mark_crlf_and_blank_lines_are_read_over(score):
    scores = score("\ufeffImage,Class\r\na.png,0\r\nb.png,1\r\nc.png,0\r\nd.png,0\r\ne.png,0\r\n\r\n")
    assert scores == Scores(1.0, 0.0, 2 / 5)


def test_labels_may_be_words(score):
    answers = "id,kind,Usage\n1,Acer_Opalus,Public\n2,Tilia,Private\n"
    assert score("id,kind\n1,Acer_Opalus\n2,tilia\n", answers) == Scores(1.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("submission", "words"),
    [
        ("image,label\na.png,0\n", "the header is image,label but must be Image,Class"),
        (",Image,Class\n0,a.png,0\n", "the header is ,Image,Class but must be Image,Class"),
        ("Image,Class\na.png,0\nd.png,3\n", "3 ids of 5 missing (b.png, c.png, e.png)"),
        ("Image,Class\na.png,0\nz.png,3\n", "id not in the test set (z.png) in 1 row (row 3)"),
        ("Image,Class\na.png,0\nb.png,1\na.png,0\n", "duplicate id (a.png) in 2 rows (row 2, 4)"),
        (
            "Image,Class\na.png,\nb.png,1\nc.png,2\nd.png, \ne.png,4\n",
            "no prediction in 2 rows (row 2, 5)",
        ),
        ("Image,Class\n,0\nb.png,1\n", "empty id in 1 row (row 2)"),
        (
            "Image,Class\na.png,0.0\nb.png,1\nc.png,2\nd.png,3\ne.png,4\n",
            "class is not an integer in 1 row (row 2); write the classes as in train.csv, e.g. 0",
        ),
        ("Image,Class\n", "the table is empty"),
        ("", "the file is empty"),
    ],
)
def test_a_submission_that_a_board_would_refuse_is_refused_in_words(score, submission, words):
    message = error_of(score, submission)
    assert words in message
    assert "submission.csv: " in message


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ("Image,Class\na.png,0\n", "the header Image,Class is not that of a solution file"),
        ("Image,Class,Usage\na.png,0,Public\nb.png,1,Secret\n", "neither Public nor Private in 1 row (row 3)"),
        ("Image,Class,Usage\na.png,0,Public\n", "no row is Private"),
        ("Image,Class,Usage\na.png,0,Public\na.png,1,Private\n", "duplicate id (a.png)"),
        ("Image,Class,Usage\na.png,,Public\nb.png,1,Private\n", "no class in 1 row (row 2)"),
    ],
)
def test_answers_that_cannot_score_are_refused_in_words(score, answers, words):
    message = error_of(score, "Image,Class\na.png,0\nb.png,1\n", answers)
    assert words in message
    assert "answers.csv: " in message


def test_a_submission_that_is_not_there_is_an_error_naming_it(tmp_path):
    (tmp_path / "answers.csv").write_text(ANSWERS)
    with pytest.raises(UserError, match=r"gone\.csv: no such file"):
        score_submission(tmp_path / "gone.csv", tmp_path / "answers.csv")


def scored(folder, rule: str, answers: str, submission: str, **more) -> Scores:
    (folder / "answers.toml").write_text(rule)
    (folder / "answers.csv").write_text(answers)
    (folder / "submission.csv").write_text(submission)
    return score_submission(folder / "submission.csv", folder / "answers.csv", **more)


OF_TWO = "id,target,Usage\na,1,Public\nb,0,Public\nc,1,Private\nd,0,Private\n"
OF_LABELS = "id,moss,rust,Usage\na,1,1,Public\nb,0,1,Public\nc,1,0,Private\nd,0,1,Private\n"
OF_CELLS = "id,labels,Usage\na,moss rust,Public\nb,rust,Public\nc,moss,Private\nd,rust,Private\n"
OF_WORDS = "id,kind,Usage\na,ant,Public\nb,bee,Public\nc,ant,Private\nd,cow,Private\n"


def test_a_file_beside_the_answers_names_metric_and_form(tmp_path):
    answered = "id,target\nd,0.4\nc,0.5\nb,0.1\na,0.9\n"
    scores = scored(tmp_path, 'metric = "log-loss"\nform = "probability"\n', OF_TWO, answered)
    assert scores.public == pytest.approx(-np.log(0.9))
    assert scores.private == pytest.approx(-(np.log(0.5) + np.log(0.6)) / 2)
    assert scored(tmp_path, 'metric = "auc"\nform = "probability"\n', OF_TWO, answered) == Scores(1, 1, 1)


def test_rows_of_probabilities_are_divided_by_their_sum_for_log_loss_alone(tmp_path):
    answers = "id,ant,bee,cow,Usage\na,1,0,0,Public\nb,0,1,0,Private\nc,1,0,0,Private\nd,0,0,1,Private\n"
    answered = "id,ant,bee,cow\na,1,1,0\nb,0.5,0.5,0\nc,0.4,0.6,0\nd,0,0,1\n"
    scores = scored(tmp_path, 'metric = "log-loss"\nform = "columns"\n', answers, answered)
    assert scores.public == pytest.approx(np.log(2))
    by_auc = scored(tmp_path, 'metric = "auc"\nform = "columns"\n', answers, answered)
    assert by_auc.overall == pytest.approx((roc_auc_score([1, 0, 1, 0], [1, 0.5, 0.4, 0]) + 1 / 3 + 1) / 3)


def test_several_labels_are_scored_in_columns_and_in_cells(tmp_path):
    in_columns = "id,moss,rust\na,0.9,0.2\nb,0.1,0.9\nc,0.9,0.9\nd,0.1,0.9\n"
    in_cells = "id,labels\na,moss\nb,rust\nc,rust moss\nd,rust\n"
    expected = Scores((2 / 3 + 1) / 2, (2 / 3 + 1) / 2, (2 / 3 + 1) / 2)
    for form, answers, answered in (("columns", OF_LABELS, in_columns), ("labels", OF_CELLS, in_cells)):
        assert scored(tmp_path, f'metric = "f1-samples"\nform = "{form}"\n', answers, answered) == expected


def test_rankings_and_confidences_are_scored_against_the_true_labels(tmp_path):
    ranked = "id,kind\na,ant bee\nb,ant bee\nc,cow ant\nd,bee\n"
    rule = 'metric = "map@2"\nform = "ranking"\n'
    assert scored(tmp_path, rule, OF_WORDS, ranked) == Scores(0.75, 0.25, 0.5)
    sure = "id,kind\na,ant 0.9\nb,ant 0.5\nc,ant 0.1\nd,\n"
    found = scored(tmp_path, 'metric = "gap"\nform = "confidence"\n', OF_WORDS, sure)
    assert found.overall == pytest.approx((1 + 2 / 3) / 4)


def test_numbers_and_grades_are_scored(tmp_path):
    answered = "id,target\na,2\nb,0\nc,1\nd,3\n"
    assert scored(tmp_path, 'metric = "mae"\nform = "number"\n', OF_TWO, answered) == Scores(0.5, 1.5, 1.0)
    grades = OF_TWO.replace("c,1", "c,3")
    assert scored(tmp_path, 'metric = "kappa"\n', grades, "id,target\na,1\nb,0\nc,3\nd,0\n") == Scores(1, 1, 1)


def test_rows_for_each_target_are_scored_target_by_target(tmp_path):
    answers = "id,answer,Usage\n" + "".join(
        f"{name}_{target},{label},{usage}\n"
        for name, usage, *labels in (("a", "Public", 0, 1), ("b", "Public", 1, 1), ("c", "Private", 0, 0))
        for target, label in zip(("root", "vowel"), labels, strict=True)
    )
    answered = "id,answer\nc_root,0\nc_vowel,0\na_root,0\nb_root,1\na_vowel,1\nb_vowel,0\n"
    rule = 'metric = "weighted-recall"\ntargets = ["root", "vowel"]\n'
    scores = scored(tmp_path, rule, answers, answered)
    assert scores.public == pytest.approx((2 * 1 + 1 / 2) / 3)
    assert scores.overall == pytest.approx((2 * 1 + (1 + 1 / 2) / 2) / 3)


def test_the_form_and_the_metric_of_a_competition_may_be_given(tmp_path):
    task = Task(("any", "bleed"), "multilabel")
    ids = ("a_any", "a_bleed", "b_any", "b_bleed")
    long = Form("probability", ("id", "p"), ids, ("a", "a", "b", "b"), row_targets=np.array([0, 1, 0, 1]))
    answers = "id,p,Usage\na_any,1,Public\na_bleed,1,Public\nb_bleed,0,Private\nb_any,0,Private\n"
    answered = "id,p\na_any,0.5\na_bleed,0.9\nb_any,0.5\nb_bleed,0.1\n"
    metric = find_metric("weighted-log-loss").of(task)
    scores = scored(tmp_path, "", answers, answered, form=long, metric=metric)
    assert scores.public == scores.private == pytest.approx(-(2 * np.log(0.5) + np.log(0.9)) / 3)


def test_an_own_metric_gets_the_two_tables(tmp_path):
    (tmp_path / "own.py").write_text("def score(s, t, row):\n    return (s['target'] - t['target']).abs().sum()\n")
    rule = f'metric = "{tmp_path / "own.py"}:score"\nform = "probability"\n'
    assert scored(tmp_path, rule, OF_TWO, "id,target\na,0.5\nb,0\nc,1\nd,1\n") == Scores(0.5, 1, 1.5)


@pytest.mark.parametrize(
    ("rule", "cells", "words"),
    [
        ('form = "probability"\nmetric = "auc"', ["0.5", "x", "0.5", "2"], r"not a number \(x\) in 1 row \(row 3\)"),
        ('metric = "kappa"', ["ant", "1", "0", "1"], r"class is not an integer in 1 row \(row 2\)"),
        ('metric = "acuracy"', ["1", "1", "0", "1"], r"no metric is called 'acuracy' \(did you mean 'accuracy'\?\)"),
        ('metrics = "auc"', ["1", "1", "0", "1"], r"answers\.toml: metrics: no such key"),
        ('metric = "rmse"', ["1", "1", "many", "1"], r"not a number \(many\) in 1 row \(row 4\)"),
    ],
)
def test_what_cannot_be_scored_in_another_form_is_refused_in_words(tmp_path, rule, cells, words):
    answered = "id,target\n" + "".join(f"{name},{cell}\n" for name, cell in zip("abcd", cells, strict=True))
    with pytest.raises(UserError, match=words) as caught:
        scored(tmp_path, rule, OF_TWO, answered)
    assert "\n" not in str(caught.value)
