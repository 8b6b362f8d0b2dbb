"""Blend the trained models and predict the test images: runs -> blend -> submission CSV and report.

python pipeline/predict.py [--competition NAME|FOLDER|ZIP] [--models RECIPE ...] [--no-tta] [--no-report] ...
"""

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.predict()

import torch

from competition.console import print_result
from competition.errors import UserError
from competition.sources import lasting_name, open_competition
from competition.spec import Competition, Split
from competition.storage import KAGGLE_WORKING, atomic_write, sweep_all
from competition.submission import write_submission
from competition.wording import printable
from pipeline.commands import typed, typed_rehearsal
from pipeline.data.cache import ImageCache, known_images
from pipeline.data.complaints import unheard
from pipeline.data.predictions import Predictions
from pipeline.data.training_data import labelled_images
from pipeline.ensemble.best import best_blend, train_and_validation
from pipeline.ensemble.blend import Blend
from pipeline.ensemble.decisions import Decision, class_counts, fit_decision
from pipeline.ensemble.members import blended, fill_unreadable, predict_test, test_images
from pipeline.ensemble.usable import find_runs, metric_to_use, usable_runs
from pipeline.findings.audit import audited
from pipeline.findings.finding import FOLDER, read_findings, write_findings
from pipeline.findings.pictures import Pictures
from pipeline.findings.suspects import suspects
from pipeline.kaggle.ledger import Ledger, Note, fingerprint_of, sha256_of
from pipeline.report.context import ReportContext
from pipeline.report.files import remove_report
from pipeline.report.sent import Sent, sent_from
from pipeline.runtime.devices import choose_device
from pipeline.settings import Settings
from pipeline.training.runs import Run, StoredRun
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


def decision_for(competition: Competition, validation: Split, blend: Blend, runs: dict[str, StoredRun]) -> Decision:
    """How probabilities become answers, fitted on the validation images where the metric rewards it."""
    predicted = blend.apply({name: runs[name].validated.aligned_to(validation.ids) for name in blend.powers})
    metric, form = competition.metric, competition.form
    return fit_decision(predicted.probabilities, validation.known_labels, metric, form, validation.cases)


def hand_in(competition: Competition, predictions: Predictions, decision: Decision, settings: Settings) -> Path:
    """Write the submission and, on Kaggle, a copy in the notebook's output folder. Returns its path."""
    path = settings.submission(competition.name)
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
    with dispensable("report", settings), unheard():
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
