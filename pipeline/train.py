"""Train models on a competition's images: tables -> image cache -> models -> validation scores.

python pipeline/train.py [--competition NAME|FOLDER|ZIP] [--models RECIPE ...] [--budget 10m] ...
"""

import sys
import time
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.train()


import torch

from competition.spec import Competition
from competition.wording import printable
from pipeline.commands import retyped, typed
from pipeline.data.training_data import TrainingData
from pipeline.ensemble.standings import print_scores
from pipeline.ensemble.taught import taught
from pipeline.findings.before_training import audit_data
from pipeline.models.recipe import AnyRecipe
from pipeline.report.event_files import check_tensorboard
from pipeline.report.live_page import PAGE, LivePage
from pipeline.runtime import distributed
from pipeline.runtime.devices import choose_device
from pipeline.settings import Settings
from pipeline.training.asked import (
    asked_recipes,
    find_imagenet_weights,
    find_sources,
    is_left_to_us,
    print_idle_options,
    print_starts,
    repeated,
)
from pipeline.training.deadline import deadline, print_unused, trial_end
from pipeline.training.execution import train_model, train_side_by_side
from pipeline.training.opening import decoded, print_corrections, read_competition
from pipeline.training.planning import Plan, make_plan, workload_of
from pipeline.training.portfolio import is_small, settle_portfolio
from pipeline.training.sessions import StageClock, record_session
from pipeline.training.symmetries import settle_symmetries
from pipeline.training.trainer import Trainer
from pipeline.training.turned_examples import settle_by_examples


@distributed.distributed_main
def main(settings: Settings) -> None:
    if settings.tensorboard:
        check_tensorboard()
    command, stages = retyped(settings), StageClock("start", settings.begun)
    settings, recorded = repeated(settings)
    device = choose_device(settings.device)
    recipes = [model.recipe for model in recorded.models] if recorded else asked_recipes(settings, device)
    print_idle_options(recipes, settings)
    find_imagenet_weights(recipes, settings)
    if not is_left_to_us(settings):
        print_starts(recipes, settings)
    stages.begin("tables")
    competition = read_competition(settings, recorded.symmetries if recorded else None)
    if recorded and recorded.competition != competition.name:
        names = f"{printable(recorded.competition)}, not for {printable(competition.name)}"
        print(f"warning: {settings.plan} was made for {names}")
    find_sources(recipes, settings, competition)
    stages.begin("decoding images")
    folder = settings.runs_folder(competition.name)
    with LivePage(folder / PAGE, settings, competition, command, stages) as page:
        train_all(recipes, settings, competition, recorded, device, page)
    if distributed.is_main():
        record_session(folder, command, stages.seconds(), settings.seed, settings.budget)
        print(f"next: {typed('predict', settings)}")


def train_all(
    recipes: list[AnyRecipe],
    settings: Settings,
    competition: Competition,
    recorded: Plan | None,
    device: torch.device,
    page: LivePage,
) -> None:
    """Read the images, plan the models unless they are ``recorded``, train them, and print their scores."""
    stages = page.stages
    begun = time.monotonic()
    with distributed.main_first():
        training_data = decoded(competition, settings, recipes, device, recorded.sizes if recorded else None)
    if distributed.is_main():
        stages.begin("audit of the data")
        audit_data(competition, training_data, settings, time.monotonic() - begun)
    stages.begin("trial of flips and rotations")
    competition = distributed.from_main(lambda: with_symmetries(competition, recipes, training_data, settings, device))
    stages.begin("choice of models")
    if is_left_to_us(settings):
        recipes, training_data = chosen(recipes, settings, competition, training_data, device)
    print_corrections(training_data, settings)
    stages.begin("answers of earlier models")
    training_data = taught(training_data, competition, settings, device)
    stages.begin("plan")
    plan = recorded or distributed.from_main(lambda: plan_models(recipes, settings, competition, training_data))
    end = distributed.on_own_clock(deadline(settings))
    trainer = Trainer(settings, device, competition, training_data, end)
    page.show(plan, trainer)
    if trainer.has_ranks_for(plan):
        stages.begin("all models")
        train_side_by_side(trainer, plan)
    else:
        for model in plan.models:
            stages.begin(model.name)
            plan = train_model(trainer, model, plan)
            page.show(plan, trainer)
    stages.begin("scores")
    if distributed.is_main():
        print_scores(trainer)
        print_unused(plan, settings)


def with_symmetries(
    competition: Competition,
    recipes: list[AnyRecipe],
    training_data: TrainingData,
    settings: Settings,
    device: torch.device,
) -> Competition:
    """The competition with the flips and rotations that preserve the class, if the recipes need them."""
    if is_left_to_us(settings) and is_small(competition):
        return settle_by_examples(competition, training_data, settings, device, trial_end(settings))
    return settle_symmetries(competition, recipes, training_data, settings, device, trial_end(settings))


def chosen(
    recipes: list[AnyRecipe],
    settings: Settings,
    competition: Competition,
    training_data: TrainingData,
    device: torch.device,
) -> tuple[list[AnyRecipe], TrainingData]:
    """The recipes of the portfolio, and the images in as many folds as it has."""
    portfolio = distributed.from_main(
        lambda: settle_portfolio(recipes, competition, training_data, settings, device, deadline(settings))
    )
    if portfolio.told:
        print(portfolio.told)
    print_starts(list(portfolio.recipes), settings)
    if portfolio.folds == len(training_data.splits):
        return list(portfolio.recipes), training_data
    return list(portfolio.recipes), training_data.in_folds(portfolio.folds)


def plan_models(
    recipes: list[AnyRecipe], settings: Settings, competition: Competition, training_data: TrainingData
) -> Plan:
    end = deadline(settings)
    seconds = None if end is None else end - time.monotonic()
    return make_plan(
        recipes, settings, competition, workload_of(competition, training_data), seconds, training_data.sizes
    )
