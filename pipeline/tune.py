"""Search for better settings of a recipe: trials -> the best one, written as a new recipe.

python pipeline/tune.py --model RECIPE [--competition NAME|FOLDER|ZIP] [--trials N] [--budget 30m] ...

Each trial trains as train.py does, but with other values (tuning/search_space.py). It runs for its share of the budget,
or for --epochs. The same command continues an interrupted study. Run in another process, or on another machine with the
same --storage, it joins the study. The best recipe is written to ``DIR/recipes/`` (DIR: --work), where
``train.py --models RECIPE-tuned`` finds it.
"""

import re
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.tune()

from optuna import Study
from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from competition.errors import UserError, first_few
from pipeline.data.training_data import open_training_data
from pipeline.models.recipe import NAME, RECIPES, AnyRecipe, choose_recipes, fingerprint, write_recipe
from pipeline.runtime.devices import choose_device
from pipeline.settings import BEGUN, Settings
from pipeline.train import find_imagenet_weights, find_sources, read_competition
from pipeline.training.planning import clock, workload_of
from pipeline.training.scores import text_table
from pipeline.training.symmetries import settle_symmetries
from pipeline.training.trainer import Trainer
from pipeline.tuning.objective import Objective
from pipeline.tuning.search_space import SearchSpace
from pipeline.tuning.study import OWN, finished, importances, open_storage, open_study, run_trials, value_of

TRIALS_SHARE = 0.9  # of the budget; the rest is for the preparations before the first trial
SYMMETRIES_SHARE = 0.08  # of the budget, by which the trial of flips and rotations has ended
CLOSING_SECONDS = 3.0  # for the table and the recipe after the last trial
SHOWN = 5  # trials in the table
REMARK = "written by pipeline/tune.py"


def main(settings: Settings) -> None:
    recipe = choose_recipe(settings)
    space = search_space(recipe, settings)
    target = free_place(settings)
    storage = settings.storage and open_storage(settings.storage)
    device = choose_device(settings.device)
    find_imagenet_weights([recipe], settings)
    competition = read_competition(settings)
    find_sources([recipe], settings, competition)
    training_data = open_training_data(competition, settings)
    competition = settle_symmetries(competition, [recipe], training_data, settings, device, trial_end(settings))
    objective = Objective(space, Trainer(settings, device, competition, training_data, None), trial_seconds(settings))
    study = begin_study(recipe, objective, storage or journal(objective.trainer, recipe))
    try:
        run_trials(study, objective, settings.trials, settings.seed, lambda: has_time(settings))
    finally:  # also after Ctrl-C: finished trials count
        conclude(study, recipe, objective, target)
    if not finished(study):
        raise UserError("the budget ended before a trial was finished; give more time with --budget")


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


def free_place(settings: Settings) -> Path:
    """The path of the tuned recipe, in the work folder. Raises UserError if another recipe has its name."""
    if not re.fullmatch(NAME, settings.name or ""):
        raise UserError(f"--name {settings.name}: a recipe's name has letters, digits, dots and dashes; give another")
    if (RECIPES / f"{settings.name}.toml").exists():
        raise UserError(f"--name {settings.name}: a built-in recipe has this name; give another name")
    path = settings.recipes_folder / f"{settings.name}.toml"
    if path.exists() and not path.read_text(encoding="utf-8").startswith(f"# {REMARK}"):
        raise UserError(f"--name {settings.name}: {path} was not written by tune.py; give another name")
    return path


def trial_seconds(settings: Settings) -> float | None:
    """The seconds of one trial; None: no limit. All trials of all processes get the same time."""
    return None if settings.budget is None else TRIALS_SHARE * settings.budget / settings.trials


def trial_end(settings: Settings) -> float | None:
    """When the trial of flips and rotations must end, on the clock of ``time.monotonic``; None: no limit."""
    if settings.budget is None:
        return None
    return max(time.monotonic(), BEGUN + SYMMETRIES_SHARE * settings.budget)


def has_time(settings: Settings) -> bool:
    """Whether a whole trial fits into the rest of the budget."""
    if settings.budget is None:
        return True
    return time.monotonic() + (trial_seconds(settings) or 0.0) <= BEGUN + settings.budget - CLOSING_SECONDS


def journal(trainer: Trainer, recipe: AnyRecipe) -> BaseStorage:
    """The storage of a study without --storage: a journal file in the competition's runs folder."""
    path = trainer.folder / "tuning" / f"{recipe.name}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    return open_storage(str(path))


def begin_study(recipe: AnyRecipe, objective: Objective, storage: BaseStorage) -> Study:
    """Start the study of this search, or join it if it exists.

    Its name has a hash of everything that must be equal for the trials to be comparable.
    """
    trainer, space, settings = objective.trainer, objective.space, objective.trainer.settings
    data = trainer.training_data
    key = fingerprint(
        recipe.model_dump(),
        {place: repr(each) for place, each in space.distributions.items()},
        [data.split.ids, data.labels.tolist(), data.images.shape],
        [settings.seed, settings.limit, settings.epochs, objective.seconds],
        objective.metric.name,
    )
    study = open_study(storage, f"{trainer.competition.name}-{recipe.name}-{key}", objective.pruner, space.own)
    objective.settle_images(study, workload_of(trainer.competition, trainer.training_data))
    print(beginning(study, objective))
    return study


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


def conclude(study: Study, recipe: AnyRecipe, objective: Objective, target: Path) -> None:
    """Print the best trials and write the best one as a recipe."""
    if not (trials := finished(study)):
        return
    pruned = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    print(f"\n{len(trials)} trials finished, {pruned} ended early because half of the others were better at that point")
    print(trials_table(trials[:SHOWN], importances(study), objective))
    images = len(objective.trainer.training_data.validated)
    print(f"these scores are optimistic: the best trial was chosen on the same {images:,} validation images")
    if OWN in trials[0].user_attrs:
        print(f"no trial was better than {recipe.name}'s own values")
    competition, trials_in_all = objective.trainer.competition.name, len(trials) + pruned
    value = f"{objective.metric.title} {objective.metric.rank(value_of(trials[0])):.4f} on validation"
    summary = f"{recipe.name} tuned on {competition}: the best of {trials_in_all} trials, {value}"
    changes = {"name": target.stem, "summary": summary, "reported": None}
    write_recipe(objective.space.recipe_with(trials[0].params).model_copy(update=changes), target, REMARK)
    print(f"wrote {target}; train it with train.py --models {target.stem} and the same --work")


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
