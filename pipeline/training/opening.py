"""Opens a competition as the options say: its tables, and its decoded images within their share of the budget."""

import math
import time
from dataclasses import replace

import numpy as np
import torch

from competition.errors import UserError
from competition.layouts import read_corrections, read_extra
from competition.sources import open_competition
from competition.spec import Competition, Symmetries
from competition.splits import limit_train
from competition.storage import sweep_all
from competition.wording import counted, printable
from pipeline.data.image_size import ImageSizes
from pipeline.data.training_data import TrainingData, open_training_data
from pipeline.models.networks.pretrained import imagenet_networks
from pipeline.models.recipe import AnyRecipe
from pipeline.runtime import distributed
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.settings import Settings
from pipeline.training.planning import clock

DECODING_SHARE = 0.8  # of the budget at most, so that there is time for a model


def read_competition(settings: Settings, symmetries: Symmetries | None = None) -> Competition:
    """Open the competition, reduced to --limit training images if that is given.

    symmetries: those of the plan to repeat, if there is one.
    """
    with distributed.main_first():
        competition = open_competition(**settings.source)
        sweep_all(settings.runs_folder(competition.name))
    if symmetries is not None:
        competition = replace(competition, symmetries=symmetries)
    if settings.relabel is not None:
        corrections = read_corrections(settings.relabel, competition)
        competition = replace(competition, corrections=corrections)
    if settings.limit is not None:
        competition = limit_train(competition, settings.limit, settings.seed)
    if settings.extra is not None:
        competition = replace(competition, extra=read_extra(settings.extra, competition))
    counts = (len(competition.train), len(competition.val), len(competition.test))
    name = printable(competition.name)
    print("{}: {:,} train, {:,} val and {:,} test images, {}".format(name, *counts, competition.task))
    for line in competition.found:
        print(line)
    return competition


def decoded(
    competition: Competition,
    settings: Settings,
    recipes: list[AnyRecipe],
    device: torch.device,
    sizes: ImageSizes | None = None,
) -> TrainingData:
    """The images of train and val. Raises UserError if the budget is too short for decoding them.

    sizes: of the plan that is repeated; None if they are to be chosen.
    """
    pretrained, begun = any(map(imagenet_networks, recipes)), time.monotonic()
    budget = math.inf if settings.budget is None else settings.budget
    try:
        with time_limit(settings.begun + DECODING_SHARE * budget):
            return open_training_data(competition, settings, device.type, pretrained, sizes)
    except OutOfTime as error:
        raise UserError(f"--budget {clock(budget)}: {too_short(begun, error.done, settings)}") from None


def too_short(begun: float, done: float, settings: Settings) -> str:
    """What took the time, and a budget that would do.

    begun: when the images began to be read, on the clock of ``time.monotonic``. done: the part of them that is decoded.
    """
    start, decoding = begun - settings.begun, time.monotonic() - begun
    if done:
        decoding /= min(done, 1.0)
        fault = f"decoding the images takes about {clock(math.ceil(decoding))}, after {clock(start)} for the start"
    else:
        fault = f"the start took {clock(start)}, which leaves too little time to read the images"
    return f"{fault}; give --budget {math.ceil(2 * (start + decoding) / 60)}m or more"


def print_corrections(training_data: TrainingData, settings: Settings) -> None:
    """Say how many corrected labels are trained on. Raises UserError if there is none."""
    if settings.relabel is None:
        return
    if (stand_ins := training_data.stand_ins) is None:
        where = printable(settings.relabel, most=200)
        raise UserError(f"--relabel {where}: no image that it corrects is used; leave out --limit, or correct others")
    trains_on_all = len(training_data.splits) > 1 or settings.refit
    trained = stand_ins if trains_on_all else np.delete(stand_ins, training_data.validated)
    new, without = int((trained >= training_data.own).sum()), int((trained < 0).sum())
    idle = int((stand_ins != np.arange(len(stand_ins))).sum()) - new - without
    name = printable(settings.relabel, most=200) + " and --drop-conflicts" * settings.drop_conflicts
    if not new + without:
        raise UserError(f"--relabel {name}: only validation images are corrected; give --folds 3 to train on all")
    told = f" {idle:,} not used (they only validate)," if idle else ""
    print(f"{counted(new, 'corrected label')} to train on, {counted(without, 'image')} left out,{told} by {name}")
