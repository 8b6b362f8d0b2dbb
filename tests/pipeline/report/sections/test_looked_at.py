from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from competition.task import Task
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.neural.network import NeuralNetwork
from pipeline.models.recipe import RECIPES, load_recipe
from pipeline.report.context import ReportContext
from pipeline.report.looked_at import lookers, overlaid
from pipeline.report.mistakes import Answer
from pipeline.report.plane import last_layer
from pipeline.report.sections import looked_at
from tests.pipeline.report.contexts import made_context, made_run


def with_network(folder: Path, kind: str, metric: str, network: dict | None = None) -> ReportContext:
    """A context whose blend is a network that has learned nothing."""
    context = made_context(folder, kind, metric=metric, images=20)
    task = context.competition.task
    recipe = load_recipe(RECIPES / "sprint.toml")
    if network:
        recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update=network), "tiers": ()})
    model = NeuralNetwork(recipe, task.choices, folder, targets=task.target_count)
    model.input_size, model.normalisation = (16, 16), Normalisation((127.5,) * 3, (127.5,) * 3)
    model.network = model._build_network()
    (folder / "runs" / "network").mkdir(parents=True)
    model.save(folder / "runs" / "network")
    one = context.validated["one"]
    run = made_run("network", "sprint", task, one.probabilities, context.validation.known_labels, context.metric)
    run = replace(run, plan=replace(run.plan, recipe=recipe.model_copy(update={"name": "network"})))
    blend = replace(context.blend, powers={"network": 1.0}, gains={"network": 0.0})
    return replace(context, runs={"network": run}, validated={"network": one}, blend=blend)


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("multiclass", "accuracy"), ("multilabel", "f1-samples"), ("multioutput", "accuracy"), ("continuous", "rmse")],
)
def test_mistakes_are_shown_with_what_the_network_looked_at(shown, tmp_path, kind, metric):
    context = with_network(tmp_path, kind, metric)
    html = shown(looked_at.section, context, is_drawn=kind == "multiclass")
    assert "<code>network</code>" in html and "Heat maps of what network looked at in mistakes: val-" in html


def test_without_a_network_nothing_is_shown(shown, tmp_path):
    assert shown(looked_at.section, made_context(tmp_path, "multiclass", images=20)) == ""


def test_a_damaged_network_is_left_out_with_a_warning(shown, tmp_path, capsys):
    context = with_network(tmp_path, "multiclass", "accuracy")
    (tmp_path / "runs" / "network" / "model.safetensors").write_bytes(b"damaged")
    assert shown(looked_at.section, context) == ""
    assert "model.safetensors: damaged; the report leaves out what it shows" in capsys.readouterr().out


def test_the_last_layer_of_a_network_gives_features(tmp_path):
    (looker,) = lookers(with_network(tmp_path, "multiclass", "accuracy"))
    images = np.zeros((70, 16, 16, 3), np.uint8)
    features = last_layer(looker, images)
    assert features.shape == (70, looker.model.network.head.in_features)
    assert not looker.model.network.head._forward_pre_hooks


def test_heat_is_laid_over_a_grey_picture():
    image = np.full((10, 20, 3), (255, 0, 0), np.uint8)
    heat = np.zeros((10, 20), np.float32)
    heat[:, 10:] = 1
    tile = overlaid(image, heat, 40)
    assert (tile[:10] == 255).all() and (tile[30:] == 255).all()  # white above and below
    cold, hot = tile[20, 5].astype(int), tile[20, 35].astype(int)
    assert cold[0] == cold[1] == cold[2] == 85
    assert hot[0] > cold[0] + 50 and hot[0] > hot[2] + 40  # the warmest colour is a light yellow


def test_what_spoke_for_a_class_is_its_output():
    said, truth = looked_at.heat_weights(Task(("a", "b", "c")), Answer(0, 0, "", choices=(2, 0)), np.ones(3) / 3)
    assert said.tolist() == [0, 0, 1] and truth.tolist() == [1, 0, 0]


def test_what_spoke_for_a_label_is_its_yes():
    task = Task(("moss", "rust"), "multilabel")
    said, truth = looked_at.heat_weights(task, Answer(0, 1, "", choices=(1, 0)), np.ones(4) / 2)
    assert said.tolist() == [0, 0, 0, 1] and truth.tolist() == [0, 0, 1, 0]


def test_what_moves_a_number_up_are_the_outputs_above_it():
    task = Task(("x",), "continuous", intervals=((0.0, 1.0, 2.0),))
    up, down = looked_at.heat_weights(task, Answer(0, 0, ""), np.array([0.25, 0.5, 0.25]))
    assert up.tolist() == [-0.25, 0, 0.25] and (down == -up).all()
