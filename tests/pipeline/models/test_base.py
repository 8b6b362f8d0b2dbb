"""The interface of models: every model that a recipe builds is used in the same way."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from pipeline.models.base import CPU, Model, ModelContext
from pipeline.models.classical.features import OnFeatures
from pipeline.models.classical.registry import CLASSIFIERS
from pipeline.models.neural.grid import NetworkGrid
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.neural.seed_ensemble import SeedEnsemble
from pipeline.models.recipe import RECIPES, AnyRecipe, ClassicalRecipe, Named, load_recipe
from tests.pipeline.models.small import CLASSES, SAMPLE, sprint

KINDS = [*CLASSIFIERS.values(), NeuralNetwork, SeedEnsemble, NetworkGrid, OnFeatures]
DESCRIPTORS = Named(name="descriptors", count=8)
LOGREG = ClassicalRecipe(
    name="logreg", summary="", kind="classical", classifier=Named(name="logreg", grid=[{"C": 0.1}])
)
MODELS: dict[str, AnyRecipe] = {
    "a classifier": load_recipe(RECIPES / "dhc-gaussian-nb.toml"),
    "a classifier on features": LOGREG.model_copy(update={"features": DESCRIPTORS}),
    "a network": sprint(),
    "a network on features": load_recipe(RECIPES / "fashion-feature-mlp.toml").model_copy(
        update={"features": DESCRIPTORS}
    ),
    "a grid of networks": sprint(grid=[{"batch_size": 16}, {"batch_size": 32}]),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["predict_proba", "save", "load"])
def test_the_arguments_are_the_same_for_every_kind(kind, name):
    ours, theirs = (inspect.signature(getattr(each, name)).parameters.values() for each in (Model, kind))
    assert [(each.name, each.kind, each.default) for each in ours] == [
        (each.name, each.kind, each.default) for each in theirs
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_all_that_the_contract_names(kind):
    promised = {name for name in vars(Model) if not name.startswith("_")}
    assert promised == {"fit", "predict_proba", "save", "load", "parameters", "tier", "trained"}
    assert promised <= set(dir(kind)) | set(vars(kind)) | {"tier", "trained"}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[AnyRecipe, Model, Path]:
    """A recipe, its fitted model and the folder where the model is saved."""
    recipe, folder = MODELS[request.param], tmp_path_factory.mktemp("model")
    context = ModelContext(classes=CLASSES, folder=folder, plan=NetworkPlan(epochs=1))
    model = recipe.build(context).fit(*SAMPLE)
    model.save(folder)
    return recipe, model, folder


def test_a_model_gives_a_float32_probability_for_each_image_and_class(fitted):
    _, model, _ = fitted
    probabilities = model.predict_proba(SAMPLE[2])
    assert (probabilities.shape, probabilities.dtype) == ((len(SAMPLE[2]), CLASSES), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-4)


def test_a_recipe_loads_what_its_model_has_saved(fitted):
    recipe, model, folder = fitted
    loaded = recipe.load(folder, CPU)
    for views in (True, False):
        expected = model.predict_proba(SAMPLE[2], views, title="on test")
        np.testing.assert_array_equal(loaded.predict_proba(SAMPLE[2], views, title="on test"), expected)
    assert loaded.parameters == model.parameters > 0


def test_a_model_tells_how_it_was_trained(fitted):
    recipe, model, _ = fitted
    assert model.tier is None
    assert (len(model.trained) > 0) == recipe.is_network
