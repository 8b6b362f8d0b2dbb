"""The plan: it comes back as it was written, and shares out no more than there is."""

import json
import math
from dataclasses import replace

import pytest

from competition.errors import UserError
from competition.spec import Competition, Split
from competition.task import Task
from pipeline.command_lines import train_settings
from pipeline.data.image_size import ImageSizes
from pipeline.models.base import Workload
from pipeline.models.neural.time_budget import Segment
from pipeline.models.recipe import Tier, choose_recipes, fingerprint, recipe_names
from pipeline.training import planning
from pipeline.training.planning import (
    Fit,
    ModelPlan,
    Plan,
    clock,
    make_plan,
    products_a_second,
)

SMALL = Workload(train_images=200, validation_images=50, values=16 * 16 * 3, classes=4, folds=1)
HUGE = Workload(train_images=10**8, validation_images=1000, values=64 * 64 * 3, classes=10, folds=1)
CLASSICAL = ("dhc-gaussian-nb", "dhc-knn-sweep", "dhc-svm")
PORTFOLIO = (*CLASSICAL, "sprint")

NOTHING = Split("none", (), ())
CARS = Competition("cars", "Image", "Class", Task((0, 1)), NOTHING, NOTHING, NOTHING, (), symmetries="all")
SVM, SPRINT = choose_recipes(["dhc-svm", "sprint"])
FIT = Fit(Tier(size=0.5, width=16), (Segment(32, 10, 0.0, 1 / 3), Segment(64, 7, 1 / 3, 1.0)))
PLAN = Plan(
    competition="cars",
    symmetries="all",
    seed=3,
    limit=500,
    folds=2,
    size=None,
    models=(
        ModelPlan(SVM, images=300, seconds=12.5),
        ModelPlan(SPRINT, seconds=40.0, fits=(FIT,)),
    ),
    left_out={"dhc-knn-sweep": "too slow"},
)


def plan(names: tuple[str, ...], workload: Workload, seconds: float | None) -> Plan:
    return make_plan(choose_recipes(names), train_settings([]), CARS, workload, seconds)


def test_a_plan_comes_back_as_it_was_written(tmp_path):
    PLAN.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == PLAN


def test_a_training_with_a_segment_that_was_cut_off_comes_back_too(tmp_path):
    cut = Segment(32, 10, 0.0, 0.5).cut_off(4)
    fit = Fit(None, (cut, Segment(64, 7, cut.reached, 1.0)))
    plan = replace(PLAN, models=(ModelPlan(SPRINT, seconds=40.0, fits=(fit,)),))
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


def test_the_sizes_of_the_images_come_back(tmp_path):
    plan = replace(PLAN, sizes=ImageSizes((222, 296), 185, 222, "pad"))
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


def test_a_training_whose_batches_did_not_fit_in_memory_comes_back_too(tmp_path):
    segments = (Segment(32, 10, 0.0, 0.5), Segment(64, 7, 0.5, 1.0, parts=4))
    plan = replace(PLAN, models=(ModelPlan(SPRINT, seconds=40.0, fits=(Fit(None, segments),)),))
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([1.0, 2.0, 60.0, 60.0], [("a", "d"), ("b", "c")]),
        ([1.0, 2.0, 50.0, 60.0, 20.0], [("a", "b", "d"), ("c", "e")]),
        ([None] * 4, [("a", "c"), ("b", "d")]),
    ],
    ids=["two networks", "three networks", "no budget"],
)
def test_models_are_shared_out_to_ranks_evenly_and_each_rank_keeps_their_order(seconds, expected):
    models = [
        ModelPlan(SPRINT.model_copy(update={"name": n}), seconds=s) for n, s in zip("abcde", seconds, strict=False)
    ]
    shares = replace(PLAN, models=tuple(models)).shares(2)
    assert sorted(tuple(model.name for model in share) for share in shares) == sorted(expected)


def test_a_plan_fixes_the_settings_that_shape_a_result():
    settings = PLAN.applied_to(train_settings(["--seed", "9", "--size", "32", "--device", "cpu"]))
    assert (settings.seed, settings.limit) == (3, 500)
    assert (settings.folds, settings.size, settings.device) == (2, None, "cpu")


def test_a_plan_repeats_the_metric_unless_another_is_asked_for():
    plan = replace(PLAN, metric="log-loss")
    assert plan.applied_to(train_settings([])).metric == "log-loss"
    assert plan.applied_to(train_settings(["--metric", "f1-macro"])).metric == "f1-macro"


def test_what_became_of_a_model_takes_the_place_of_what_was_planned():
    trained = ModelPlan(SVM, images=300, seconds=12.5, fits=(Fit(None, ()),))
    assert PLAN.with_model(trained) == replace(PLAN, models=(trained, PLAN.models[1]))


def test_a_plan_carries_its_recipes_whatever_has_become_of_their_files(tmp_path):
    changed = SPRINT.model_copy(update={"name": "gone", "epochs": 7})
    replace(PLAN, models=(ModelPlan(changed),)).write(tmp_path / "plan.json")
    (model,) = Plan.read(tmp_path / "plan.json").models
    assert (model.name, model.recipe) == ("gone", changed)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_the_same_after_the_way_through_a_plan(tmp_path, name):
    (recipe,) = choose_recipes([name])
    replace(PLAN, models=(ModelPlan(recipe),)).write(tmp_path / "plan.json")
    (model,) = Plan.read(tmp_path / "plan.json").models
    assert model.recipe == recipe
    assert fingerprint(model.recipe.model_dump()) == fingerprint(recipe.model_dump())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("seed",), -1, "seed: "),
        (("folds",), 1, "folds: "),
        (("size",), 0, "size: "),
        (("models", 0, "images"), 0, "models.0.images: "),
        (("models", 0, "recipe", "kind"), "nueral", "models.0.recipe: "),
        (("models", 1, "recipe", "neural", "epochs"), 2, "models.1.recipe.neural.neural: "),
        (("models", 1, "fits", 0, "segments", 0, "batches"), 0, "models.1.fits.0.segments: "),
        (("models", 1, "fits", 0, "segments", 0, "end"), 1.5, "models.1.fits.0.segments: "),
        (("models", 1, "fits", 0, "segments", 0, "end"), 0.0, "models.1.fits.0.segments: "),
        (("models", 1, "fits", 0, "segments", 0, "end"), 0.25, "models.1.fits.0.segments: "),
        (("models", 1, "fits", 0, "segments", 0, "start"), math.nan, "models.1.fits.0.segments: "),
        (("models", 1, "fits", 0, "segments", 0, "batches"), 10**12, "models.1.fits.0.segments: "),
        (("models", 1, "fits", 0, "segments", 0, "size"), 10**9, "models.1.fits.0.segments: "),
        (("models", 1, "fits", 0, "segments"), [], "models: "),
        (("models", 1, "fits", 0, "tier", "seeds"), 3, "models: "),
        (("models", 1, "fits", 0, "tier", "width"), 10**9, "models.1.fits.0.tier.width: "),
        (("models", 1, "recipe", "epochs"), 10**12, "models.1.recipe: "),
        (("models", 1, "recipe", "input_size"), 10**9, "models.1.recipe.neural.input_size: "),
        (("models", 1, "recipe", "name"), "../../photos", "models.1.recipe: "),
        (("models", 1, "recipe", "name"), "dhc-svm", "models: "),
        (("models",), [], "models: "),
        (("models", 0, "seconds"), math.inf, "models.0.seconds: "),
        (("models", 0, "seconds"), math.nan, "models.0.seconds: "),
        (("seed",), 10**30, "seed: "),
        (("size",), 10**9, "size: "),
        (("limit",), 10**12, "limit: "),
        (("sizes",), {"cached": [64, 10**9], "trained": 64, "predicted": 64}, "sizes: "),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_place(tmp_path, place, value, words):
    path = tmp_path / "plan.json"
    PLAN.write(path)
    table = json.loads(path.read_text())
    *above, last = place
    node = table
    for key in above:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    node[last] = value
    path.write_text(json.dumps(table))
    with pytest.raises(UserError) as refusal:
        Plan.read(path)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"competition": "cars"}',
        b"\xff\xfe",
        json.dumps({"models": "sprint"}).encode(),
        b"[" * 100_000 + b"]" * 100_000,
        b'{"models":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=["empty", "cut short", "a list", "keys missing", "no text", "a wrong type", "deep lists", "deep tables"],
)
def test_a_file_that_is_no_plan_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"plan\.json: not a plan\.json of train\.py") as refusal:
        Plan.read(path)
    assert "\n" not in str(refusal.value)


def test_a_folder_is_refused_as_a_plan(tmp_path):
    with pytest.raises(UserError, match=r"not a plan\.json"):
        Plan.read(tmp_path)


def test_without_a_budget_every_model_gets_all_it_asks_for():
    unlimited = plan(PORTFOLIO, HUGE, None)
    assert unlimited.models == tuple(map(ModelPlan, choose_recipes(PORTFOLIO)))
    assert unlimited.left_out == {}


def test_a_generous_budget_gives_every_model_all_images_and_the_networks_the_rest(capsys):
    models = ("dhc-cnn32", *PORTFOLIO)
    shared = plan(models, SMALL, 3000.0)
    assert [model.images for model in shared.models] == [None] * len(models)
    assert {model.name for model in shared.models} == set(models)
    assert sum(model.seconds for model in shared.models) == pytest.approx(3000)
    seconds = {model.name: model.seconds for model in shared.models}
    cnn, sprint = choose_recipes(["dhc-cnn32", "sprint"])
    assert seconds["sprint"] / seconds["dhc-cnn32"] == pytest.approx(sprint.budget_weight / cnn.budget_weight)
    printed = capsys.readouterr().out
    assert all(name in printed for name in models)


@pytest.mark.parametrize("workload", [SMALL, HUGE, replace(HUGE, folds=5)], ids=["small", "huge", "folds"])
def test_estimates_add_up_to_no_more_than_the_seconds_there_are(workload, monkeypatch):
    monkeypatch.setattr(planning, "products_a_second", lambda: 2e10)  # that of a machine with nothing else to do
    shared = plan(PORTFOLIO, workload, 60.0)
    assert sum(model.seconds for model in shared.models) <= 60 * (1 + 1e-9)
    assert all(model.seconds > 0 for model in shared.models)
    assert [model.seconds for model in shared.models] == sorted(model.seconds for model in shared.models)


def test_classical_models_alone_leave_what_they_do_not_need():
    shared = plan(CLASSICAL, SMALL, 3000.0)
    assert {model.name for model in shared.models} == set(CLASSICAL)
    assert sum(model.seconds for model in shared.models) < 300


def test_with_little_time_a_classical_model_gets_fewer_images_and_the_plan_says_so(capsys):
    shared = plan(("dhc-svm", "sprint"), HUGE, 120.0)
    svm = next(model for model in shared.models if model.name == "dhc-svm")
    recipes = choose_recipes(["dhc-svm", "sprint"])
    share = 120 * recipes[0].budget_weight / sum(recipe.budget_weight for recipe in recipes)
    assert 10 * HUGE.classes <= svm.images < HUGE.train_images
    assert 0.3 * share <= svm.seconds <= share
    assert f"{svm.images:,} of the 100,000,000 images" in capsys.readouterr().out


def test_more_time_buys_more_images():
    few, many = (plan(("dhc-svm",), HUGE, seconds).models[0].images for seconds in (20.0, 200.0))
    assert few < many


def test_a_classical_model_without_time_for_a_few_images_a_class_is_left_out_with_the_reason(capsys):
    workload = replace(HUGE, classes=100_000)
    shared = plan(("dhc-svm", "sprint"), workload, 5.0)
    assert [(model.name, model.seconds) for model in shared.models] == [("sprint", pytest.approx(5.0))]
    assert set(shared.left_out) == {"dhc-svm"}
    assert shared.left_out["dhc-svm"] in capsys.readouterr().out


def test_time_that_is_over_already_leaves_the_quickest_classical_model_a_few_images(monkeypatch):
    monkeypatch.setattr("pipeline.training.planning.products_a_second", lambda: 1e11)
    shared = plan(("dhc-gaussian-nb", "dhc-knn-sweep", "sprint"), HUGE, -1.0)
    assert [(model.name, model.images) for model in shared.models] == [("dhc-gaussian-nb", 100), ("sprint", None)]
    assert set(shared.left_out) == {"dhc-knn-sweep"}


@pytest.mark.parametrize(("seconds", "names"), [(600.0, ["sprint"]), (1200.0, ["lite0-logreg", "sprint"])])
def test_frozen_features_that_take_longer_than_their_share_are_left_out(monkeypatch, seconds, names):
    """They would take as long for a few images."""
    monkeypatch.setattr("pipeline.training.planning.products_a_second", lambda: 1.15e11)
    shared = plan(("lite0-logreg", "sprint"), replace(SMALL, train_images=50_000), seconds)
    assert [(model.name, model.images) for model in shared.models] == [(name, None) for name in names]


def test_time_that_is_over_is_shown_as_none_left_and_the_least_work_is_planned(capsys):
    shared = plan(CLASSICAL, SMALL, -86.0)
    assert [(model.name, model.images) for model in shared.models] == [("dhc-gaussian-nb", 40)]
    printed = capsys.readouterr().out
    assert "the remaining 0s" in printed and "-" not in printed.splitlines()[0]


def test_a_model_that_could_not_be_trained_leaves_the_plan_with_its_reason():
    less = PLAN.without(PLAN.models[0], "no time")
    assert less.models == PLAN.models[1:] and less.left_out["dhc-svm"] == "no time"


def test_the_time_that_is_left_is_shared_by_weight():
    assert PLAN.share_of(PLAN.models[0]) == pytest.approx(0.06 / 1.06)
    assert PLAN.share_of(PLAN.models[1]) == 1


def test_the_speed_of_this_machine_is_a_number_of_operations_a_second():
    assert 1e8 < products_a_second() < 1e15


@pytest.mark.parametrize(("seconds", "shown"), [(12.4, "12s"), (59.7, "1m 00s"), (245, "4m 05s"), (0, "0s")])
def test_clock_times_are_minutes_and_seconds(seconds, shown):
    assert clock(seconds) == shown
