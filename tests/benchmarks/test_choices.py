"""The benchmark of sprint's choices: each variant takes back one of them, and a run of all ends with a table."""

from functools import partial

import pytest
import torch
from torch import nn

from benchmarks import choices
from benchmarks.choices import VARIANTS, recipe_of, table
from pipeline.commands import run_main
from pipeline.models.networks.sprint import Sprint
from pipeline.models.recipe import RECIPES, load_recipe
from tests.commands import call

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def sprint() -> Sprint:
    torch.manual_seed(0)
    return Sprint(96, width=8).eval()


def altered(name: str) -> Sprint:
    network = sprint()
    VARIANTS[name].network(network)
    return network


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.recipe])
def test_a_variant_of_the_recipe_differs_in_nothing_but_what_it_names(name):
    shipped = load_recipe(RECIPES / "sprint.toml")
    ours, theirs = shipped.model_dump(), recipe_of(VARIANTS[name]).model_dump()
    assert {key for key in ours if ours[key] != theirs[key]} == set(VARIANTS[name].recipe)


@pytest.mark.parametrize("name", ["as it ships", "norms that scale", "random first filters"])
def test_what_alters_the_start_alone_answers_like_sprint(name):
    assert torch.equal(altered(name)(IMAGES), sprint()(IMAGES))


@pytest.mark.parametrize("name", ["without connections", "a head as for ten classes"])
def test_what_alters_the_network_answers_otherwise(name):
    assert not torch.allclose(altered(name)(IMAGES), sprint()(IMAGES))


def test_random_first_filters_stay_random_and_learn():
    network = altered("random first filters")
    before = network.whiten.weight.clone()
    network.initialise_from(IMAGES)
    assert torch.equal(network.whiten.weight, before) and network.whiten.weight.requires_grad


def test_norms_that_scale_learn_their_scales():
    norms = [module for module in altered("norms that scale").modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 9 and all(norm.weight.requires_grad for norm in norms)


def test_a_choice_gains_what_is_lost_without_it():
    lines = table({"as it ships": 0.9, "without shifts": 0.85, "batches of 512": 0.91}).splitlines()
    assert [line.split()[-2:] for line in lines[-2:]] == [["0.8500", "+0.0500"], ["0.9100", "-0.0100"]]


@pytest.mark.slow
def test_every_variant_is_trained_and_in_the_table(make_competition, tmp_path):
    folder = make_competition(tmp_path / "insects", train=60, val=20)
    options = ("--competition", folder, "--width", 4, "--seconds", 1)
    done = call(partial(run_main, choices.main), *options)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    for name in VARIANTS:
        assert sum(line.startswith(f"{name}  ") for line in lines) == 2, name
