"""A study: who runs how many trials, with which values, and what becomes of those that die."""

import math
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from optuna import Study, Trial, TrialPruned
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from competition.errors import UserError
from pipeline.tuning import study as studies
from pipeline.tuning.study import BEAT, agreed, finished, importances, last_fault, open_storage, open_study, run_trials

OWN = [{"x": 0.25}]


def opened(place: Path, own: list[dict] = OWN) -> Study:
    """As another process would open it: with a storage of its own."""
    return open_study(open_storage(str(place / "journal")), "parabola", NopPruner(), own)


def parabola(trial: Trial) -> float:
    return 1 - (trial.suggest_float("x", 0, 1) - 0.75) ** 2


def run(study: Study, trials: int, objective: Callable[[Trial], float] = parabola, seed: int = 0) -> None:
    run_trials(study, objective, trials, seed, lambda: True)


def states(study: Study) -> list[TrialState]:
    return [trial.state for trial in study.get_trials()]


@dataclass
class Clock:
    """A clock that waiting alone moves, by more than half of what a silent trial is granted."""

    while_waiting: Callable[[int], None]  # told how often there has been a wait
    waits: int = 0

    def monotonic(self) -> float:
        return 0.6 * studies.DEAD_AFTER * self.waits

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        self.while_waiting(self.waits)


def test_the_own_values_come_first_and_then_better_ones(tmp_path):
    study = opened(tmp_path)
    run(study, 30)
    trials = study.get_trials()
    assert len(trials) == 30
    assert trials[0].params == OWN[0]
    assert finished(study)[0].value > 0.99
    values = [trial.value for trial in finished(study)]
    assert values == sorted(values, reverse=True)


def test_a_study_that_is_opened_again_goes_on(tmp_path):
    run(opened(tmp_path), 3)
    again = opened(tmp_path)
    run(again, 5)
    run(again, 5)
    assert states(again) == [TrialState.COMPLETE] * 5


def test_the_same_seed_draws_the_same_values_in_one_go_or_two(tmp_path):
    for name in ("whole", "parted"):
        (tmp_path / name).mkdir()
    whole = opened(tmp_path / "whole")
    run(whole, 14, seed=3)
    run(opened(tmp_path / "parted"), 6, seed=3)
    run(opened(tmp_path / "parted"), 14, seed=3)
    drawn = [[trial.params["x"] for trial in study.get_trials()] for study in (whole, opened(tmp_path / "parted"))]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 14


def test_several_at_work_make_the_trials_together_and_none_twice(tmp_path):
    opened(tmp_path)
    workers = [threading.Thread(target=lambda: run(opened(tmp_path), 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    trials = opened(tmp_path).get_trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(completed) == 20
    assert len({trial.params["x"] for trial in completed}) == 20


def test_pruned_trials_count(tmp_path):
    def pruned(trial: Trial) -> float:
        trial.report(parabola(trial), 1)
        raise TrialPruned

    study = opened(tmp_path)
    run(study, 4, pruned)
    assert states(study) == [TrialState.PRUNED] * 4
    assert finished(study) == []


def test_an_interrupted_trial_fails_and_the_own_values_are_tried_again(tmp_path):
    def interrupted(trial: Trial) -> float:
        parabola(trial)
        raise KeyboardInterrupt

    study = opened(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(study, 3, interrupted)
    assert states(study) == [TrialState.FAIL]
    run(again := opened(tmp_path), 3)
    assert states(again) == [TrialState.FAIL] + [TrialState.COMPLETE] * 3
    assert again.get_trials()[1].params == OWN[0]


def test_no_trial_begins_once_the_time_is_over(tmp_path):
    study, answers = opened(tmp_path), iter([True, True, False])
    run_trials(study, parabola, 10, 0, lambda: next(answers))
    assert len(study.get_trials()) == 2


def test_a_dead_process_gives_its_place_to_another_trial(tmp_path, monkeypatch):
    opened(tmp_path).ask()  # and never heard of again
    study = opened(tmp_path)
    monkeypatch.setattr(studies, "time", Clock(lambda waits: None))
    run(study, 3)
    assert states(study) == [TrialState.FAIL] + [TrialState.COMPLETE] * 3


def test_a_trial_of_another_process_is_waited_for_as_long_as_it_gives_signs_of_life(tmp_path, monkeypatch):
    other, study = opened(tmp_path), opened(tmp_path)
    trial = other.ask()

    def live(waits: int) -> None:
        if waits < 10:
            trial.set_user_attr(BEAT, waits)
        else:
            other.tell(trial, parabola(trial))

    monkeypatch.setattr(studies, "time", Clock(live))
    run(study, 1)
    assert states(study) == [TrialState.COMPLETE]


def test_a_running_trial_gives_signs_of_life(tmp_path, monkeypatch):
    def patient(trial: Trial) -> float:
        while opened(tmp_path).get_trials()[0].user_attrs.get(BEAT, 0) < 2:
            time.sleep(0.01)
        return parabola(trial)

    monkeypatch.setattr(studies, "BEAT_EVERY", 0.01)
    study = opened(tmp_path)
    run(study, 1, patient)
    assert states(study) == [TrialState.COMPLETE]


def test_who_was_taken_for_dead_goes_on_with_another_trial(tmp_path):
    def asleep(trial: Trial) -> float:
        if trial.number == 0:
            opened(tmp_path).tell(0, state=TrialState.FAIL)
            trial.report(0.5, 1)
        return parabola(trial)

    study = opened(tmp_path)
    run(study, 2, asleep)
    assert states(study) == [TrialState.FAIL] + [TrialState.COMPLETE] * 2


def test_any_other_error_fails_the_trial_and_ends_the_search(tmp_path):
    def broken(trial: Trial) -> float:
        raise RuntimeError("shapes do not match")

    study = opened(tmp_path)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(study, 3, broken)
    assert states(study) == [TrialState.FAIL]


def test_what_the_first_process_settles_the_others_find(tmp_path):
    assert agreed(opened(tmp_path), "images", lambda: 100) == 100
    assert agreed(opened(tmp_path), "images", lambda: 200) == 100


def test_importances_are_told_where_there_are_trials_to_tell_them_from(tmp_path):
    study = opened(tmp_path)
    run(study, 2)
    assert importances(study) == {}
    run(study, 8)
    assert importances(study) == {"x": pytest.approx(1)}


def test_nothing_is_told_of_trials_that_are_all_as_good(tmp_path, recwarn):
    study = opened(tmp_path)
    run(study, 6, lambda trial: 0.0 * parabola(trial))
    assert importances(study) == {}
    assert not recwarn.list


def test_a_database_holds_a_study_too(tmp_path):
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    for trials in (2, 4):
        run(study := open_study(open_storage(address), "parabola", NopPruner(), OWN), trials)
    assert states(study) == [TrialState.COMPLETE] * 4


@pytest.mark.parametrize("address", ["sqlite:////no/such/folder/x.db", "nosuch://x", "/no/such/folder/journal", "/"])
def test_a_storage_that_cannot_be_opened_is_said_in_one_line(monkeypatch, address):
    monkeypatch.setattr(studies, "PAUSES", ())
    with pytest.raises(UserError, match=rf"--storage {address} cannot be used \(.+\); give another address") as refusal:
        open_storage(address)
    assert "\n" not in str(refusal.value)


MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
]


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: type(error).__name__)
def test_a_trial_that_runs_out_of_memory_has_failed_and_the_search_goes_on(tmp_path, capsys, error):
    def large(trial: Trial) -> float:
        if trial.number in (0, 2):
            raise error
        return parabola(trial)

    for _ in range(2):  # the second time, nothing is left to do
        study = opened(tmp_path)
        run(study, 4, large)
    assert [state == TrialState.FAIL for state in states(study)] == [True, False, True, False]
    assert "trial 2: failed, memory ran out" in capsys.readouterr().out
    assert "memory ran out" in last_fault(study)


def test_values_that_the_objective_refuses_fail_a_trial_and_the_recipes_own_end_the_search(tmp_path):
    def refusing(trial: Trial) -> float:
        if trial.number == 1:
            raise UserError("the loss is not finite")
        return parabola(trial) if trial.number else math.nan

    study = opened(tmp_path)
    run(study, 3, refusing)
    assert states(study) == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]

    def broken(trial: Trial) -> float:
        raise UserError("no image can be read")

    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="no image can be read"):
        run(opened(tmp_path / "other"), 3, broken)


def test_a_database_of_something_else_is_refused_and_kept(tmp_path):
    path = tmp_path / "orders.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE orders (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="holds other tables: orders"):
        open_storage(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_damaged_database_is_refused_and_kept(tmp_path):
    path = tmp_path / "studies.db"
    run(open_study(open_storage(f"sqlite:///{path}"), "parabola", NopPruner(), OWN), 2)
    whole = path.read_bytes()
    for damaged in (b"one\ntwo\n", whole[: len(whole) // 2], whole[:4096] + b"x" * (len(whole) - 4096)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"studies\.db cannot be used"):
            open_storage(f"sqlite:///{path}")
        assert path.read_bytes() == damaged
