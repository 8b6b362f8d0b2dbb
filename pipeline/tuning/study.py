"""A study: the trials of one search, shared by any number of processes through optuna's storage."""

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

OWN, BEAT = "own", "beat"  # attributes of a trial: which of the recipe's own values it has; its sign of life
BEAT_EVERY = 10.0  # seconds
DEAD_AFTER = 120.0  # seconds without a sign of life
LOOK_EVERY = 1.0  # seconds
PAUSES = (0.0, 1.0, 2.0)  # seconds before each attempt to open a storage
FEWEST = 4  # finished trials that importances are told from
TAKEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(address: str) -> BaseStorage:
    """Where studies are kept: a database by its address, or a journal by its path.

    It is tried several times, as processes that make the tables of a new database at the same moment trip over each
    other. Raises UserError where it cannot be opened.
    """
    for pause in PAUSES:
        time.sleep(pause)
        try:
            if "://" in address:
                return RDBStorage(address)
            return JournalStorage(JournalFileBackend(str(Path(address).expanduser())))
        except Exception as error:  # SQLAlchemy, each database and a damaged journal have their own
            reason = printable(str(error).split("\n")[0] or type(error).__name__, most=200)
    raise UserError(f"--storage cannot be opened ({reason}); give another address, or another file")


def open_study(storage: BaseStorage, name: str, pruner: BasePruner, own: Sequence[dict[str, Any]]) -> Study:
    """The study of that name, begun here or joined; whoever begins it puts the ``own`` values first."""
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
    """Which of the recipe's own values only trials had that were interrupted."""
    own = [(trial.user_attrs[OWN], trial.state) for trial in trials if OWN in trial.user_attrs]
    return {number for number, _ in own} - {number for number, state in own if state != TrialState.FAIL}


def run_trials(
    study: Study, objective: Callable[[Trial], float], trials: int, seed: int, time_left: Callable[[], bool]
) -> None:
    """Run trials until the study has that many, other processes' included, finished or pruned.

    objective: maximised; may raise TrialPruned. What else it raises fails the trial, and ends the search.
    time_left: asked before each trial. The last trials of other processes are waited for; one that shows no sign
    of life for two minutes is given up, and another one takes its place.
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
    """A trial for this process; None where ``most`` are taken.

    Its values are drawn by the seed and its number, so that no two processes draw the same ones. Where several
    began one at the same moment, whose number is beyond ``most`` lets go of it.
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
    """How many trials with a number below ``before`` are finished, pruned or running."""
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
            raise  # else another process took the trial for dead, and optuna would hear no more of it
    finally:
        study.tell(trial, value, state, skip_if_finished=True)


@contextmanager
def _beating(trial: Trial) -> Iterator[None]:
    """Leave a sign of life in the storage every few seconds, as not all storages have one of their own."""
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(BEAT_EVERY):
            count += 1
            with suppress(Exception):  # the next one may come through
                trial.set_user_attr(BEAT, count)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _give_up_dead(study: Study, running: Sequence[FrozenTrial], signs: dict[int, tuple[int, float]]) -> None:
    """Fail the trials that have given no sign of life for long, by this process's own clock.

    signs: the last sign of each trial and when it was first seen.
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
    """What all trials of a study have in common, as the first process that asked for it has made it."""
    if key not in study.user_attrs:
        study.set_user_attr(key, make())
    return study.user_attrs[key]


def value_of(trial: FrozenTrial) -> float:
    """What a finished trial reached."""
    assert trial.value is not None
    return trial.value


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that were not ended early, the best first; of equals the earliest."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: -value_of(trial))


def importances(study: Study) -> dict[str, float]:
    """How much of the results' variation each value explains, in 0-1; empty where that cannot be told."""
    if len(finished(study)) >= FEWEST:
        # of equal results, or values that never varied, optuna can tell nothing, and complains
        with suppress(ValueError, RuntimeError, UserWarning), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return optuna.importance.get_param_importances(study)
    return {}
