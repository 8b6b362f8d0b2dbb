"""The teacher: the blend of earlier runs, whose answers further models are trained on.

For each split only models answer that have not seen its validation images, so that the score measured there stays
honest. D.-H. Lee, "Pseudo-Label" (ICML 2013 workshop); G. Hinton et al., "Distilling the Knowledge in a Neural Network"
(arXiv:1503.02531).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from competition.cells.base import one_hot
from competition.errors import UserError
from competition.progress import Progress
from competition.spec import Competition
from competition.task import Task
from pipeline.data.cache import Images, rows_of
from pipeline.data.predictions import Predictions
from pipeline.data.training_data import Lesson, TrainingData
from pipeline.ensemble.blend import Blend, select_blend
from pipeline.models.neural.losses import shared_out
from pipeline.runtime.time_limit import in_time
from pipeline.training.runs import TAUGHT, StoredRun, fold_folder, leave_out

CONFIDENT = 0.9  # probability of the likeliest choice, in the mean over the targets, from which on an answer is learnt;
# if there are fewer such answers, the surest half is
AT_ONCE = 2000  # images that are answered before the time is looked at
TRUST = 0.5  # weight of the teacher's answer beside the label


@dataclass(frozen=True, eq=False)
class Teacher:
    """blend: of the runs. runs: its members by name, each with a model for each split."""

    blend: Blend
    runs: Mapping[str, StoredRun]
    device: torch.device

    def answers(self, split: int, images: Images, about: str) -> np.ndarray:
        """What the models of that split say, float32 ``[N, T * K]``. about: the images, for the progress bar.

        Raises OutOfTime if a time limit passes meanwhile.
        """
        ids = tuple(map(str, range(len(images))))
        said = {}
        for name in self.blend.powers:
            run = self.runs[name].run
            model = run.recipe.load(self.runs[name].folder.fold(run.fold_folders[split]).path, self.device)
            parts = Progress(_parts(len(images)), desc=f"{name} on {about}", unit="part")
            answers = [model.predict_proba(rows_of(images, rows)) for rows in in_time(parts)]
            said[name] = Predictions(ids, np.concatenate(answers))
        return self.blend.apply(said).probabilities


def _parts(images: int) -> list[np.ndarray]:
    """The rows of that many images in parts, after each of which the time is looked at."""
    return np.array_split(np.arange(images), max(1, images // AT_ONCE))


def find_teacher(
    runs: Mapping[str, StoredRun], training_data: TrainingData, competition: Competition, device: torch.device
) -> Teacher:
    """The blend of those runs that can teach on these splits. Raises UserError if there is none."""
    reasons = {name: reason for name, stored in runs.items() if (reason := _unfit(stored, training_data))}
    leave_out(reasons)
    fit = {name: stored for name, stored in runs.items() if name not in reasons}
    if not fit:
        raise UserError(
            "no trained model can teach others on these images; train some first, by the same command without "
            "--pseudo-labels and --distil"
        )
    validation = training_data.split.take(training_data.validated)
    validated = {name: stored.validated for name, stored in fit.items()}
    blend = select_blend(validated, validation.ids, validation.known_labels, competition.metric)
    return Teacher(blend, fit, device)


def _unfit(stored: StoredRun, training_data: TrainingData) -> str | None:
    """Why a run cannot teach; None if it can. It continues ``left out, as``."""
    run = stored.run
    if run.options.keys() & TAUGHT:
        return "they were taught themselves"
    if stored.validated.ids != training_data.split.take(training_data.validated).ids:
        return "they were validated on other images"
    splits = len(training_data.splits)
    if run.fold_folders != tuple(fold_folder(number, splits) for number in range(splits)):
        return "a model of all images has seen those that validate"
    if (run.image_shape, run.image_fit) != (training_data.images.shape[1:3], training_data.sizes.fit):
        return "their images had another size"
    return stored.data.change_in(training_data.record)


def lessons(
    teacher: Teacher, training_data: TrainingData, pseudo_labels: bool, distil: bool, task: Task
) -> list[Lesson]:
    """What each split is trained on: its training images and, with ``pseudo_labels``, confident test images.

    distil: the training images are learnt with a mean of their labels and of the teacher's answers.
    """
    tested = np.arange(training_data.labelled, len(training_data.split))
    found = []
    for split, (train, _) in enumerate(training_data.splits):
        labels = training_data.split.known_labels[train]
        soft = _certain(task, labels)
        if distil:
            said = teacher.answers(split, training_data.images.subset(train), "train")
            soft = (1 - TRUST) * soft + TRUST * said
        lesson = Lesson(train, labels, soft.astype(np.float32))
        if pseudo_labels:
            said = teacher.answers(split, training_data.images.subset(tested), "test")
            lesson = _with_test(lesson, tested, said, task)
            print(f"pseudo-labels for {len(lesson.rows) - len(train):,} of {len(tested):,} test images")
        found.append(lesson)
    print(f"taught by {', '.join(teacher.blend.powers)}")
    return found


def _certain(task: Task, labels: np.ndarray) -> np.ndarray:
    """What a network learns of these labels, float32 ``[n, T * K]``."""
    if task.kind != "continuous":
        return one_hot(task, labels)
    chosen = torch.from_numpy(task.encode(labels).reshape(-1))
    return shared_out(chosen, task.choices).reshape(len(labels), -1).numpy()


def _with_test(lesson: Lesson, rows: np.ndarray, said: np.ndarray, task: Task) -> Lesson:
    """The lesson and those of the test images of which the teacher is sure."""
    likeliest = task.by_target(said).max(axis=2).mean(axis=1)
    sure = likeliest >= min(CONFIDENT, np.median(likeliest))
    return Lesson(
        np.concatenate([lesson.rows, rows[sure]]),
        np.concatenate([lesson.labels, task.decode(said[sure])]),
        np.concatenate([lesson.soft, said[sure]]),
    )
