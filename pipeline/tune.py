"""Search for better settings of a recipe: trials -> the best one, written as a new recipe.

python pipeline/tune.py --model RECIPE [--competition NAME|FOLDER|ZIP] [--trials N] [--budget 30m] ...

Each trial trains as train.py does, but with other values (tuning/search_space.py). It runs for its share of the budget,
or for --epochs. The same command continues an interrupted study; with more --trials it adds trials of the same length.
Run in another process, or on another machine with the same --storage, it joins the study. The best recipe is written to
``DIR/recipes/`` (DIR: --work), where ``train.py --models RECIPE-tuned-COMPETITION`` finds it. A tuned recipe is only
replaced by one that the same study finds later; another study's gets a number.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.tune()

from optuna import Study
from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from competition.console import print_result
from competition.errors import UserError, first_few
from pipeline.data.training_data import open_training_data
from pipeline.models.networks.pretrained import imagenet_networks
from pipeline.models.recipe import AnyRecipe, choose_recipes, fingerprint
from pipeline.runtime.devices import choose_device
from pipeline.settings import Settings
from pipeline.training.asked import find_imagenet_weights, find_sources, print_idle_options
from pipeline.training.opening import read_competition
from pipeline.training.planning import clock, workload_of
from pipeline.training.scores import text_table
from pipeline.training.symmetries import settle_symmetries
from pipeline.training.trainer import Trainer
from pipeline.tuning.objective import Objective
from pipeline.tuning.search_space import SearchSpace
from pipeline.tuning.study import (
    OWN,
    agreed,
    database_errors,
    finished,
    importances,
    last_fault,
    open_storage,
    open_study,
    run_trials,
    value_of,
)
from pipeline.tuning.tuned import TunedRecipes, check_name, check_writable

TRIALS_SHARE = 0.9  # of the budget; the rest is for the preparations before the first trial
SYMMETRIES_SHARE = 0.08  # of the budget, by which the trial of flips and rotations has ended
CLOSING_SECONDS = 3.0  # for the table and the recipe after the last trial
SHOWN = 5  # trials in the table
NO_TRIAL = "the budget ended before a trial was finished; give more time with --budget"
SECONDS = "seconds"  # attribute of a study: how long each of its trials lasts


def main(settings: Settings) -> str:
    """Returns the name of the recipe that was written."""
    recipe = choose_recipe(settings)
    space = search_space(recipe, settings)
    if settings.name is not None:
        check_name(settings.name)
    storage = settings.storage and open_storage(settings.storage)
    device = choose_device(settings.device)
    print_idle_options([recipe], settings)
    find_imagenet_weights([recipe], settings)
    competition = read_competition(settings)
    check_writable(settings.recipes_folder)
    find_sources([recipe], settings, competition)
    one_trial = replace(settings, budget=trial_seconds(settings))
    training_data = open_training_data(competition, one_trial, device.type, bool(imagenet_networks(recipe)))
    competition = settle_symmetries(competition, [recipe], training_data, settings, device, trial_end(settings))
    objective = Objective(space, Trainer(settings, device, competition, training_data, None), trial_seconds(settings))
    with database_errors(settings.storage):
        return search(recipe, objective, storage or journal(objective.trainer, recipe))


def search(recipe: AnyRecipe, objective: Objective, storage: BaseStorage) -> str:
    """Run the study's trials and write the best as a recipe, also after Ctrl-C. Returns the recipe's name.

    Raises UserError if no trial was finished.
    """
    settings, key = objective.trainer.settings, study_key(recipe, objective)
    tuned = TunedRecipes(settings.recipes_folder, objective.trainer.competition.name, key)
    if settings.name is not None:
        tuned.check_free(settings.name)
    study, objective = begin_study(f"{tuned.competition}-{recipe.name}-{key}", objective, storage)
    try:
        run_trials(study, objective, settings.trials, settings.seed, lambda: has_time(settings, objective))
    finally:  # also after Ctrl-C: finished trials count
        name = conclude(study, recipe, objective, tuned)
    if name is None:
        fault = last_fault(study)
        raise UserError(f"no trial was finished; the last one failed: {fault}" if fault else NO_TRIAL)
    return name


def choose_recipe(settings: Settings) -> AnyRecipe:
    recipe, *more = choose_recipes(settings.models, settings.recipes_folder)
    names = [recipe.name, *(each.name for each in more)]
    if more:
        raise UserError(f"--model {settings.models[0]}: matches several recipes; name one of {first_few(names)}")
    return recipe


def search_space(recipe: AnyRecipe, settings: Settings) -> SearchSpace:
    space = SearchSpace.of(recipe)
    if settings.trials <= len(space.own):
        raise UserError(
            f"--trials {settings.trials}: the first {len(space.own)} trials use the recipe's own values; "
            f"give {len(space.own) + 1} or more"
        )
    return space


def trial_seconds(settings: Settings) -> float | None:
    """The seconds of one trial if the study begins now; None: no limit."""
    return None if settings.budget is None else TRIALS_SHARE * settings.budget / settings.trials


def trial_end(settings: Settings) -> float | None:
    """When the trial of flips and rotations must end, on the clock of ``time.monotonic``; None: no limit."""
    if settings.budget is None:
        return None
    return max(time.monotonic(), settings.begun + SYMMETRIES_SHARE * settings.budget)


def has_time(settings: Settings, objective: Objective) -> bool:
    """Whether a whole trial fits into the rest of the budget."""
    if settings.budget is None:
        return True
    return time.monotonic() + (objective.seconds or 0.0) <= settings.begun + settings.budget - CLOSING_SECONDS


def journal(trainer: Trainer, recipe: AnyRecipe) -> BaseStorage:
    """The storage of a study without --storage: a journal in the competition's runs folder."""
    path = trainer.folder / "tuning" / f"{recipe.name}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    return open_storage(str(path))


def study_key(recipe: AnyRecipe, objective: Objective) -> str:
    """A hash of everything that must be equal for trials to be comparable."""
    settings = objective.trainer.settings
    return fingerprint(
        objective.trainer.facts(recipe),
        {place: repr(each) for place, each in objective.space.distributions.items()},
        [settings.seed, settings.limit, settings.epochs, settings.budget],
    )


def begin_study(name: str, objective: Objective, storage: BaseStorage) -> tuple[Study, Objective]:
    """Start the study of that name, or join it if it exists. Returns it and the objective with its trials' seconds."""
    study = open_study(storage, name, objective.pruner, objective.space.own)
    objective = replace(objective, seconds=agreed(study, SECONDS, lambda: objective.seconds))
    objective.settle_images(study, workload_of(objective.trainer.competition, objective.trainer.training_data))
    print(beginning(study, objective))
    return study, objective


def beginning(study: Study, objective: Objective) -> str:
    """The text to print before the first trial: the number of trials and the values to search."""
    known, trials = len(finished(study)), objective.trainer.settings.trials
    lines = [f"{trials} trials{length(objective)}{f', {known} of them already finished' if known else ''}, over"]
    for place, each in objective.space.distributions.items():
        tried = each.choices if isinstance(each, CategoricalDistribution) else (each.low, "...", each.high)
        lines.append(f"  {place:<28} {' '.join(map(shown, tried))}")
    return "\n".join(lines)


def length(objective: Objective) -> str:
    if objective.seconds is not None:
        return f" of {clock(objective.seconds)} each"
    return f" of {objective.steps} epochs each" if objective.space.recipe.is_network else ""


def conclude(study: Study, recipe: AnyRecipe, objective: Objective, tuned: TunedRecipes) -> str | None:
    """Print the best trials and write the best one as a recipe. Returns its name; None if no trial was finished."""
    if not (trials := finished(study)):
        return None
    pruned = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    print(f"\n{len(trials)} trials finished, {pruned} ended early because half of the others were better at that point")
    print(trials_table(trials[:SHOWN], importances(study), objective))
    images = len(objective.trainer.training_data.validated)
    print(f"these scores are optimistic: the best trial was chosen on the same {images:,} validation images")
    if OWN in trials[0].user_attrs:
        print(f"no trial was better than {recipe.name}'s own values")
    best, trials_in_all = value_of(trials[0]), len(trials) + pruned
    value = f"{objective.metric.title} {objective.metric.rank(best):.4f} on validation"
    summary = f"{recipe.name} tuned on {tuned.competition}: the best of {trials_in_all} trials, {value}"
    found = objective.space.recipe_with(trials[0].params).model_copy(update={"summary": summary, "reported": None})
    name = objective.trainer.settings.name or tuned.default_name(recipe.name)
    path = tuned.write(found, name, trials_in_all, best)
    print_result(f"wrote {path}; train it with train.py --models {path.stem} and the same --work")
    return path.stem


def trials_table(trials: list[FrozenTrial], importance: dict[str, float], objective: Objective) -> str:
    """A table of the trials, with one column for each trial and one row for each value searched over."""
    metric = objective.metric  # a trial's value is a rank; ranking it again gives the metric's value
    header = ["", *(f"trial {trial.number}{' (own)' * (OWN in trial.user_attrs)}" for trial in trials), "importance"]
    rows = [
        [metric.title, *(f"{metric.rank(value_of(trial)):.4f}" for trial in trials), ""],
        ["seconds", *(f"{trial.duration.total_seconds() if trial.duration else 0:.0f}" for trial in trials), ""],
    ]
    for place in objective.space.distributions:
        rows.append([place, *(shown(trial.params[place]) for trial in trials), shown(importance.get(place, ""))])
    return text_table(header, rows)


def shown(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
