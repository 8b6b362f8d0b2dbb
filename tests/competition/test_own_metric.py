"""Own metrics: a function of a file, called with frames as Kaggle's metric notebooks are."""

import pickle

import numpy as np
import pytest

from competition.errors import UserError
from competition.form import Form
from competition.metrics import ACCURACY, LOG_LOSS, find_metric
from competition.task import Task

ACCURATE = """
def score(solution, submission, row_id_column_name):
    del solution[row_id_column_name], submission[row_id_column_name]
    return (solution == submission).to_numpy().mean()
"""
LOSS = """
import numpy as np

def loss(solution, submission, row_id_column_name):
    assert list(solution[row_id_column_name]) == list(submission[row_id_column_name])
    truth, given = (frame.drop(columns=row_id_column_name).to_numpy(float) for frame in (solution, submission))
    return -np.log((truth * given).sum(axis=1).clip(1e-7)).mean()
"""
CLASSES = Task(("ant", "bee", "cow"))
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.4, 0.35, 0.25]], np.float32)
LABELS = np.array([0, 1, 2, 1])


@pytest.fixture
def own(tmp_path):
    def write(text: str, name: str = "score"):
        (tmp_path / "own.py").write_text(text)
        return find_metric(f"{tmp_path / 'own.py'}:{name}")

    return write


def form(kind: str, *columns: str) -> Form:
    return Form(kind, ("id", *columns), ("a",), ("a",))


def test_classes_are_handed_over_as_classes(own):
    metric = own(ACCURATE).of(CLASSES, form("class", "kind"))
    assert metric(PROBABILITIES, LABELS) == ACCURACY(PROBABILITIES, LABELS) == 0.75
    assert metric.greater_is_better and metric.title == "score"


def test_probabilities_are_handed_over_in_columns_and_a_loss_is_recognised(own):
    metric = own(LOSS, "loss").of(CLASSES, form("columns", "ant", "bee", "cow"))
    assert metric(PROBABILITIES, LABELS) == pytest.approx(LOG_LOSS(PROBABILITIES, LABELS))
    assert not metric.greater_is_better
    low, high = metric.interval(PROBABILITIES, LABELS)
    assert low < metric(PROBABILITIES, LABELS) < high


def test_a_row_a_target_is_handed_over_in_long_form(own):
    task = Task((0, 1), "multioutput", ("root", "vowel"))
    text = "def score(solution, submission, row):\n    assert solution[row][1] == '0_vowel'\n"
    text += "    return float((solution['target'] == submission['target']).mean())\n"
    long = Form("class", ("id", "target"), ("a",), ("a",), row_targets=np.array([0]))
    metric = own(text).of(task, long)
    assert metric(np.array([[0.9, 0.1, 0.2, 0.8]], np.float32), np.array([[0, 0]])) == 0.5


def test_without_a_form_the_simplest_is_taken(own):
    labels = Task(("a", "b"), "multilabel")
    text = (
        "def score(s, t, row):\n    return float(((s[['a', 'b']] > 0.5) == (t[['a', 'b']] > 0.5)).to_numpy().mean())\n"
    )
    assert own(text).of(labels)(np.array([[0.9, 0.1, 0.4, 0.6]]), np.array([[0, 0]])) == 0.5


def test_it_is_found_again_by_its_name_and_sent_to_another_process(own):
    metric = own(ACCURATE).of(CLASSES)
    assert find_metric(metric.name) == metric
    sent = pickle.loads(pickle.dumps(metric))
    assert sent(PROBABILITIES, LABELS) == 0.75


def test_what_is_wrong_is_said_in_one_line(own, tmp_path):
    with pytest.raises(UserError, match=r"gone\.py: no such file; give the metric as FILE\.py:function"):
        find_metric(f"{tmp_path / 'gone.py'}:score")
    with pytest.raises(UserError, match=r"own\.py: no function 'scores' \(did you mean 'score'\?\)"):
        own(ACCURATE, "scores")
    with pytest.raises(UserError, match=r"own\.py: cannot be run \(No module named 'kaggle_tools'\)"):
        own("import kaggle_tools\n" + ACCURATE)


def test_a_function_that_fails_or_tells_nothing_apart_is_refused_before_training(own):
    with pytest.raises(UserError, match=r"score failed \(KeyError: 'weight'\); .* called with the columns id, kind$"):
        own("def score(s, t, row):\n    return s['weight'].sum()\n").of(CLASSES, form("class", "kind"))


def test_a_constant_is_refused(own):
    with pytest.raises(UserError, match="score gives 1 for right answers and 1 for shuffled ones"):
        own("def score(s, t, row):\n    return 1\n").of(CLASSES)
