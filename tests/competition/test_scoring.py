"""The scorer: what a board shows for a submission, and its words where there is nothing to show."""

import pytest

from competition.errors import UserError
from competition.scoring import Scores, score_submission

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
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read"):
        score_submission(tmp_path / "gone.csv", tmp_path / "answers.csv")
