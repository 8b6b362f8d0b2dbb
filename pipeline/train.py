"""Train models on a competition's images: tables -> image cache -> models -> validation scores.

python pipeline/train.py [--competition NAME|FOLDER|ZIP] [--models RECIPE ...] [--budget 10m] ...
"""

import math
import sys
import time
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.train()

from competition.console import print_result
from competition.errors import UserError, first_few
from competition.sources import open_competition
from competition.spec import Competition, Symmetries
from competition.splits import limit_train
from pipeline.commands import typed
from pipeline.data.training_data import TrainingData, open_training_data
from pipeline.models.base import NotTrained
from pipeline.models.networks.pretrained import recipe_weights
from pipeline.models.recipe import AnyRecipe, choose_recipes
from pipeline.runtime import distributed
from pipeline.runtime.devices import choose_device
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.settings import BEGUN, Settings
from pipeline.training.planning import ModelPlan, Plan, clock, make_plan, portfolio, workload_of
from pipeline.training.runs import RunFolder, finished_runs, same_validation, transfer_source
from pipeline.training.scores import scores_table, write_scores
from pipeline.training.symmetries import settle_symmetries
from pipeline.training.trainer import Trainer

DECODING_SHARE = 0.8  # of the budget at most, so that there is time for a model
TRIAL_SHARE = 0.2  # of the time after decoding, at most, for the trial of flips and rotations
CLOSING_SECONDS = 2.0  # for the tables and files after the last model, and for the end of the process
CLOSING_SHARE = 0.6  # of the time that imports took, if that is more, as on a machine that others use
IMPORTED = time.monotonic()


@distributed.distributed_main
def main(settings: Settings) -> None:
    settings, recorded = repeated(settings)
    recipes = [model.recipe for model in recorded.models] if recorded else asked_recipes(settings)
    device = choose_device(settings.device)
    find_imagenet_weights(recipes, settings)
    competition = read_competition(settings, recorded.symmetries if recorded else None)
    find_sources(recipes, settings, competition)
    with distributed.main_first():
        training_data = decoded(competition, settings)
    competition = distributed.from_main(
        lambda: settle_symmetries(competition, recipes, training_data, settings, device, trial_end(settings))
    )
    plan = recorded or distributed.from_main(lambda: plan_models(recipes, settings, competition, training_data))
    trainer = Trainer(settings, device, competition, training_data, deadline(settings))
    for model in plan.models:
        plan = train_model(trainer, model, plan)
    if distributed.is_main():
        print_scores(trainer)
        print(f"next: {typed('predict', settings)}")


def repeated(settings: Settings) -> tuple[Settings, Plan | None]:
    """The settings to train with, and the plan of --plan (None without that option), which overrides them."""
    if settings.plan is None:
        return settings, None
    plan = Plan.read(settings.plan)
    return plan.applied_to(settings), plan


def asked_recipes(settings: Settings) -> list[AnyRecipe]:
    return choose_recipes(settings.models or portfolio(settings.weights, settings.budget), settings.recipes_folder)


def read_competition(settings: Settings, symmetries: Symmetries | None = None) -> Competition:
    """Open the competition, reduced to --limit training images if that is given.

    symmetries: those of the plan to repeat, if there is one.
    """
    with distributed.main_first():
        competition = open_competition(**settings.source)
    if symmetries is not None:
        competition = replace(competition, symmetries=symmetries)
    if settings.limit is not None:
        competition = limit_train(competition, settings.limit, settings.seed)
    counts = (len(competition.train), len(competition.val), len(competition.test), len(competition.classes))
    print("{}: {:,} train, {:,} val and {:,} test images, {} classes".format(competition.name, *counts))
    return competition


def find_imagenet_weights(recipes: list[AnyRecipe], settings: Settings) -> None:
    """Find or download the ImageNet weights of all recipes, before anything slow begins.

    Raises UserError if weights are missing.
    """
    with distributed.main_first():
        for recipe in recipes:
            for path in recipe_weights(recipe, settings.weights):
                print(f"{recipe.name} starts from {path}")


def find_sources(recipes: list[AnyRecipe], settings: Settings, competition: Competition) -> None:
    """Find the networks from other competitions that recipes start from. Raises UserError if one is missing."""
    for recipe in recipes:
        if recipe.transfer_from is not None:
            print(f"{recipe.name} starts from {transfer_source(recipe, settings.work / 'runs', competition.name).path}")


def decoded(competition: Competition, settings: Settings) -> TrainingData:
    """The images of train and val. Raises UserError if the budget is too short for decoding them."""
    if settings.budget is None:
        return open_training_data(competition, settings)
    begun = time.monotonic()
    try:
        with time_limit(BEGUN + DECODING_SHARE * settings.budget):
            return open_training_data(competition, settings)
    except OutOfTime as error:
        needed = begun - BEGUN + (time.monotonic() - begun) / max(error.done, 1e-3)
        enough = math.ceil(2 * needed / 60)
        raise UserError(
            f"--budget {clock(settings.budget)}: preparing the images alone takes about {clock(needed)} here; "
            f"give --budget {enough}m or more"
        ) from None


def trial_end(settings: Settings) -> float | None:
    """When the trial of flips and rotations must end, on the clock of ``time.monotonic``; None: no limit.

    That is now, so that there is no trial, if its share is less than imports took: it would hardly begin to train.
    """
    now, end = time.monotonic(), deadline(settings)
    if end is None:
        return None
    share = TRIAL_SHARE * (end - now)
    return now + share if share > IMPORTED - BEGUN else now


def train_model(trainer: Trainer, model: ModelPlan, plan: Plan) -> Plan:
    """Train one model, and write the plan with what was done. A model that cannot be trained is left out of it.

    Raises NotTrained if there is no other model.
    """
    try:
        plan = plan.with_model(trainer.train(model, plan))
    except NotTrained as error:
        if plan.models == (model,):
            raise
        print(f"warning: left out: {error}")
        plan = plan.without(model, str(error))
    if distributed.is_main():
        plan.write(trainer.folder / "plan.json")
    return plan


def deadline(settings: Settings) -> float | None:
    """When training must end, in seconds on the clock of ``time.monotonic``; None: no limit."""
    if settings.budget is None:
        return None
    return BEGUN + settings.budget - max(CLOSING_SECONDS, CLOSING_SHARE * (IMPORTED - BEGUN))


def plan_models(
    recipes: list[AnyRecipe], settings: Settings, competition: Competition, training_data: TrainingData
) -> Plan:
    end = deadline(settings)
    seconds = None if end is None else end - time.monotonic()
    return make_plan(recipes, settings, competition, workload_of(competition, training_data), seconds)


def print_scores(trainer: Trainer) -> None:
    """Write all runs to scores.csv, and print those that can be compared with the newest run, the best first."""
    folder, metric = trainer.folder, trainer.competition.metric
    runs = finished_runs(folder)
    rows = {name: run.row(RunFolder(folder / name), metric) for name, run in runs.items()}
    rows = dict(sorted(rows.items(), key=lambda row: -row[1].score.rank))
    write_scores(folder / "scores.csv", rows.values(), metric)
    comparable, others = same_validation(folder, runs)
    print()
    print_result(scores_table((row for name, row in rows.items() if name in comparable), metric))
    if others:
        print(f"left out, as they were validated on other images or labels: {first_few(others)}")
    print(f"scores on the validation images, written to {folder / 'scores.csv'}")
