"""A study: the trials of one search, shared by any number of processes through Optuna's storage."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna import Study, Trial, TrialPruned
from optuna.pruners import BasePruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from competition.errors import UserError
from competition.wording import printable

OWN, BEAT = "own", "beat"  # attributes of a trial: which of the recipe's own values it uses; its heartbeat
BEAT_EVERY = 10.0  # seconds
DEAD_AFTER = 120.0  # seconds without a heartbeat
LOOK_EVERY = 1.0  # seconds
PAUSES = (0.0, 1.0, 2.0)  # seconds before each attempt to open a storage
FEWEST = 4  # finished trials needed to estimate importances
TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(address: str) -> BaseStorage:
    """Open the storage of studies.

    It is tried several times, as processes that create the tables of a new database at the same time get in each
    other's way. Raises UserError if it cannot be opened.

    address: URL of a database, or path of a journal file.
    """
    for pause in PAUSES:
        time.sleep(pause)
        try:
            if "://" in address:
                return RDBStorage(address)
            return JournalStorage(JournalFileBackend(str(Path(address).expanduser())))
        except Exception as error:  # SQLAlchemy, each database and a damaged journal raise errors of their own
            reason = printable(str(error).split("\n")[0] or type(error).__name__, most=200)
    raise UserError(f"--storage cannot be opened ({reason}); give another address or file")


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
    own = [(trial.user_attrs[OWN], trial.state) for trial in trials if OWN in trial.user_attrs]
    return {number for number, _ in own} - {number for number, state in own if state != TrialState.FAIL}


def run_trials(
    study: Study, objective: Callable[[Trial], float], trials: int, seed: int, time_left: Callable[[], bool]
) -> None:
    """Run trials until the study has ``trials`` finished or pruned ones, including those of other processes.

    At the end this waits for trials that other processes are running. A trial without a heartbeat for two minutes
    counts as failed, and a new one takes its place.

    objective: to be maximised; may raise TrialPruned. Any other exception fails the trial and ends the search.
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
    """A new trial for this process; None if ``most`` trials are finished, pruned or running.

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
    """The number of trials numbered below ``before`` that are finished, pruned or running."""
    return sum(trial.number < before for trial in study.get_trials(deepcopy=False, states=TAKEN))


def _run(study: Study, trial: Trial, objective: Callable[[Trial], float]) -> None:
    value, state = None, TrialState.FAIL
    try:
        with _beating(trial):
            value, state = objective(trial), TrialState.COMPLETE
    except TrialPruned:
        state = TrialState.PRUNED
    except RuntimeError:
        if study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
            raise  # otherwise another process failed the trial as dead, and Optuna refused further reports
    finally:
        study.tell(trial, value, state, skip_if_finished=True)


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
