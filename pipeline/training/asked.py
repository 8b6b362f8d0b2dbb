"""What the options ask for: recipes, and the weights and networks that they start from; before anything slow begins."""

import torch

from competition.spec import Competition
from pipeline.models.networks.pretrained import imagenet_networks, recipe_weights
from pipeline.models.networks.weights import check_given, described
from pipeline.models.recipe import AnyRecipe, choose_recipes
from pipeline.runtime import distributed
from pipeline.settings import Settings
from pipeline.training.planning import Plan
from pipeline.training.portfolio import candidates
from pipeline.training.runs import transfer_source


def repeated(settings: Settings) -> tuple[Settings, Plan | None]:
    """The settings to train with, and the plan of --plan (None without that option), which overrides them."""
    if settings.plan is None:
        return settings, None
    plan = Plan.read(settings.plan)
    return plan.applied_to(settings), plan


def asked_recipes(settings: Settings, device: torch.device) -> list[AnyRecipe]:
    return choose_recipes(settings.models or candidates(settings, device), settings.recipes_folder)


def is_left_to_us(settings: Settings) -> bool:
    """Whether the data, the device and the budget decide which models are trained, and in how many folds."""
    return not settings.models and settings.epochs is None and settings.plan is None


def print_idle_options(recipes: list[AnyRecipe], settings: Settings) -> None:
    """Say which options have no effect, as they are about networks and no recipe trains one."""
    if not any(recipe.is_network for recipe in recipes):
        options = {"--epochs": settings.epochs, "--compile": settings.compile, "--distil": settings.distil}
        for option, given in options.items():
            if given:
                print(f"{option} has no effect: no chosen recipe trains a network")


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


def find_sources(recipes: list[AnyRecipe], settings: Settings, competition: Competition) -> None:
    """Find the networks from other competitions that recipes start from. Raises UserError if one is missing."""
    for recipe in recipes:
        if recipe.transfer_from is not None:
            print(f"{recipe.name} starts from {transfer_source(recipe, settings.work / 'runs', competition.name).path}")
