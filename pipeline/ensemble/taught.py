"""The answers of earlier models, as --pseudo-labels and --distil train on them, within their share of the budget."""

import math
import time

import torch

from competition.errors import UserError
from competition.spec import Competition
from pipeline.data.training_data import Lesson, TrainingData
from pipeline.ensemble.teacher import find_teacher, lessons
from pipeline.runtime import distributed
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.settings import Settings
from pipeline.training.deadline import deadline
from pipeline.training.planning import clock
from pipeline.training.runs import leave_out, run_folders, stored_runs

TEACHING_SHARE = 0.5  # of the time then left, at most, for the answers of earlier models


def taught(
    training_data: TrainingData, competition: Competition, settings: Settings, device: torch.device
) -> TrainingData:
    """The images with what earlier runs say of them, if --pseudo-labels or --distil is given.

    Raises UserError if no earlier run can teach, or if the budget is too short for it.
    """
    if not (settings.pseudo_labels or settings.distil):
        return training_data

    def learnt() -> list[Lesson]:
        runs, damaged = stored_runs(run_folders(settings.runs_folder(competition.name)))
        leave_out(damaged)
        teacher = find_teacher(runs, training_data, competition, device)
        with time_limit(now + TEACHING_SHARE * (end - now)):
            return lessons(teacher, training_data, settings.pseudo_labels, settings.distil, competition.task)

    now, end = time.monotonic(), deadline(settings) or math.inf
    try:
        return training_data.taught(distributed.from_main(learnt))
    except OutOfTime:
        remedy = "give more, or leave out --pseudo-labels and --distil"
        raise UserError(
            f"--budget {clock(settings.budget or 0)}: it is too short for earlier models to teach; {remedy}"
        ) from None
