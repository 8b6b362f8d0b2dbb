"""Search spaces: what of a recipe is searched over, how far around its own values, and the recipe that comes out."""

from fnmatch import fnmatchcase

import pytest
from optuna import create_study
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from competition.errors import UserError
from pipeline.data.augment import build_augmentation
from pipeline.models.recipe import RECIPES, AnyRecipe, ClassicalRecipe, NeuralRecipe, load_recipe, recipe_names
from pipeline.tuning import search_space
from pipeline.tuning.search_space import SPACE, SearchSpace

NAIVE = {"dhc-gaussian-nb", "dhc-multinomial-nb", "dhc-bernoulli-nb"}
TUNABLE = sorted(set(recipe_names()) - NAIVE)


def recipe(name: str) -> AnyRecipe:
    return load_recipe(RECIPES / f"{name}.toml")


def network(**changes: object) -> NeuralRecipe:
    table = {
        "name": "small",
        "summary": "",
        "kind": "neural",
        "network": {"name": "cnn", "filters": [8, 8]},
        "epochs": 4,
        "batch_size": 32,
        "optimiser": {"name": "adam", "lr": 0.001},
        "schedule": {"name": "constant"},
    }
    return NeuralRecipe(**table | changes)


def ends(space: SearchSpace) -> list[dict]:
    """The values at the lower and at the upper end of everything that is searched over."""
    ranges = {
        place: each.choices if isinstance(each, CategoricalDistribution) else (each.low, each.high)
        for place, each in space.distributions.items()
    }
    return [{place: values[end] for place, values in ranges.items()} for end in (0, -1)]


@pytest.mark.parametrize("name", TUNABLE)
def test_the_own_values_of_a_recipe_can_be_tried_and_are_the_recipe_itself(name):
    space = SearchSpace.of(recipe(name))
    for values in space.own:
        assert values.keys() == space.distributions.keys()
        assert all(each._contains(each.to_internal_repr(values[place])) for place, each in space.distributions.items())
    assert space.recipe_with(space.own[0]) == space.recipe


@pytest.mark.parametrize("name", TUNABLE)
def test_whatever_is_tried_is_a_recipe_whose_images_can_be_augmented(name):
    space = SearchSpace.of(recipe(name))
    assert len({repr(space.recipe_with(values)) for values in ends(space)}) == 2
    for values in ends(space):
        changed = space.recipe_with(values)
        for step in changed.augment:
            assert callable(build_augmentation(step.name, step.arguments, "mirror"))


def test_every_row_of_the_table_is_for_a_recipe_that_is_there():
    labels = {
        label
        for name in recipe_names()
        for point in recipe(name).points
        for _, label, _ in search_space._leaves(point.model_dump(exclude={"name"}))
    }
    assert [pattern for pattern in SPACE if not any(fnmatchcase(label, pattern) for label in labels)] == []


@pytest.mark.parametrize("name", sorted(NAIVE))
def test_a_recipe_without_anything_to_search_over_is_refused(name):
    with pytest.raises(UserError, match=f"{name} has no value that can be tuned; choose another recipe"):
        SearchSpace.of(recipe(name))


def test_rates_are_searched_a_tenth_to_ten_times_on_a_logarithmic_scale():
    rate = SearchSpace.of(network()).distributions["optimiser.lr"]
    assert rate == FloatDistribution(0.0001, 0.01, log=True)


def test_a_value_of_zero_is_searched_upwards_on_a_linear_scale():
    distributions = SearchSpace.of(network()).distributions
    for place in ("optimiser.weight_decay", "label_smoothing"):
        assert distributions[place].low == 0 and not distributions[place].log


def test_a_batch_is_halved_or_doubled():
    assert SearchSpace.of(network()).distributions["batch_size"].choices == (16, 32, 64)


@pytest.mark.parametrize(
    ("optimiser", "searched"),
    [
        ("adam", {"lr", "weight_decay"}),
        ("rmsprop", {"lr", "weight_decay"}),
        ("sgd", {"lr", "weight_decay", "momentum"}),
        ("muon", {"lr", "weight_decay", "momentum", "sgd_lr"}),
    ],
)
def test_of_an_optimiser_only_what_it_uses_is_searched(optimiser, searched):
    space = SearchSpace.of(network(optimiser={"name": optimiser, "lr": 0.1}))
    assert {place.split(".")[1] for place in space.distributions if place.startswith("optimiser")} == searched


def test_momentum_stays_below_one():
    for own in (0.0, 0.6, 0.9, 0.99):
        space = SearchSpace.of(network(optimiser={"name": "sgd", "lr": 0.1, "momentum": own}))
        each = space.distributions["optimiser.momentum"]
        assert 0 <= each.low <= own < each.high < 1


def test_every_stage_has_rates_of_its_own():
    space = SearchSpace.of(recipe("fashion-resnet"))
    changed = space.recipe_with({"optimiser.lr": 0.5, "stages.0.optimiser.lr": 0.25})
    assert [stage.optimiser.lr for stage in changed.all_stages] == [0.5, 0.25]


def test_dropout_is_searched_where_a_recipe_has_it():
    assert "network.dense_dropout" in SearchSpace.of(recipe("cifar-cnn-v2")).distributions
    assert not any("dropout" in place for place in SearchSpace.of(recipe("cifar-cnn-base")).distributions)


def test_a_list_is_scaled_as_a_whole():
    space = SearchSpace.of(recipe("cifar-cnn-v3"))
    assert space.own[0]["network.conv_dropout"] == 0.5
    changed = space.recipe_with({"network.conv_dropout": 0.25})
    assert changed.network.arguments["conv_dropout"] == [0.1, 0.125, 0.15, 0.2, 0.25]


def test_an_interval_around_zero_stays_one_of_whole_degrees():
    space = SearchSpace.of(recipe("animals-cnn-regularised"))
    assert space.distributions["augment.1.rotate"] == IntDistribution(0, 40)
    assert space.recipe_with({"augment.1.rotate": 7}).augment[1].arguments["rotate"] == [-7, 7]


def test_a_list_of_zeros_has_nothing_to_scale():
    still = {"name": "Affine", "rotate": [0, 0]}
    assert "augment.0.rotate" not in SearchSpace.of(network(augment=[still])).distributions


def test_the_points_of_a_grid_come_first_and_the_search_takes_its_place():
    space = SearchSpace.of(recipe("cifar-cnn-v3-grid"))
    assert [values["optimiser.lr"] for values in space.own] == [1e-3, 5e-4, 1e-4, 1e-4]
    assert space.distributions["optimiser.lr"] == FloatDistribution(1e-5, 1e-2, log=True)
    assert space.recipe.grid == ()


@pytest.mark.parametrize(
    ("name", "place", "tried"),
    [
        ("dhc-svm", "classifier.grid.0.C", [3.0, 5.0, 3.0, 5.0]),
        ("dhc-svm", "classifier.grid.0.kernel", ["linear", "linear", "rbf", "rbf"]),
        ("fashion-feature-logreg", "classifier.grid.0.C", [0.01, 0.1, 1.0]),
        ("dhc-knn-metrics", "classifier.neighbours", [3, 5, 6, 9, 11]),
        ("fashion-feature-forest", "classifier.trees", [100]),
        ("fashion-feature-boosting", "classifier.iterations", [100]),
    ],
)
def test_a_classifier_is_tuned_one_point_at_a_time(name, place, tried):
    space = SearchSpace.of(recipe(name))
    assert [values[place] for values in space.own] == tried
    assert isinstance(space.recipe, ClassicalRecipe)
    assert all(len(space.recipe.classifier.arguments.get(key, [0])) == 1 for key in ("grid", "neighbours"))


def test_a_choice_of_one_is_none():
    assert "classifier.grid.0.kernel" not in SearchSpace.of(recipe("fashion-feature-svm")).distributions


def test_numbers_are_rounded_to_four_digits_and_the_recipe_stays_as_it_was():
    space = SearchSpace.of(network())
    assert space.recipe_with({"optimiser.lr": 0.00123456}).optimiser.lr == 0.001235
    assert space.recipe.optimiser.lr == 0.001


def test_a_trial_is_offered_a_value_of_every_place():
    space, study = SearchSpace.of(recipe("sprint")), create_study()
    study.enqueue_trial(space.own[0])
    assert space.suggest(study.ask()) == space.own[0]
    drawn = space.suggest(study.ask())
    assert drawn.keys() == space.distributions.keys()
    assert isinstance(space.recipe_with(drawn), NeuralRecipe)
