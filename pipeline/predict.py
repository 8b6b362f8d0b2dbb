"""Blend the trained models and answer the test images: runs -> blend -> submission CSV.

python pipeline/predict.py [--competition NAME|FOLDER|ZIP] [--models RECIPE ...] [--no-tta] ...
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from competition.errors import UserError, first_few
from competition.sources import open_competition
from competition.spec import Competition
from pipeline.answers.blend import Blend, select_blend
from pipeline.answers.ledger import Note, sha256_of
from pipeline.answers.predictions import Predictions
from pipeline.answers.scores import wilson_interval
from pipeline.answers.submission import class_counts, write_submission
from pipeline.devices import choose_device
from pipeline.files import written
from pipeline.images.cache import ImageCache, open_cache
from pipeline.models.neural import NeuralNetwork
from pipeline.runs import Model, Run, comparable, finished_runs
from pipeline.settings import KAGGLE_WORKING, Settings, predict_settings, run_door


def main(arguments: list[str]) -> None:
    settings = predict_settings(arguments)
    device = choose_device(settings.device)
    competition = open_competition(**settings.source)
    runs = usable_runs(competition, settings)
    blend = choose_blend(runs, competition, settings)
    members = {name: answer(runs[name], competition, settings, device) for name in blend.weights}
    predictions = fill_unreadable(blend.apply(members), runs, competition, settings)
    print(class_counts(competition, predictions))
    submission = hand_in(competition, predictions, settings)
    write_note(submission, blend, settings.runs_folder(competition.name))
    print(submission)


def usable_runs(competition: Competition, settings: Settings) -> dict[str, Run]:
    """The finished runs of this competition that were validated on the same images."""
    folder = settings.runs_folder(competition.name)
    runs, others = comparable(folder, finished_runs(folder, settings.models))
    if others:
        print(f"left out, as they were validated on other images: {first_few(others, 9)}")
    for run in runs.values():
        if run.classes != competition.classes:
            raise UserError(
                f"{folder / run.model} was trained on other classes than {competition.name} has now; "
                "train it again with pipeline/train.py --fresh"
            )
    return runs


def choose_blend(runs: dict[str, Run], competition: Competition, settings: Settings) -> Blend:
    folder = settings.runs_folder(competition.name)
    validated = {name: Predictions.load(folder / name / "predictions.npz") for name in runs}
    ids = next(iter(validated.values())).ids
    labels = dict(zip(competition.train.ids, competition.train.labels, strict=True))
    labels |= dict(zip(competition.val.ids, competition.val.labels, strict=True))
    blend = select_blend(validated, ids, np.array([labels[name] for name in ids]))
    print(blend.table())
    return blend


def answer(run: Run, competition: Competition, settings: Settings, device: torch.device) -> Predictions:
    """The mean of the run's fitted models on the test images."""
    images = test_images(competition, run, settings)
    models = run.models(settings.runs_folder(competition.name) / run.model, device)
    total = sum(probabilities(model, images, run.model, settings) for model in models)
    return Predictions(competition.test.ids, total / np.float32(len(models)))


def probabilities(model: Model, images: ImageCache, name: str, settings: Settings) -> np.ndarray:
    if isinstance(model, NeuralNetwork):
        return model.predict_proba(images, settings.test_time_views, title=f"{name} on test")
    return model.predict_proba(images)


def test_images(competition: Competition, run: Run, settings: Settings) -> ImageCache:
    """The test images at the size that the run was trained on."""
    return open_cache(competition.test.paths, settings.cache_folder, run.image_shape)


def fill_unreadable(
    predictions: Predictions, runs: dict[str, Run], competition: Competition, settings: Settings
) -> Predictions:
    """Give test images that cannot be read the shares that the classes have in train, and say so."""
    unreadable = test_images(competition, next(iter(runs.values())), settings).unreadable
    if len(unreadable) == 0:
        return predictions
    names = first_few([competition.test.paths[row] for row in unreadable])
    print(f"warning: {len(unreadable)} test images cannot be read and get the most frequent class: {names}")
    counts = np.bincount(competition.train.labels, minlength=len(competition.classes))
    filled = predictions.probabilities.copy()
    filled[unreadable] = counts / counts.sum()
    return Predictions(predictions.ids, filled)


def hand_in(competition: Competition, predictions: Predictions, settings: Settings) -> Path:
    """Write the submission, on Kaggle also where a notebook's output is looked for. Returns its path."""
    path = settings.submissions_folder(competition.name) / "submission.csv"
    write_submission(competition, predictions, path)
    if KAGGLE_WORKING.is_dir():
        with written(KAGGLE_WORKING / "submission.csv") as copy:
            shutil.copyfile(path, copy)
    return path


def write_note(submission: Path, blend: Blend, runs: Path) -> None:
    """Leave beside the submission what submit.py writes into the ledger. runs: ``runs/<competition>``."""
    validated = len(Predictions.load(runs / blend.best_single / "predictions.npz"))
    interval = wilson_interval(round(blend.expected * validated), validated)
    note = Note(sha256_of(submission), blend.weights, blend.expected, *interval)
    note.write(submission.with_name("submission.json"))


if __name__ == "__main__":
    run_door(main)
