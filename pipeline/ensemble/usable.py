"""The finished runs that can be used on a competition as it is now, and the metric that they are blended by."""

from competition.errors import UserError
from competition.metrics import Metric, find_metric
from competition.sources import name_of
from competition.spec import Competition
from competition.wording import printable
from pipeline.settings import Settings
from pipeline.training.identity import belonging
from pipeline.training.runs import (
    StoredRun,
    leave_out,
    newest_run,
    not_finished,
    run_folders,
    stored_runs,
    unfinished_runs,
)


def find_runs(settings: Settings) -> None:
    """Raises UserError if no model has been trained, before anything is downloaded, drawn or decoded."""
    name = name_of(settings.competition, settings.data)
    if name is not None:
        run_folders(settings.runs_folder(name), settings.models)


def usable_runs(competition: Competition, settings: Settings) -> dict[str, StoredRun]:
    """The finished runs that belong to the competition's present tables and images, by name.

    Raises UserError if there is none.
    """
    folder = settings.runs_folder(competition.name)
    for name in unfinished_runs(folder, settings.models):
        print(f"warning: {not_finished(name)}")
    runs, damaged = stored_runs(run_folders(folder, settings.models))
    runs, others = belonging(runs, competition, settings.cache_folder)
    leave_out(damaged | others)
    if not runs and not others:
        raise UserError(f"{folder}: no trained model can be used; run pipeline/train.py again")
    if not runs:
        raise UserError(
            f"{folder}: no trained model fits the tables and images of {printable(competition.name)} as they are now; "
            f"run pipeline/train.py{earlier_answer(competition, settings)}"
        )
    return runs


def earlier_answer(competition: Competition, settings: Settings) -> str:
    """What to say of a submission that was made from earlier tables or images; empty if there is none."""
    path = settings.submission(competition.name)
    return f" ({path} answers earlier ones)" if path.exists() else ""


def metric_to_use(competition: Competition, runs: dict[str, StoredRun], settings: Settings) -> Metric:
    """The metric of --metric; without that option, the metric that the newest model was trained with."""
    if settings.metric is not None:
        return competition.metric
    newest = newest_run(stored.run for stored in runs.values())
    return find_metric(newest.score.metric).of(competition.task, competition.form)
