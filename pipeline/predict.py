"""Blend the trained models and predict the test images: runs -> blend -> submission CSV and report.

python pipeline/predict.py [--competition NAME|FOLDER|ZIP] [--models RECIPE ...] [--no-tta] [--no-report] ...
"""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.predict()

import numpy as np
import torch

from competition.console import print_result
from competition.errors import UserError
from competition.metrics import Metric, find_metric
from competition.sources import lasting_name, name_of, open_competition
from competition.spec import Competition, Split
from competition.storage import KAGGLE_WORKING, atomic_write, sweep_all
from competition.submission import write_submission
from competition.wording import printable
from pipeline.commands import typed, typed_rehearsal
from pipeline.data.cache import ImageCache, known_images, open_cache
from pipeline.data.fitting import Fit, Size
from pipeline.data.predictions import Predictions, stored_blocks
from pipeline.data.training_data import labelled_images, unreadable_files
from pipeline.ensemble.blend import Blend, select_blend
from pipeline.ensemble.comparable import Group, comparable_groups, decisive_groups
from pipeline.ensemble.decisions import Decision, class_counts, fit_decision
from pipeline.findings.audit import audited
from pipeline.findings.finding import FOLDER, read_findings, write_findings
from pipeline.findings.pictures import Pictures
from pipeline.findings.suspects import suspects
from pipeline.kaggle.ledger import Ledger, Note, fingerprint_of, sha256_of
from pipeline.report.context import ReportContext
from pipeline.report.files import remove_report
from pipeline.report.sent import Sent, sent_from
from pipeline.runtime.devices import choose_device
from pipeline.runtime.memory import row_blocks
from pipeline.settings import Settings
from pipeline.training.identity import belonging
from pipeline.training.runs import (
    Run,
    RunFolder,
    StoredRun,
    leave_out,
    newest_run,
    not_finished,
    run_folders,
    stored_runs,
    unfinished_runs,
)
from pipeline.training.sessions import read_sessions


def main(settings: Settings) -> Path:
    """Returns the path of the submission."""
    find_runs(settings)
    device = choose_device(settings.device)
    competition = open_competition(**settings.source)
    folder = settings.runs_folder(competition.name)
    sweep_all(folder)
    usable = usable_runs(competition, settings)
    competition = replace(competition, metric=metric_to_use(competition, usable, settings))
    group, blend = best_blend(competition, usable)
    train, validation = train_and_validation(competition, group.ids)
    runs = {name: usable[name].run for name in group.names}
    chosen = [runs[name] for name in blend.weights]
    images = test_images(competition, chosen, settings)
    stored = {run.name: predict_test(run, images[run.shape], competition, settings, device) for run in chosen}
    predictions = fill_unreadable(blended(blend, stored, competition), images[chosen[0].shape], competition)
    decision = decision_for(competition, validation, blend, usable)
    submission = hand_in(competition, predictions, decision, settings)
    write_note(submission, blend, competition, settings)
    table, scores = blend.table().rsplit("\n", 1)
    print(table)
    print_result(scores)
    if decision.description:
        print(decision.description)
    print(class_counts(competition, predictions, decision))
    audit_data(competition, runs.values(), images[chosen[0].shape], settings)
    judge_labels(competition, usable, settings, device)
    validated = {name: usable[name].validated for name in runs}
    context = ReportContext(competition, runs, folder, validated, train, validation, blend, predictions, submission)
    context = replace(context, decision=decision, device=device, weights=settings.weights)
    context = replace(context, sessions=read_sessions(folder), sent=sent_before(competition, settings))
    report(replace(context, findings=read_findings(folder / FOLDER)), settings)
    print(f"next: {next_step(submission, settings)}")
    print_result(submission)
    return submission


def next_step(submission: Path, settings: Settings) -> str:
    """The command to type next: it submits to Kaggle, or scores the rehearsal."""
    if settings.competition is None and settings.data is None:
        return typed_rehearsal(f"score {submission}")
    return typed("submit", settings)


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
    path = submission_path(competition, settings)
    return f" ({path} answers earlier ones)" if path.exists() else ""


def submission_path(competition: Competition, settings: Settings) -> Path:
    return settings.submissions_folder(competition.name) / "submission.csv"


def metric_to_use(competition: Competition, runs: dict[str, StoredRun], settings: Settings) -> Metric:
    """The metric of --metric; without that option, the metric that the newest model was trained with."""
    if settings.metric is not None:
        return competition.metric
    newest = newest_run(stored.run for stored in runs.values())
    return find_metric(newest.score.metric).of(competition.task, competition.form)


def best_blend(competition: Competition, runs: dict[str, StoredRun]) -> tuple[Group, Blend]:
    """The runs that can be compared with each other, and their blend.

    Of several groups of such runs, the one whose blend is expected to be at least that good; if others are left out for
    it, they are printed.
    """
    groups = decisive_groups(comparable_groups({name: stored.validated.ids for name, stored in runs.items()}))
    blends = [(group, blend_of(group, competition, runs)) for group in groups]
    group, blend = max(blends, key=lambda each: each[1].expected.cautious_rank)
    reason = "they share too few validation images with the others, whose blend is the safer choice"
    leave_out({name: reason for name in runs if name not in group.names})
    if any(len(runs[name].validated) > len(group.ids) for name in group.names):
        print(f"compared on the {len(group.ids):,} images that all models were validated on")
    return group, blend


def blend_of(group: Group, competition: Competition, runs: dict[str, StoredRun]) -> Blend:
    _, validation = train_and_validation(competition, group.ids)
    validated = {name: runs[name].validated for name in group.names}
    return select_blend(validated, validation.ids, validation.known_labels, competition.metric)


def train_and_validation(competition: Competition, ids: Sequence[str]) -> tuple[Split, Split]:
    """The labelled images as (train, validation): those with the given ids, in their order, validate."""
    split = labelled_images(competition)
    places = {name: row for row, name in enumerate(split.ids)}  # if an id is in both tables, the row of val counts
    rows = np.array([places[name] for name in ids])
    return split.take(np.setdiff1d(np.arange(len(split)), rows)), split.take(rows)


def test_images(
    competition: Competition, runs: Sequence[Run], settings: Settings
) -> dict[tuple[Size, Fit], ImageCache]:
    """The test images, by each size and fit that the runs were trained at."""
    paths, folder = competition.test.paths, settings.cache_folder
    room = {run.shape: run.cache_size for run in runs}
    return {(size, fit): open_cache(paths, folder, size, fit=fit, most=most) for (size, fit), most in room.items()}


def predict_test(
    run: Run, images: ImageCache, competition: Competition, settings: Settings, device: torch.device
) -> Path:
    """Save the mean prediction of the run's models for the test images as test.npz in the run's folder.

    You can build your own stacking on test.npz and on validation.npz in the same folder. They hold ``ids`` and float32
    ``probabilities``, with the columns of the task in run.json. The probabilities of unreadable images are meaningless
    there.
    """
    folder = RunFolder(settings.runs_folder(competition.name) / run.name)
    models = run.models(folder, device)
    title = f"{run.name} on test"
    probabilities = np.empty((len(images), competition.task.columns), np.float32)
    for rows in row_blocks(*probabilities.shape):
        some = images.subset(rows)
        answers = [model.predict_proba(some, settings.test_time_views, title) for model in models]
        probabilities[rows] = sum(answers[1:], answers[0]) / np.float32(len(models))
    Predictions(competition.test.ids, probabilities, fingerprint=run.fingerprint).save(folder.test)
    return folder.test


def blended(blend: Blend, stored: dict[str, Path], competition: Competition) -> Predictions:
    """The blend of the members' stored predictions for the test images.

    The members are read block by block of rows, since those of many classes would not fit into memory together.
    """
    probabilities = np.empty((len(competition.test), competition.task.columns), np.float32)
    done = 0
    for blocks in zip(*map(stored_blocks, stored.values()), strict=True):
        block = blend.apply(dict(zip(stored, blocks, strict=True)))
        probabilities[done : done + len(block)] = block.probabilities
        done += len(block)
    return Predictions(competition.test.ids, probabilities)


def fill_unreadable(predictions: Predictions, images: ImageCache, competition: Competition) -> Predictions:
    """Give unreadable test images the class frequencies of train as probabilities, and print a warning."""
    unreadable = images.unreadable
    if len(unreadable) == 0:
        return predictions
    names = unreadable_files([competition.test.paths[row] for row in unreadable])
    print(f"warning: {len(unreadable)} test images cannot be read and get the most frequent answer: {names}")
    prior = competition.task.prior(competition.train.known_labels)
    predictions.probabilities[unreadable] = prior  # in place: a copy may need gigabytes
    return predictions


def decision_for(competition: Competition, validation: Split, blend: Blend, runs: dict[str, StoredRun]) -> Decision:
    """How probabilities become answers, fitted on the validation images where the metric rewards it."""
    predicted = blend.apply({name: runs[name].validated.aligned_to(validation.ids) for name in blend.powers})
    metric, form = competition.metric, competition.form
    return fit_decision(predicted.probabilities, validation.known_labels, metric, form, validation.cases)


def hand_in(competition: Competition, predictions: Predictions, decision: Decision, settings: Settings) -> Path:
    """Write the submission and, on Kaggle, a copy in the notebook's output folder. Returns its path."""
    path = submission_path(competition, settings)
    remove_report(path)  # before, so that it never lies beside a submission that it is not about
    write_submission(competition, decision.cells(competition, predictions), path)
    if KAGGLE_WORKING.is_dir():
        with atomic_write(KAGGLE_WORKING / "submission.csv") as copy:
            shutil.copyfile(path, copy)
    return path


def write_note(submission: Path, blend: Blend, competition: Competition, settings: Settings) -> None:
    """Write submission.json beside the submission, for submit.py to copy into the ledger."""
    expected = blend.expected
    note = Note(
        sha256=sha256_of(submission),
        recipes=blend.weights,
        validation=expected.value,
        low=expected.low,
        high=expected.high,
        metric=expected.metric,
        source=lasting_source(settings),
        data=fingerprint_of(competition),
    )
    note.write(submission.with_name("submission.json"))


def lasting_source(settings: Settings) -> dict[str, str | None]:
    """The arguments of ``open_competition`` as text, with absolute paths, so that they work from any folder."""
    data = settings.data and settings.data.resolve()
    source = settings.source | {"competition": lasting_name(settings.competition), "data": data}
    return {name: None if value is None else str(value) for name, value in source.items()}


def audit_data(competition: Competition, runs: Iterable[Run], images: ImageCache, settings: Settings) -> None:
    """Look for what is wrong with the images and labels, if the report is to show it. images: those of the test.

    Labelled images are not decoded for it: without a cache of them, what was found before counts.
    """
    if not settings.report:
        return
    with dispensable("audit of the data", settings):
        shapes = dict.fromkeys(run.shape for run in runs)
        known = known_images(labelled_images(competition).paths, settings.cache_folder, shapes)
        if known is not None:
            pictures = Pictures.labelled(competition, known), Pictures.test(competition, images)
            audited(competition, *pictures, settings.runs_folder(competition.name) / FOLDER)


def judge_labels(
    competition: Competition, runs: dict[str, StoredRun], settings: Settings, device: torch.device
) -> None:
    """Write the table of the labels that the models contradict."""
    folder = settings.runs_folder(competition.name)
    with dispensable("judgement of the labels", settings):
        finding = suspects(competition, runs, folder, settings.cache_folder, device)
        write_findings([finding], folder / FOLDER)
        if finding.told:
            print(finding.placed(folder / FOLDER).told)


def sent_before(competition: Competition, settings: Settings) -> tuple[Sent, ...]:
    """What the ledger says of earlier submissions; nothing, with a warning, if it is damaged."""
    ledger = Ledger(settings.submissions_folder(competition.name).with_name("ledger.csv"))
    try:
        return sent_from(ledger.find(lambda entry: entry.competition == competition.name))
    except UserError as error:
        print(f"warning: the report shows no earlier submissions: {error}")
        return ()


def report(context: ReportContext, settings: Settings) -> None:
    """Write the report beside the submission."""
    if not settings.report:
        return
    with dispensable("report", settings):
        from pipeline.report.page import write_report  # here, because matplotlib is slow to import

        print(f"report: {write_report(context)}")


@contextmanager
def dispensable(what: str, settings: Settings) -> Iterator[None]:
    """A block whose errors are only warned of, as the submission is valid without it."""
    try:
        yield
    except Exception as error:
        if settings.debug:
            raise
        print(
            f"warning: no {what} ({printable(error, most=200)}); the submission is valid; --debug shows the traceback"
        )
