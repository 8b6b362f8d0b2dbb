"""Blend the trained models and predict the test images: runs -> blend -> submission CSV and report.

python pipeline/predict.py [--competition NAME|FOLDER|ZIP] [--models RECIPE ...] [--no-tta] [--no-report] ...
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.predict()

import numpy as np
import torch

from competition.console import print_result
from competition.errors import UserError, first_few
from competition.metrics import METRICS, Metric
from competition.sources import lasting_name, open_competition
from competition.spec import Competition, Split
from competition.storage import KAGGLE_WORKING, atomic_write
from competition.submission import write_submission
from competition.wording import printable
from pipeline.commands import typed, typed_rehearsal
from pipeline.data.cache import ImageCache, open_cache
from pipeline.data.predictions import Predictions
from pipeline.data.training_data import labelled_images
from pipeline.ensemble.blend import Blend, select_blend
from pipeline.ensemble.decisions import class_counts, decide
from pipeline.kaggle.ledger import Note, sha256_of
from pipeline.report.context import ReportContext
from pipeline.runtime.devices import choose_device
from pipeline.settings import Settings
from pipeline.training.runs import Run, RunFolder, finished_runs, newest_run, parted, same_validation


def main(settings: Settings) -> None:
    device = choose_device(settings.device)
    competition = open_competition(**settings.source)
    runs, validated = usable_runs(competition, settings)
    competition = replace(competition, metric=metric_to_use(competition, runs, settings))
    train, validation = train_and_validation(competition, validated)
    blend = select_blend(validated, validation.ids, validation.known_labels, competition.metric)
    table, scores = blend.table().rsplit("\n", 1)
    print(table)
    print_result(scores)
    chosen = [runs[name] for name in blend.weights]
    images = test_images(competition, chosen, settings)
    members = {run.name: predict_test(run, images[run.image_shape], competition, settings, device) for run in chosen}
    predictions = fill_unreadable(blend.apply(members), images[chosen[0].image_shape], competition)
    print(class_counts(competition, predictions))
    submission = hand_in(competition, predictions, settings)
    write_note(submission, blend, settings)
    folder = settings.runs_folder(competition.name)
    report(
        ReportContext(competition, runs, folder, validated, train, validation, blend, predictions, submission), settings
    )
    print(f"next: {next_step(submission, settings)}")
    print_result(submission)


def next_step(submission: Path, settings: Settings) -> str:
    """The command to type next: it submits to Kaggle, or scores the rehearsal."""
    if settings.competition is None and settings.data is None:
        return typed_rehearsal(f"score {submission}")
    return typed("submit", settings)


def usable_runs(competition: Competition, settings: Settings) -> tuple[dict[str, Run], dict[str, Predictions]]:
    """The finished runs that can be blended, and their predictions for the validation images, both by run name.

    A run can be blended if it was trained on the competition's classes, if the tables still have the labels that it was
    validated with, and if it was validated on the same images as the newest such run.
    Raises UserError if there is none.
    """
    folder, labels = settings.runs_folder(competition.name), labels_by_id(competition)
    runs, others = parted(finished_runs(folder, settings.models), lambda _, run: run.classes == competition.classes)
    leave_out(others, "they were trained on other classes")
    validated = {name: Predictions.load(RunFolder(folder / name).validation) for name in runs}
    runs, others = parted(runs, lambda name, _: has_labels(validated[name], labels))
    leave_out(others, "the labels of their validation images have changed in the tables")
    if not runs:
        raise UserError(f"{folder}: no model fits the classes and labels of {competition.name}; run pipeline/train.py")
    runs, others = same_validation(folder, runs)
    leave_out(others, "they were validated on other images")
    return runs, {name: validated[name] for name in runs}


def metric_to_use(competition: Competition, runs: dict[str, Run], settings: Settings) -> Metric:
    """The metric of --metric; without that option, the metric that the newest model was trained with."""
    if settings.metric is not None:
        return competition.metric
    return METRICS[newest_run(settings.runs_folder(competition.name), runs).score.metric]


def leave_out(names: list[str], reason: str) -> None:
    if names:
        print(f"left out, as {reason}: {first_few(names, 9)}")


def labels_by_id(competition: Competition) -> dict[str, int]:
    """The label of each labelled image. If an id is in both tables, the label in val counts."""
    split = labelled_images(competition)
    return dict(zip(split.ids, split.known_labels.tolist(), strict=True))


def has_labels(predictions: Predictions, labels: dict[str, int]) -> bool:
    """Whether the targets of the predictions equal the given labels."""
    return (
        predictions.targets is not None
        and [labels.get(name) for name in predictions.ids] == predictions.targets.tolist()
    )


def train_and_validation(competition: Competition, validated: dict[str, Predictions]) -> tuple[Split, Split]:
    """The labelled images as (train, validation).

    validation: the images that the runs were validated on, in their order. train: all others.
    """
    split, predictions = labelled_images(competition), next(iter(validated.values()))
    places = {name: row for row, name in enumerate(split.ids)}  # if an id is in both tables, the row of val counts
    rows = np.array([places[name] for name in predictions.ids])
    return split.take(np.setdiff1d(np.arange(len(split)), rows)), split.take(rows)


def test_images(competition: Competition, runs: Sequence[Run], settings: Settings) -> dict[tuple[int, int], ImageCache]:
    """The test images, by each (height, width) in pixels that the runs were trained at."""
    shapes = dict.fromkeys(run.image_shape for run in runs)
    return {shape: open_cache(competition.test.paths, settings.cache_folder, shape) for shape in shapes}


def predict_test(
    run: Run, images: ImageCache, competition: Competition, settings: Settings, device: torch.device
) -> Predictions:
    """The mean prediction of the run's models for the test images, also saved as test.npz in the run's folder.

    You can build your own stacking on test.npz and on validation.npz in the same folder. They hold ``ids`` and float32
    ``probabilities`` ``[N, classes]``, with the columns in the order of the classes in run.json. The probabilities of
    unreadable images are meaningless there.
    """
    folder = RunFolder(settings.runs_folder(competition.name) / run.name)
    models = run.models(folder, device)
    title = f"{run.name} on test"
    probabilities = [model.predict_proba(images, settings.test_time_views, title) for model in models]
    predictions = Predictions(competition.test.ids, sum(probabilities[1:], probabilities[0]) / np.float32(len(models)))
    predictions.save(folder.test)
    return predictions


def fill_unreadable(predictions: Predictions, images: ImageCache, competition: Competition) -> Predictions:
    """Give unreadable test images the class frequencies of train as probabilities, and print a warning."""
    unreadable = images.unreadable
    if len(unreadable) == 0:
        return predictions
    names = first_few([competition.test.paths[row] for row in unreadable])
    print(f"warning: {len(unreadable)} test images cannot be read and get the most frequent class: {names}")
    counts = np.bincount(competition.train.known_labels, minlength=len(competition.classes))
    filled = predictions.probabilities.copy()
    filled[unreadable] = counts / counts.sum()
    return Predictions(predictions.ids, filled)


def hand_in(competition: Competition, predictions: Predictions, settings: Settings) -> Path:
    """Write the submission and, on Kaggle, a copy in the notebook's output folder. Returns its path."""
    path = settings.submissions_folder(competition.name) / "submission.csv"
    write_submission(competition, decide(competition, predictions), path)
    if KAGGLE_WORKING.is_dir():
        with atomic_write(KAGGLE_WORKING / "submission.csv") as copy:
            shutil.copyfile(path, copy)
    return path


def write_note(submission: Path, blend: Blend, settings: Settings) -> None:
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
    )
    note.write(submission.with_name("submission.json"))


def lasting_source(settings: Settings) -> dict[str, str | None]:
    """The arguments of ``open_competition`` as text, with absolute paths, so that they work from any folder."""
    data = settings.data and settings.data.resolve()
    source = settings.source | {"competition": lasting_name(settings.competition), "data": data}
    return {name: None if value is None else str(value) for name, value in source.items()}


def report(context: ReportContext, settings: Settings) -> None:
    """Write the report beside the submission. If that fails, print a warning: the submission is valid without it."""
    if not settings.report:
        return
    try:
        from pipeline.report.page import write_report  # here, because matplotlib is slow to import

        print(f"report: {write_report(context)}")
    except Exception as error:
        if settings.debug:
            raise
        print(
            f"warning: no report ({printable(error, most=200)}); the submission is valid; --debug shows the traceback"
        )
