"""A study: the trials of one search, shared by any number of processes through Optuna's storage."""

import math
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna import Study, Trial, TrialPruned
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from competition.errors import UserError
from competition.storage import expanded
from competition.wording import listed, printable
from pipeline.runtime.memory import is_out_of_memory
from pipeline.tuning.journal import Journal

# attributes of a trial: which of the recipe's own values it uses; its heartbeat; what is at fault in its values
OWN, BEAT, FAULT = "own", "beat", "fault"
BEAT_EVERY = 10.0  # seconds
DEAD_AFTER = 120.0  # seconds without a heartbeat
LOOK_EVERY = 1.0  # seconds
PAUSES = (1.0, 2.0)  # seconds after each failed attempt to open a database but the last
FEWEST = 4  # finished trials needed to estimate importances
TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(address: str) -> BaseStorage:
    """Open the storage of studies. Raises UserError if that is not possible; what is no storage stays as it is.

    address: URL of a database, or path of a journal.
    """
    try:
        return _database(address) if "://" in address else JournalStorage(Journal(expanded(address)))
    except UserError:
        raise
    except Exception as error:  # SQLAlchemy, each database and a damaged journal raise errors of their own
        raise _unusable(address, error) from None


def _database(address: str) -> RDBStorage:
    """Try several times, as processes that create the tables of a new database get in each other's way."""
    _check_sqlite(address)
    for pause in PAUSES:
        try:
            return RDBStorage(address)
        except Exception:
            time.sleep(pause)
    return RDBStorage(address)


def _check_sqlite(address: str) -> None:
    """Raises UserError if the address is that of a file of SQLite with other tables than studies, or a damaged one."""
    path = Path(address.partition(":///")[2])
    if not address.startswith("sqlite") or not path.is_file():
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if state != "ok":
        raise _unusable(address, f"it is damaged: {state}")
    if tables and "studies" not in tables:
        raise _unusable(address, f"it holds other tables: {listed(sorted(tables))}")


def _unusable(address: str, reason: object) -> UserError:
    text = printable(str(reason).partition("\n")[0] or type(reason).__name__, most=200)
    return UserError(f"--storage {address} cannot be used ({text}); give another address or file")


@contextmanager
def database_errors(address: str | None) -> Iterator[None]:
    """Raise the errors of the database at ``address`` as a UserError."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise _unusable(address or "", error.__cause__ or error) from None


def open_study(storage: BaseStorage, name: str, pruner: BasePruner, own: Sequence[dict[str, Any]]) -> Study:
    """Create or join the study of that name.

    own: the recipe's own values. The process that creates the study queues them as the first trials. A process that
        joins it queues those again whose trials were interrupted.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", pruner=pruner)
        missing = set(range(len(own)))
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, pruner=pruner)
        missing = _lost(study.get_trials(deepcopy=False))
    for number in sorted(missing):
        study.enqueue_trial(own[number], user_attrs={OWN: number})
    return study


def _lost(trials: Sequence[FrozenTrial]) -> set[int]:
    """The indices of the recipe's own values whose trials were all interrupted."""
    own = [trial for trial in trials if OWN in trial.user_attrs]
    done = {trial.user_attrs[OWN] for trial in own if trial.state != TrialState.FAIL or FAULT in trial.user_attrs}
    return {trial.user_attrs[OWN] for trial in own} - done


def run_trials(
    study: Study, objective: Callable[[Trial], float], trials: int, seed: int, time_left: Callable[[], bool]
) -> None:
    """Run trials until the study has ``trials`` that came to an end, including those of other processes.

    At the end this waits for trials that other processes are running. A trial without a heartbeat for two minutes
    counts as failed, and a new one takes its place.

    objective: to be maximised; may raise TrialPruned. A trial whose values are at fault, as memory runs out with them
        or the objective refuses them, has failed, and the search goes on. Any other exception ends it.
    time_left: called before each trial; the search ends if it returns False.
    """
    signs: dict[int, tuple[int, float]] = {}
    while time_left():
        if trial := _next_trial(study, trials, seed):
            _run(study, trial, objective)
        elif running := study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            _give_up_dead(study, running, signs)
            time.sleep(LOOK_EVERY)
        else:
            return


def _next_trial(study: Study, most: int, seed: int) -> Trial | None:
    """A new trial for this process; None if ``most`` trials came to an end or are running.

    Its values depend on the seed and the trial's number, so no two processes draw the same ones. If several processes
    start a trial at the same time, those beyond ``most`` are dropped.
    """
    if _taken(study) >= most:
        return None
    trial = study.ask()
    if _taken(study, trial.number) >= most:
        study.tell(trial, state=TrialState.FAIL)
        return None
    study.sampler = TPESampler(seed=(seed * 100_003 + trial.number) % 2**32)
    return trial


def _taken(study: Study, before: float = float("inf")) -> int:
    """The number of trials numbered below ``before`` that are running or came to an end, of whatever kind."""
    trials = study.get_trials(deepcopy=False)
    taken = (trial for trial in trials if trial.state in TAKEN or FAULT in trial.user_attrs)
    return sum(trial.number < before for trial in taken)


def _run(study: Study, trial: Trial, objective: Callable[[Trial], float]) -> None:
    value, state = None, TrialState.FAIL
    try:
        with _beating(trial):
            value = objective(trial)
        if math.isfinite(value):
            state = TrialState.COMPLETE
        else:
            _note_fault(trial, f"its score is {value}")
    except TrialPruned:
        state = TrialState.PRUNED
    except Exception as error:
        if study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
            _forgive(trial, error)  # otherwise another process failed the trial as dead, and Optuna refused reports
    finally:
        study.tell(trial, value if state == TrialState.COMPLETE else None, state, skip_if_finished=True)


def _forgive(trial: Trial, error: Exception) -> None:
    """Note the error if the trial's values are at fault; otherwise raise it."""
    if is_out_of_memory(error):
        _note_fault(trial, "memory ran out")
    elif isinstance(error, UserError) and OWN not in trial.user_attrs:
        _note_fault(trial, str(error))
    else:
        raise error


def _note_fault(trial: Trial, fault: str) -> None:
    print(f"trial {trial.number}: failed, {fault}")
    trial.set_user_attr(FAULT, fault)


def last_fault(study: Study) -> str | None:
    """Why the last trial failed whose values were at fault; None if there is none."""
    return next((trial.user_attrs[FAULT] for trial in study.get_trials()[::-1] if FAULT in trial.user_attrs), None)


@contextmanager
def _beating(trial: Trial) -> Iterator[None]:
    """Write a heartbeat to the storage every few seconds, as not all storages have their own."""
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(BEAT_EVERY):
            count += 1
            with suppress(Exception):  # the next one may succeed
                trial.set_user_attr(BEAT, count)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _give_up_dead(study: Study, running: Sequence[FrozenTrial], signs: dict[int, tuple[int, float]]) -> None:
    """Fail the trials that have sent no heartbeat for DEAD_AFTER seconds, by this process's own clock.

    signs: the last heartbeat of each trial and when it was first seen; updated in place.
    """
    now = time.monotonic()
    for trial in running:
        sign = trial.user_attrs.get(BEAT, 0)
        last, since = signs.setdefault(trial.number, (sign, now))
        if sign != last:
            signs[trial.number] = sign, now
        elif now - since > DEAD_AFTER:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def agreed(study: Study, key: str, make: Callable[[], Any]) -> Any:
    """A value that all trials of a study share; the first process to need it makes it with ``make``."""
    if key not in study.user_attrs:
        study.set_user_attr(key, make())
    return study.user_attrs[key]


def value_of(trial: FrozenTrial) -> float:
    """The value of a finished trial, as the metric ranks it."""
    assert trial.value is not None
    return trial.value


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that were completed, best first; in a tie, the earlier one first."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: -value_of(trial))


def importances(study: Study) -> dict[str, float]:
    """The share of the results' variance, in [0, 1], that each tuned value explains; empty if it is unknown."""
    if len(finished(study)) >= FEWEST:
        # if all results are equal, or a value never varied, Optuna raises an error or warns
        with suppress(ValueError, RuntimeError, UserWarning), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return optuna.importance.get_param_importances(study)
    return {}
