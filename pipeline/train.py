"""Train models on a competition's images: tables -> image cache -> models -> validation scores.

python pipeline/train.py [--competition NAME|FOLDER|ZIP] [--models RECIPE ...] [--budget 10m] ...
"""

import math
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.train()


import numpy as np
import torch

from competition.console import print_result
from competition.errors import UserError
from competition.layouts import read_corrections, read_extra
from competition.sources import open_competition
from competition.spec import Competition, Symmetries
from competition.splits import limit_train
from competition.storage import sweep_all
from competition.wording import counted, printable
from pipeline.commands import retyped, typed
from pipeline.data.cache import open_cache
from pipeline.data.image_size import ImageSizes
from pipeline.data.training_data import Lesson, TrainingData, open_training_data
from pipeline.ensemble.comparable import comparable_groups
from pipeline.ensemble.teacher import find_teacher, lessons
from pipeline.findings.audit import audited
from pipeline.findings.finding import FOLDER
from pipeline.findings.pictures import Pictures
from pipeline.findings.single import UNREADABLE
from pipeline.models.base import NotTrained
from pipeline.models.networks.pretrained import imagenet_networks, recipe_weights
from pipeline.models.networks.weights import check_given, described
from pipeline.models.recipe import AnyRecipe, choose_recipes
from pipeline.report.event_files import check_tensorboard
from pipeline.report.live_page import PAGE, LivePage
from pipeline.runtime import distributed
from pipeline.runtime.devices import choose_device
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.settings import Settings
from pipeline.training.planning import ModelPlan, Plan, clock, make_plan, workload_of
from pipeline.training.portfolio import candidates, is_small, settle_portfolio
from pipeline.training.runs import leave_out, newest_run, ranked, run_folders, stored_runs, transfer_source
from pipeline.training.scores import scores_table, write_scores
from pipeline.training.sessions import StageClock, record_session
from pipeline.training.symmetries import settle_symmetries
from pipeline.training.trainer import Trainer
from pipeline.training.turned_examples import settle_by_examples

DECODING_SHARE = 0.8  # of the budget at most, so that there is time for a model
AUDIT_SHARE = 0.05  # of the budget, at most, for what may be wrong with the data
TEACHING_SHARE = 0.5  # of the time then left, at most, for the answers of earlier models
TRIAL_SHARE = 0.2  # of the time after decoding, at most, for the trial of flips and rotations
CLOSING_SECONDS = 2.0  # for the tables and files after the last model, and for the end of the process
CLOSING_SHARE = 0.6  # of the time that imports took, if that is more, as on a machine that others use
UNUSED_SHARE = 0.1  # of the budget; if more is left, a line says why
IMPORTED = time.monotonic()


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
    if settings.relabel is not None:
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


def repeated(settings: Settings) -> tuple[Settings, Plan | None]:
    """The settings to train with, and the plan of --plan (None without that option), which overrides them."""
    if settings.plan is None:
        return settings, None
    plan = Plan.read(settings.plan)
    return plan.applied_to(settings), plan


def asked_recipes(settings: Settings, device: torch.device) -> list[AnyRecipe]:
    return choose_recipes(settings.models or candidates(settings, device), settings.recipes_folder)


def audit_data(competition: Competition, training_data: TrainingData, settings: Settings, decoding: float) -> None:
    """Look for what is wrong with the images and labels, write it, and print what has a bearing on the answer.

    It takes AUDIT_SHARE of the budget at most. Nothing that is found changes the training.
    decoding: seconds that it took to open the labelled images.
    """
    share = math.inf if settings.budget is None else AUDIT_SHARE * settings.budget
    with time_limit(time.monotonic() + share):
        labelled = Pictures.labelled(competition, training_data.images.whole)
        test = test_pictures(competition, training_data, settings, share / 2, decoding)
        findings = audited(competition, labelled, test, settings.runs_folder(competition.name) / FOLDER)
    for finding in findings:
        if finding.told and finding.kind != UNREADABLE:  # of which there was a warning
            print(f"data: {finding.told}")


def test_pictures(
    competition: Competition, training_data: TrainingData, settings: Settings, seconds: float, decoding: float
) -> Pictures | None:
    """The test images, which predict.py will find decoded; None if decoding them takes longer than these seconds.

    decoding: seconds that it took to open the labelled images.
    """
    if decoding * len(competition.test) > seconds * training_data.labelled:
        return None
    sizes = training_data.sizes
    try:
        with time_limit(time.monotonic() + seconds):
            images = open_cache(
                competition.test.paths, settings.cache_folder, sizes.cached, fit=sizes.fit, most=settings.cache_size
            )
    except OutOfTime:
        return None
    return Pictures.test(competition, images)


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


def is_left_to_us(settings: Settings) -> bool:
    """Whether the data, the device and the budget decide which models are trained, and in how many folds."""
    return not settings.models and settings.epochs is None and settings.plan is None


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


def find_imagenet_weights(recipes: list[AnyRecipe], settings: Settings) -> None:
    """Find or download the ImageNet weights of all recipes, before anything slow begins.

    Raises UserError if weights are missing, or if those of --weights fit no recipe.
    """
    with distributed.main_first():
        if settings.weights is not None:
            check_given([network for recipe in recipes for network in imagenet_networks(recipe)], settings.weights)
        for recipe in recipes:
            recipe_weights(recipe, settings.weights)


def print_starts(recipes: list[AnyRecipe], settings: Settings) -> None:
    """Print which weights the recipes start from."""
    for recipe in recipes:
        for path in recipe_weights(recipe, settings.weights):
            print(f"{recipe.name} starts from {described(path)}")


def print_idle_options(recipes: list[AnyRecipe], settings: Settings) -> None:
    """Say which options have no effect, as they are about networks and no recipe trains one."""
    if not any(recipe.is_network for recipe in recipes):
        options = {"--epochs": settings.epochs, "--compile": settings.compile, "--distil": settings.distil}
        for option, given in options.items():
            if given:
                print(f"{option} has no effect: no chosen recipe trains a network")


def find_sources(recipes: list[AnyRecipe], settings: Settings, competition: Competition) -> None:
    """Find the networks from other competitions that recipes start from. Raises UserError if one is missing."""
    for recipe in recipes:
        if recipe.transfer_from is not None:
            print(f"{recipe.name} starts from {transfer_source(recipe, settings.work / 'runs', competition.name).path}")


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


def trial_end(settings: Settings) -> float | None:
    """When the trial of flips and rotations must end, on the clock of ``time.monotonic``; None: no limit.

    That is now, so that there is no trial, if its share is less than imports took: it would hardly begin to train.
    """
    now, end = time.monotonic(), deadline(settings)
    if end is None:
        return None
    share = TRIAL_SHARE * (end - now)
    return now + share if share > IMPORTED - settings.begun else now


def train_model(trainer: Trainer, model: ModelPlan, plan: Plan) -> Plan:
    """Train one model, and write the plan with what was done; see ``with_result``."""
    plan = with_result(plan, model, trained_or_not(trainer, model, plan))
    if distributed.is_main():
        plan.write(trainer.folder / "plan.json")
    return plan


def train_side_by_side(trainer: Trainer, plan: Plan) -> None:
    """Share the models out to the ranks, and write the plan with what was done; see ``with_result``."""
    shares = plan.shares(distributed.world_size())

    def train_share(number: int) -> list[ModelPlan | NotTrained]:
        own = replace(plan, models=shares[number])
        return [trained_or_not(trainer, model, own) for model in own.models]

    results = distributed.side_by_side(train_share, len(shares))
    for model, result in zip(chain.from_iterable(shares), chain.from_iterable(results), strict=True):
        plan = with_result(plan, model, result)
    if distributed.is_main():
        plan.write(trainer.folder / "plan.json")


def trained_or_not(trainer: Trainer, model: ModelPlan, plan: Plan) -> ModelPlan | NotTrained:
    try:
        return trainer.train(model, plan)
    except NotTrained as error:
        return error


def with_result(plan: Plan, model: ModelPlan, result: ModelPlan | NotTrained) -> Plan:
    """The plan with what was done. A model that could not be trained is left out of it.

    Raises NotTrained if there is no other model.
    """
    if not isinstance(result, NotTrained):
        return plan.with_model(result)
    if plan.models == (model,):
        raise result
    print(f"warning: left out: {result}")
    return plan.without(model, str(result))


def deadline(settings: Settings) -> float | None:
    """When training must end, in seconds on the clock of ``time.monotonic``; None: no limit."""
    if settings.budget is None:
        return None
    return settings.begun + settings.budget - max(CLOSING_SECONDS, CLOSING_SHARE * (IMPORTED - settings.begun))


def plan_models(
    recipes: list[AnyRecipe], settings: Settings, competition: Competition, training_data: TrainingData
) -> Plan:
    end = deadline(settings)
    seconds = None if end is None else end - time.monotonic()
    return make_plan(
        recipes, settings, competition, workload_of(competition, training_data), seconds, training_data.sizes
    )


def print_unused(plan: Plan, settings: Settings) -> None:
    """Say so if much of a budget is left, as every network has been trained for all epochs of its recipe."""
    end = deadline(settings)
    if (
        end is not None
        and not plan.left_out
        and (left := end - time.monotonic()) > UNUSED_SHARE * (settings.budget or 0.0)
    ):
        print(f"{clock(left)} of the budget is left: all models are trained in full; more time for them would not help")


def print_scores(trainer: Trainer) -> None:
    """Write all runs to scores.csv, and print those that can be compared with the newest run, the best first."""
    folder, metric = trainer.folder, trainer.competition.metric
    runs, reasons = stored_runs(run_folders(folder), check_models=False)
    write_scores(folder / "scores.csv", ranked(runs.values(), metric), metric)
    faults = {name: stored.data.change_in(trainer.training_data.record) for name, stored in runs.items()}
    reasons |= {name: fault for name, fault in faults.items() if fault is not None}
    validated = {name: stored.validated.ids for name, stored in runs.items() if name not in reasons}
    newest = newest_run(runs[name].run for name in validated).name
    group = max(
        (each for each in comparable_groups(validated) if newest in each.names), key=lambda each: len(each.names)
    )
    reasons |= dict.fromkeys(validated.keys() - group.names, "they were validated on other images")
    print()
    print_result(scores_table(ranked((runs[name] for name in group.names), metric, group.ids), metric))
    leave_out(reasons)
    is_same = all(len(validated[name]) == len(group.ids) for name in group.names)
    images = "the validation images" if is_same else f"the {len(group.ids):,} validation images that all of these share"
    print(f"scores on {images}, written to {folder / 'scores.csv'}")
