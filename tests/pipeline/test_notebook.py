"""The commands as functions: what a notebook calls, sees and keeps."""

import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from competition.errors import UserError
from competition.progress import Progress
from pipeline import commands, notebook
from pipeline.training.sessions import read_sessions
from tests.commands import start_clock

BAYES = {"models": "dhc-gaussian-nb", "quiet": True}


@pytest.fixture(scope="module")
def insects(made_once: Callable[..., Path], make_competition: Callable[..., Path]) -> Path:
    return made_once("notebook", lambda place: make_competition(place / "insects")) / "insects"


@pytest.fixture(autouse=True)
def begun_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook's process has been running for an hour."""
    start_clock(monkeypatch, seconds_ago=3600)


def test_three_lines_lead_from_a_folder_to_a_submission_in_a_budget_that_begins_with_the_call(
    insects, tmp_path, capsys
):
    scores = notebook.train(insects, work=tmp_path, models=["dhc-gaussian-nb", "dhc-knn-sweep"], budget="10m")
    assert scores["model"].tolist() == ["dhc-gaussian-nb", "dhc-knn-sweep"]
    assert scores["accuracy"].between(0.5, 1).all()
    printed = capsys.readouterr().out
    assert re.search(r"plan for the remaining [1-9]\d*m", printed)
    assert f"next: predict(competition='{insects}', work='{tmp_path}')" in printed
    models = "models=['dhc-gaussian-nb', 'dhc-knn-sweep'], budget='600s'"
    assert read_sessions(tmp_path / "runs" / "insects")[-1].command == (
        f"train(competition='{insects}', work='{tmp_path}', {models})"
    )
    answers = notebook.predict(insects, work=tmp_path, no_report=True)
    assert answers.columns.tolist() == ["Image", "Class"]
    assert set(answers["Class"]) <= {"ant", "bee", "cat"}
    notebook.submit(insects, work=tmp_path, check=True)
    assert "ok: 12 rows" in capsys.readouterr().out


def test_ids_stay_as_they_are_written(tmp_path, make_competition):
    folder = make_competition(tmp_path / "numbered", ids_with_extension=False)
    names = {path.stem: f"{number:04d}" for number, path in enumerate((folder / "test_images").iterdir())}
    for table in (folder / "test.csv", folder / "sample_submission.csv"):
        text = table.read_text()
        for name, number in names.items():
            text = text.replace(name, number)
        table.write_text(text)
    for name, number in names.items():
        (folder / "test_images" / f"{name}.png").rename(folder / "test_images" / f"{number}.png")
    notebook.train(folder, work=tmp_path, epochs=1, **BAYES)
    assert sorted(notebook.predict(folder, work=tmp_path, no_report=True)["Image"]) == sorted(names.values())


def test_a_file_that_changes_between_two_calls_is_read_again(insects, tmp_path):
    metric = tmp_path / "own.py"
    for value in (0.25, 0.125):
        metric.write_text(f"def mine(truth, answers, row): return {value} * (truth == answers).all(axis=1).mean()")
        scores = notebook.train(insects, work=tmp_path, epochs=1, fresh=True, metric=f"{metric}:mine", **BAYES)
        assert scores["mine"].max() <= value
        assert scores["mine"].max() > value / 2


def test_an_audit_is_a_table_of_what_was_found(insects, tmp_path):
    found = notebook.audit(insects, work=tmp_path, quiet=True)
    assert found.columns.tolist() == ["kind", "rows", "told"]
    assert found["rows"].min() > 0
    folder = tmp_path / "runs" / "insects" / "audit"
    assert all((folder / f"{kind}.csv").is_file() for kind in found["kind"])


def test_a_comparison_is_a_table_of_the_runs(insects, tmp_path):
    notebook.train(insects, work=tmp_path, **BAYES)
    runs = notebook.compare(insects, work=tmp_path, quiet=True)
    assert runs.columns.tolist()[:4] == ["images", "model", "options", "accuracy"]
    assert runs["verdict"].tolist() == ["best"]


@pytest.mark.parametrize("name", ["train", "predict", "audit", "compare", "tune", "submit"])
def test_every_option_of_a_command_is_a_keyword_with_its_help(name):
    function, parser = getattr(notebook, name), getattr(notebook, f"{name}_parser")()
    signature = inspect.signature(function)
    options = {option[2:].replace("-", "_") for option in parser._option_string_actions if option.startswith("--")}
    assert options - {"help"} == set(signature.parameters) - {"file"}
    assert next(iter(signature.parameters)) == "competition"
    assert all(f"{option}: " in function.__doc__ for option in options - {"help"})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: notebook.train("a", "b"), "train() takes only the competition without a name, not 'b' as well; write"),
        (lambda: notebook.train(bugdet="5m"), "train() has no option bugdet (did you mean 'budget'?); train? lists"),
        (lambda: notebook.train(budget=5), "argument --budget: 5: seconds or minutes? write 5s or 5m"),
        (lambda: notebook.train(fresh="yes"), "fresh='yes': it is switched on with fresh=True"),
        (lambda: notebook.predict("no/such/folder"), "no/such/folder"),
        (lambda: notebook.bundle("zoo", folds="many"), "'many' is not a whole number"),
        (lambda: notebook.tune(), "--model"),
    ],
)
def test_a_mistake_is_one_line(call, told):
    with pytest.raises(notebook.CommandError) as caught:
        call()
    assert told in str(caught.value)
    assert caught.value._render_traceback_() == [f"error: {caught.value}"]
    assert "\n" not in str(caught.value)


def test_debug_shows_the_traceback():
    with pytest.raises(UserError) as caught:
        notebook.train("no/such/folder", debug=True)
    assert not isinstance(caught.value, notebook.CommandError)


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """As in a notebook's kernel; a process that a shell starts in the background ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_an_interrupted_cell_keeps_the_kernel_and_says_how_to_go_on(insects, tmp_path, monkeypatch):
    def interrupt(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pipeline.train.main", interrupt)
    with pytest.raises(notebook.Interrupted) as caught:
        notebook.train(insects, work=tmp_path)
    assert caught.value._render_traceback_() == ["interrupted: finished work is kept; run the cell again to continue"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def state() -> dict[str, object]:
    """What a call could leave behind in the notebook's process."""
    return {
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "output": (sys.stdout, sys.stderr),
        "arguments": list(sys.argv),
        "path": list(sys.path),
        "handlers": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "random": torch.random.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "bars": (Progress.shown, Progress.line),
        "called": commands.is_called.get(),
    }


def test_a_call_leaves_nothing_behind_whether_it_ends_well_or_not(insects, tmp_path, monkeypatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    before = state()
    notebook.train(insects, work=tmp_path, models="dhc-cnn-3x32", epochs=1, quiet=True)
    assert state() == before
    with pytest.raises(notebook.CommandError):
        notebook.train(insects, work=tmp_path, models="dhc-cnn-3x32", epochs=1, weights="no/such/file", quiet=True)
    assert state() == before


def test_several_gpus_are_used_by_processes_of_their_own(insects, tmp_path, monkeypatch):
    ran: list[tuple[str, list[str]]] = []
    notebook.train(insects, work=tmp_path, epochs=1, **BAYES)
    monkeypatch.setenv("STAND_IN_DEVICES", "2")
    monkeypatch.setattr(notebook, "_run_beside", lambda name, words: ran.append((name, words)))
    assert len(notebook.train(insects, work=tmp_path, models=["dhc-svm", "sprint"])) == 1
    assert ran == [("train", [f"--competition={insects}", f"--work={tmp_path}", "--models", "dhc-svm", "sprint"])]


def test_what_such_a_process_prints_is_printed(capsys):
    notebook._run_beside("train", ["--help"])
    assert capsys.readouterr().out.startswith("usage: train.py")


def test_an_error_of_such_a_process_is_the_calls_own(capsys):
    with pytest.raises(UserError, match=r"^unknown option --bugdet"):
        notebook._run_beside("train", ["--bugdet", "5m"])
    assert capsys.readouterr().out == ""
