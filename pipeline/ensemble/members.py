"""The predictions of a blend's members for the test images, and their blend."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from competition.spec import Competition
from pipeline.data.cache import ImageCache, open_cache
from pipeline.data.faulty_files import unreadable_files, warn_of_damaged
from pipeline.data.fitting import Fit, Size
from pipeline.data.predictions import Predictions, stored_blocks
from pipeline.ensemble.blend import Blend
from pipeline.runtime.memory import row_blocks
from pipeline.settings import Settings
from pipeline.training.runs import Run, RunFolder


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
    warn_of_damaged(competition.test.paths, images.damaged, "test images")
    unreadable = images.unreadable
    if len(unreadable) == 0:
        return predictions
    names = unreadable_files([competition.test.paths[row] for row in unreadable])
    print(f"warning: {len(unreadable)} test images cannot be read and get the most frequent answer: {names}")
    prior = competition.task.prior(competition.train.known_labels)
    predictions.probabilities[unreadable] = prior  # in place: a copy may need gigabytes
    return predictions
