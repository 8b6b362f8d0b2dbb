"""Recipes: the built-in ones load and build; an error in a recipe is reported in one line."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from competition.errors import UserError
from pipeline.models.base import ModelContext
from pipeline.models.networks.registry import build_network
from pipeline.models.neural.optimisers import build_optimisers
from pipeline.models.neural.schedules import LearningRate
from pipeline.models.recipe import (
    RECIPES,
    ClassicalRecipe,
    NeuralRecipe,
    choose_recipes,
    fingerprint,
    load_recipe,
    recipe_names,
    write_recipe,
)

NETWORK = """
summary = "A small one"
kind = "neural"
epochs = 3
batch_size = 16

[network]
name = "sprint"
width = 8

[optimiser]
name = "sgd"
lr = 0.1

[schedule]
name = "constant"
"""


def put(folder: Path, text: str = NETWORK, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_builds(name):
    recipe = load_recipe(RECIPES / f"{name}.toml")
    assert recipe.name == name
    if isinstance(recipe, ClassicalRecipe):
        assert recipe.build(ModelContext(96, Path())).trained == ()
        return
    size = recipe.input_size or 64
    network = build_network(recipe.network.name, 96, (size, size), **recipe.network.arguments)
    optimisers = build_optimisers(network, recipe.optimiser)
    assert LearningRate(recipe.schedule, optimisers).rate == recipe.optimiser.lr


@pytest.mark.parametrize(
    "name", ["dhc-gaussian-nb", "dhc-svm", "dhc-knn-sweep", "dhc-cnn32", "dhc-vgg-plateau", "sprint"]
)
def test_the_recipes_that_must_be_there_are_there(name):
    assert name in recipe_names()


def test_the_protocols_of_the_reports_are_in_the_recipes():
    cnn, vgg = choose_recipes(["dhc-cnn32", "dhc-vgg-plateau"])
    assert (cnn.optimiser.name, cnn.input_size, cnn.batch_size, cnn.holdout) == ("adam", 32, 32, 0.5)
    assert {step.name for step in cnn.augment} >= {"HorizontalFlip", "Affine"}
    assert (vgg.optimiser.name, vgg.optimiser.lr, vgg.batch_size, vgg.epochs) == ("adam", 1e-3, 32, 250)
    assert vgg.network.arguments == {"conv_dropout": 0.6, "head_dropout": 0.7}
    plateau = vgg.schedule
    assert (plateau.name, plateau.factor, plateau.patience, plateau.floor) == ("plateau", 0.8, 22, 1e-4)
    assert {step.name for step in vgg.augment} >= {"HorizontalFlip", "VerticalFlip"}


def test_a_recipe_takes_the_name_of_its_file_and_the_defaults_of_what_it_leaves_out(tmp_path):
    recipe = load_recipe(put(tmp_path, name="small-one"))
    assert isinstance(recipe, NeuralRecipe)
    assert recipe.name == "small-one"
    assert recipe.network.arguments == {"width": 8}
    assert (recipe.views, recipe.growing, recipe.augment, recipe.holdout) == ("one", (1.0,), (), None)


def test_a_recipe_survives_the_way_through_a_saved_model():
    for recipe in choose_recipes(["sprint", "dhc-cnn32", "dhc-vgg-plateau"]):
        assert NeuralRecipe(**recipe.model_dump()) == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_can_be_written_and_read_again(tmp_path, name):
    recipe = load_recipe(RECIPES / f"{name}.toml")
    write_recipe(recipe, tmp_path / f"{name}.toml", "written by a test")
    assert load_recipe(tmp_path / f"{name}.toml") == recipe
    assert (tmp_path / f"{name}.toml").read_text().startswith("# written by a test\n")


def test_how_images_are_mixed_is_written_and_read_again(tmp_path):
    path = put(tmp_path, NETWORK + "[mix]\nmixup = 0.2\ncutmix = 1.0\n")
    recipe = load_recipe(path)
    write_recipe(recipe, path, "")
    assert load_recipe(path) == recipe and isinstance(recipe, NeuralRecipe)
    assert recipe.mix is not None and (recipe.mix.mixup, recipe.mix.cutmix, recipe.mix.share) == (0.2, 1.0, 1.0)


@pytest.mark.parametrize("summary", ['"quoted" \\ back', "Äpfel 🍎", "two\nlines\tand a tab", "# no comment", ""])
def test_any_words_can_be_written(tmp_path, summary):
    recipe = load_recipe(put(tmp_path)).model_copy(update={"summary": summary})
    write_recipe(recipe, tmp_path / "mine.toml", "")
    assert load_recipe(tmp_path / "mine.toml") == recipe


def test_a_recipe_that_could_not_be_read_again_leaves_what_was_there(tmp_path):
    path = put(tmp_path)
    recipe = load_recipe(path)
    broken = recipe.model_copy(update={"network": recipe.network.model_copy(update={"width of": None})})
    with pytest.raises(UserError):
        write_recipe(broken, path, "")
    assert path.read_text() == NETWORK
    assert [each.name for each in tmp_path.iterdir()] == ["mine.toml"]


TOO_LATE = """[[stages]]
after = 3
optimiser = { name = "sgd", lr = 0.1 }
schedule = { name = "constant" }"""


@pytest.mark.parametrize(
    ("line", "replacement", "words"),
    [
        ("epochs = 3", "epochs = 3\nepoch = 4", "epoch: no such key (did you mean 'epochs'?); fix that key"),
        ("lr = 0.1", "lr = 0.1\nlrr = 0.2", "optimiser.lrr: no such key (did you mean 'lr'?)"),
        ('name = "constant"', 'name = "constnt"', "schedule.name: Input should be 'constant', 'one-cycle'"),
        ("epochs = 3", 'epochs = 3\nviews = "symmetry"', "views: Input should be 'one', 'symmetries' or 'shifts' (did"),
        ("width = 8", 'width = 8\n[scheduler]\nname = "constant"', "scheduler: "),
        ("lr = 0.1", "lr = 0.1\nlearning_rate = 0.2", "optimiser.learning_rate: "),
        ("epochs = 3", 'epochs = "many"', "epochs: "),
        ("epochs = 3", "epochs = 0", "epochs: "),
        ("epochs = 3", "", "epochs: "),
        ("lr = 0.1", "lr = -0.1", "optimiser.lr: "),
        ('name = "sgd"', 'name = "lion"', "optimiser.name: "),
        ('name = "constant"', 'name = "one-cycle"\nwarmup = 1.5', "schedule.warmup: "),
        ("batch_size = 16", 'batch_size = 16\nname = "other"', "name"),
        ('name = "constant"', f'name = "constant"\n{TOO_LATE}', "stages: "),
        ("epochs = 3", "epochs = 3\nmix = { share = 0.5 }", "mix: give mixup or cutmix a value above 0"),
        ("epochs = 3", "epochs = 3\nmix = { mixpu = 0.2 }", "mix.mixpu: no such key (did you mean 'mixup'?)"),
        ("epochs = 3", 'epochs = 3\nloss = "focl"', "loss: Input should be 'cross-entropy' or 'focal' (did you"),
    ],
)
def test_a_wrong_key_is_refused_in_one_line_naming_file_and_key(tmp_path, line, replacement, words):
    path = put(tmp_path, NETWORK.replace(line, replacement))
    with pytest.raises(UserError) as refusal:
        load_recipe(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: {words}")
    assert "\n" not in message


@pytest.mark.parametrize("kind", ["", 'kind = "nueral"', "kind = 3", 'kind = ["neural"]'])
def test_a_kind_that_is_not_there_is_refused_with_the_two_there_are(tmp_path, kind):
    path = put(tmp_path, NETWORK.replace('kind = "neural"', kind))
    with pytest.raises(UserError, match='kind must be "classical" or "neural"'):
        load_recipe(path)


def test_a_misspelt_kind_is_answered_with_the_nearest(tmp_path):
    path = put(tmp_path, NETWORK.replace('kind = "neural"', 'kind = "nueral"'))
    with pytest.raises(UserError, match=r"\(did you mean 'neural'\?\)"):
        load_recipe(path)


@pytest.mark.parametrize("content", [b"epochs = = 3", b'summary = "\xff"', b"[network\nname = 3"])
def test_broken_toml_is_refused_naming_the_file(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.toml: cannot be read as TOML"):
        load_recipe(path)


def test_a_file_that_is_not_there_is_refused_naming_it(tmp_path):
    with pytest.raises(UserError, match=r"gone\.toml"):
        load_recipe(tmp_path / "gone.toml")


def test_recipes_come_in_the_order_asked_for_each_once():
    names = [recipe.name for recipe in choose_recipes(["sprint", "dhc-svm", "dhc-*", "sprint"])]
    assert names[:2] == ["sprint", "dhc-svm"]
    assert sorted(names) == sorted(set(names))
    assert set(names[1:]) == {name for name in recipe_names() if name.startswith("dhc-")}


def test_a_name_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="no recipe is called 'dhc-cnn23'; did you mean dhc-cnn32"):
        choose_recipes(["sprint", "dhc-cnn23"])


def test_a_pattern_that_matches_nothing_is_an_error_even_beside_one_that_does():
    with pytest.raises(UserError, match=r"'zzz-\*'"):
        choose_recipes(["dhc-*", "zzz-*"])


def test_recipes_of_a_further_folder_can_be_chosen_and_come_before_those_that_ship(tmp_path):
    put(tmp_path, name="b")
    put(tmp_path, name="a")
    put(tmp_path, name="sprint")
    assert recipe_names(tmp_path) == ["a", "b", "sprint"]
    chosen = choose_recipes(["?", "sprint", "dhc-svm"], tmp_path, tmp_path / "none")
    assert [recipe.name for recipe in chosen] == ["a", "b", "sprint", "dhc-svm"]
    assert chosen[2].summary == "A small one"


def test_a_toml_file_can_be_chosen_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path)
    for path in ("mine.toml", str(tmp_path / "mine.toml")):
        assert [recipe.name for recipe in choose_recipes([path, "sprint"])] == ["mine", "sprint"]
    with pytest.raises(UserError, match=r"yours\.toml: no such file"):
        choose_recipes(["yours.toml"])
    with pytest.raises(UserError, match=r"no ~ here\.toml: the name of a recipe may have only letters"):
        choose_recipes([str(put(tmp_path, name="no ~ here"))])
    with pytest.raises(UserError, match="several recipes are called sprint; rename all but one of the files"):
        choose_recipes(["sprint", str(put(tmp_path, name="sprint"))])


@pytest.mark.parametrize(
    ("classifier", "words"),
    [
        ({"name": "knm"}, "no classifier is called 'knm' (did you mean 'knn'?); choose one of gaussian-nb"),
        ({"name": "knn", "neighbors": [1]}, "classifier knn: "),
    ],
)
def test_a_classifier_that_cannot_be_built_is_refused_in_one_line(classifier, words):
    recipe = ClassicalRecipe(name="mine", summary="", kind="classical", classifier=classifier)
    with pytest.raises(UserError) as refusal:
        recipe.build(ModelContext(3, Path()))
    assert str(refusal.value).startswith(words) and "\n" not in str(refusal.value)


def test_a_fingerprint_tells_recipes_apart_and_not_the_order_of_their_keys():
    table = tomllib.loads(NETWORK)
    assert fingerprint(table, 1) == fingerprint(dict(reversed(table.items())), 1)
    assert len({fingerprint(table, 1), fingerprint(table | {"epochs": 4}, 1), fingerprint(table, 2)}) == 3


def test_a_name_like_no_other_is_answered_with_the_three_nearest_and_not_with_all():
    with pytest.raises(UserError, match=r"no recipe is called 'zzzz'; the nearest are [\w-]+, [\w-]+, [\w-]+; docs/"):
        choose_recipes(["zzzz"])


def test_a_network_without_arguments_may_be_a_string(tmp_path):
    table = NETWORK.replace('[network]\nname = "sprint"\nwidth = 8', "").replace(
        "epochs = 3", 'epochs = 3\nnetwork = "timm/resnet18"'
    )
    recipe = load_recipe(put(tmp_path, table))
    assert (recipe.network.name, recipe.network.arguments) == ("timm/resnet18", {})


def test_a_network_of_a_library_stands_for_a_recipe_that_fine_tunes_it():
    template, convnext, *others = choose_recipes(
        ["fine-tuning", "timm/convnext_tiny.fb_in22k_ft_in1k", "torchvision/resnet50", "lite1"]
    )
    assert convnext.name == "timm-convnext_tiny.fb_in22k_ft_in1k"
    assert [recipe.name for recipe in others] == ["torchvision-resnet50", "lite1"]
    assert convnext.pretrained_networks == ("timm/convnext_tiny.fb_in22k_ft_in1k",)
    different = {"name", "summary", "network"}
    assert convnext.model_dump(exclude=different) == template.model_dump(exclude=different)


def test_a_recipe_with_a_network_of_a_library_is_read_without_importing_it(tmp_path):
    path = put(tmp_path, NETWORK.replace('name = "sprint"\nwidth = 8', 'name = "timm/resnet18"'))
    script = "import sys; from pathlib import Path; from pipeline.models.recipe import load_recipe\n"
    script += f"load_recipe(Path({str(path)!r})); assert not {{'torch', 'timm'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
