"""Tuning, as a user types it, on a small competition; what needs no process of its own runs in this one."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from pipeline.models.recipe import RECIPES, Tier, load_recipe
from pipeline.tuning import search_space
from pipeline.tuning.study import open_storage
from tests.commands import fail, run, script, succeed
from tests.pipeline.on_ranks import begun, ended

SMALL = ("--model", "cifar-cnn-base", "--epochs", "2")
TUNED = "cifar-cnn-base-tuned-insects"


def study_of(journal: Path) -> optuna.Study:
    storage = open_storage(str(journal))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(storage=storage, study_name=name)


def trials_of(journal: Path) -> list[optuna.trial.FrozenTrial]:
    return study_of(journal).get_trials()


def states(journal: Path) -> list[TrialState]:
    return [trial.state for trial in trials_of(journal)]


@pytest.fixture(scope="module")
def insects(made_once: Callable[..., Path], make_competition: Callable[..., Path]) -> tuple[str, str]:
    """The options that name a small competition."""
    place = made_once("tuning", lambda place: make_competition(place / "insects", train=60, val=30))
    return "--competition", str(place / "insects")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, insects: tuple[str, str]) -> dict:
    """A study from beginning to end, for all tests that only look."""
    work = tmp_path_factory.mktemp("work")
    options = (*insects, "--work", work, *SMALL, "--trials", 6)
    printed = succeed("tune", *options)
    return {"work": work, "options": options, "printed": printed, "recipe": work / "recipes" / f"{TUNED}.toml"}


def test_a_study_tries_the_recipe_itself_first_and_keeps_to_its_number(tuned):
    trials = trials_of(tuned["work"] / "runs" / "insects" / "tuning" / "cifar-cnn-base.journal")
    assert len(trials) == 6
    assert trials[0].params["optimiser.lr"] == 0.001
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert len({trial.params["optimiser.lr"] for trial in trials}) == 6


def test_it_ends_with_the_best_trials_and_a_word_on_what_they_are_worth(tuned):
    lines = tuned["printed"].splitlines()
    header = next(row for row, line in enumerate(lines) if line.lstrip().startswith("trial ") and "importance" in line)
    assert lines[header + 1].startswith("accuracy")
    assert {"batch_size", "optimiser.lr"} <= {line.split()[0] for line in lines[header + 1 : header + 8]}
    assert any(re.match(r"\d trials finished, \d ended early", line) for line in lines)
    assert any(line.startswith("these scores are optimistic: ") and "30 validation images" in line for line in lines)
    assert lines[-1] == f"wrote {tuned['recipe']}; train it with train.py --models {TUNED} and the same --work"


def test_the_best_trial_is_a_recipe_that_says_where_it_comes_from(tuned):
    recipe = load_recipe(tuned["recipe"])
    best = max(trials_of(tuned["work"] / "runs/insects/tuning/cifar-cnn-base.journal"), key=lambda each: each.value)
    assert recipe.optimiser.lr == pytest.approx(best.params["optimiser.lr"], rel=1e-3)
    assert recipe.batch_size == best.params["batch_size"]
    assert recipe.network == load_recipe(RECIPES / "cifar-cnn-base.toml").network
    assert recipe.summary.startswith("cifar-cnn-base tuned on insects: the best of 6 trials, ")
    assert recipe.reported is None


def test_train_trains_the_tuned_recipe(tuned):
    place = tuned["options"][:4]
    assert f"{TUNED}~epochs=1: " in succeed("train", *place, "--models", TUNED, "--epochs", 1)


def test_the_same_command_again_trains_nothing_and_more_trials_go_on(tuned):
    said = succeed("tune", *tuned["options"])
    assert "already finished" in said and "trial 6" not in said
    said = succeed("tune", *tuned["options"][:-1], 8)
    assert "trial 5: " not in said
    assert all(f"trial {number}: " in said for number in (6, 7))


def test_nothing_but_the_journal_stays_of_the_trials(tuned):
    folder = tuned["work"] / "runs" / "insects" / "tuning"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".cifar-cnn-base.journal.lock",
        "cifar-cnn-base.journal",
    ]


def test_two_processes_share_one_study(tmp_path, insects):
    journal = tmp_path / "shared.journal"
    options = (*insects, "--work", tmp_path, *SMALL, "--trials", 8, "--storage", journal)
    started = {number: begun(1, tmp_path / number, "tune", *options) for number in "12"}
    ends = [ended(processes, tmp_path / number)[0] for number, processes in started.items()]
    assert [done.status for done in ends] == [0, 0], [done.err for done in ends]
    ran = [set(re.findall(r"^trial (\d+):", done.out, re.MULTILINE)) for done in ends]
    assert len(ran[0] | ran[1]) == 8 and not ran[0] & ran[1]
    assert sum(state in (TrialState.COMPLETE, TrialState.PRUNED) for state in states(journal)) == 8


def test_after_ctrl_c_what_is_finished_counts_and_the_study_goes_on(tmp_path, insects):
    journal = tmp_path / "interrupted.journal"
    options = (*insects, "--work", tmp_path, *SMALL, "--storage", journal)
    process = subprocess.Popen(
        [sys.executable, "-u", *script("tune", *options, "--trials", 500)[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore Ctrl-C
    )
    seen = list(takewhile(lambda line: not line.startswith("trial 1:"), process.stdout))
    assert process.poll() is None, [*seen, process.stderr.read()]  # takewhile also ends where the process does
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "trials finished" in printed and printed.splitlines()[-1].endswith(f"--models {TUNED} and the same --work")
    known = len(trials_of(journal))
    succeed("tune", *options, "--trials", known + 1)
    assert TrialState.RUNNING not in states(journal)
    assert sum(state in (TrialState.COMPLETE, TrialState.PRUNED) for state in states(journal)) == known + 1


def test_a_hopeless_trial_is_ended_early(tmp_path, insects, monkeypatch):
    rigged = {"optimiser:*.lr": lambda own: CategoricalDistribution([own[0], 1e-9])}  # 1e-9 learns nothing
    monkeypatch.setattr(search_space, "SPACE", rigged)
    journal = tmp_path / "rigged.journal"
    model = ("--model", "cifar-cnn-base", "--epochs", 8, "--trials", 14)
    said = succeed("tune", *insects, "--work", tmp_path, *model, "--storage", journal)
    trials = trials_of(journal)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned and all(trial.params["optimiser.lr"] == 1e-9 for trial in pruned)
    assert all(max(trial.intermediate_values) < 8 for trial in pruned)
    assert f"{len(pruned)} ended early" in said
    assert load_recipe(tmp_path / "recipes" / f"{TUNED}.toml").optimiser.lr == 0.001


def succeed_in_time(budget: str, *options: object) -> str:
    """The stdout of tune.py with trials of a short budget, and a minute more for everything between them."""
    done = run("tune", *options, "--budget", budget, seconds_ago=-60)
    assert done.status == 0, done.out + done.err
    return done.out


def test_a_budget_is_shared_by_the_trials_and_more_of_them_are_as_long(tmp_path, insects):
    options = (*insects, "--work", tmp_path, "--model", "cifar-cnn-base")
    assert "2 trials of 2s each" in succeed_in_time("4s", *options, "--trials", 2)
    assert "3 trials of 2s each, 2 of them already finished" in succeed_in_time("4s", *options, "--trials", 3)
    trials = trials_of(tmp_path / "runs" / "insects" / "tuning" / "cifar-cnn-base.journal")
    assert [max(trial.intermediate_values) for trial in trials] == [8] * 3
    assert all(set(trial.intermediate_values) <= set(range(1, 9)) for trial in trials)


def test_all_trials_train_at_one_size_and_width(tmp_path, insects):
    journal = tmp_path / "sprint.journal"
    options = (*insects, "--work", tmp_path, "--model", "sprint", "--trials", 2, "--storage", journal)
    succeed_in_time("5s", *options)
    assert Tier(**study_of(journal).user_attrs["tier"]) in load_recipe(RECIPES / "sprint.toml").tiers


def test_a_budget_that_holds_no_trial_is_said(tmp_path, insects):
    options = (*insects, "--work", tmp_path, "--model", "sprint", "--trials", 3, "--budget", "60s")
    done = run("tune", *options, seconds_ago=50)
    assert done.status == 2
    assert "before a trial was finished; give more time" in done.err


def test_a_classifier_is_tuned_on_what_a_trial_has_time_for(tmp_path, insects):
    options = (*insects, "--work", tmp_path, "--model", "dhc-svm")
    succeed("tune", *options, "--trials", 6, "--budget", "60s")
    recipe = load_recipe(tmp_path / "recipes" / "dhc-svm-tuned-insects.toml")
    assert len(recipe.classifier.arguments["grid"]) == 1
    error = fail("tune", *options, "--trials", 6000, "--budget", "1s")
    assert "ten images of each class takes longer than its share of the budget" in error


def test_what_another_competition_or_another_study_found_stays(tmp_path, insects, make_competition):
    fish = make_competition(tmp_path / "sea" / "insects", train=40, val=15, seed=5, classes=("cod", "eel"))
    tune = ("--work", tmp_path, "--model", "dhc-svm", "--epochs", 1)
    succeed("tune", *insects, *tune, "--trials", 6)
    first = (tmp_path / "recipes" / "dhc-svm-tuned-insects.toml").read_bytes()
    others = (("--competition", fish, *tune), (*insects, *tune, "--seed", 1), (*insects, *tune, "--limit", 30))
    for number, options in enumerate(others, start=2):
        assert f"dhc-svm-tuned-insects-{number}.toml; train it with" in succeed("tune", *options, "--trials", 5)
    assert (tmp_path / "recipes" / "dhc-svm-tuned-insects.toml").read_bytes() == first


def test_options_that_have_no_effect_are_named(tmp_path, insects):
    options = (*insects, "--work", tmp_path, "--model", "dhc-svm", "--trials", 5, "--epochs", 3, "--compile")
    said = succeed("tune", *options)
    for option in ("--epochs", "--compile"):
        assert f"{option} has no effect: no chosen recipe trains a network" in said


def test_where_no_recipe_can_be_written_nothing_is_tried(tmp_path, insects):
    (tmp_path / "recipes").write_text("a file is in the place of the folder", encoding="utf-8")
    error = fail("tune", *insects, "--work", tmp_path, *SMALL, "--trials", 2)
    assert "recipes: the recipe cannot be written there" in error
    assert not (tmp_path / "runs").exists()


def test_no_recipe_but_a_tuned_one_is_ever_overwritten(tmp_path, insects):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    text = (RECIPES / "sprint.toml").read_text(encoding="utf-8")
    (recipes / "mine.toml").write_text(text, encoding="utf-8")
    options = (*insects, "--work", tmp_path, *SMALL, "--trials", 2)
    assert "--name mine" in fail("tune", *options, "--name", "mine")
    assert "--name sprint: a built-in recipe has this name" in fail("tune", *options, "--name", "sprint")
    assert (recipes / "mine.toml").read_text(encoding="utf-8") == text
    for _ in range(2):
        succeed("tune", *options, "--name", "other")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "sprimt"), "no recipe is called 'sprimt'; did you mean sprint"),
        (("--model", "fashion-*"), "--model fashion-*: matches several recipes"),
        (("--model", "dhc-gaussian-nb"), "dhc-gaussian-nb has no value that can be tuned"),
        (("--model", "dhc-svm", "--trials", "4"), "--trials 4: the first 4 trials use the recipe's own values"),
        (("--model", "sprint", "--name", "../sprint"), "--name ../sprint: a recipe's name has up to 100 letters"),
        (("--model", "sprint", "--epochs", "2", "--budget", "5m"), "--budget: not allowed with argument --epochs"),
        (("--model", "sprint", "--name", "x" * 101), "xx: a recipe's name has up to 100 letters"),
        (("--model", "sprint", "--storage", "sqlite:////no/such/x.db"), "--storage sqlite:////no/such/x.db cannot be"),
        (("--model", "sprint", "--storage", "/no/such/journal"), "--storage /no/such/journal cannot be used"),
        (("--model", "sprint", "--storage", __file__), "test_tune.py: not a journal of tune.py"),
        (("--model", "sprint", "--weights", __file__), "no chosen model starts from ImageNet weights"),
        (("--model", "sprint", "--folds", "3"), "unknown option --folds"),
        ((), "--model"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(insects, options, words):
    done = run("tune", *insects, *options)
    assert done.status == 2
    assert done.err.startswith("error: ") and words in done.err and done.err.count("\n") == 1
