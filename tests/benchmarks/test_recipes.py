"""The curves of recipes: a row and a line for each network of a run, also of one that is still training."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import recipes
from competition.errors import UserError
from pipeline.models.recipe import RECIPES


def run_of(folder: Path, recipe: str, accuracies: dict[str, list[float]]) -> Path:
    """The folder of a run as a training leaves it; accuracies: of each of its networks, by its subfolder."""
    run = folder / f"{recipe}~budget=none"
    for part, values in accuracies.items():
        (run / part).mkdir(parents=True)
        table = pd.DataFrame({"epoch": range(1, len(values) + 1), "validation_accuracy": values, "seconds": 90.0})
        table.to_csv(run / part / "history.csv", index=False)
    run.mkdir(exist_ok=True)
    shutil.copy(RECIPES / f"{recipe}.toml", run / "recipe.toml")
    return run


def test_a_row_has_what_was_reported_the_best_epoch_how_far_the_training_is_and_its_hours(tmp_path, capsys):
    run = run_of(tmp_path, "dhc-cnn-5", {".": [0.1, 0.5, 0.4, 0.5]})
    recipes.main([str(run)])
    assert capsys.readouterr().out.splitlines()[-1] == "| `dhc-cnn-5` | 0.67 | 0.500 | 2 | 4 of 60 | 0.10 |"


def test_each_point_of_a_grid_is_a_line_beside_what_was_reported(tmp_path):
    run = run_of(tmp_path, "cifar-cnn-v3-grid", {"grid-1": [0.2, 0.8], "grid-2": [0.3]})
    path = tmp_path / "curves.svg"
    recipes.main([str(run), "--title", "Grid & all", "--output", str(path)])
    text = path.read_text(encoding="utf-8")
    legend = re.findall(r"cifar-cnn-v3-grid, grid-\d: [\d.]+", text)
    assert legend == ["cifar-cnn-v3-grid, grid-1: 0.800", "cifar-cnn-v3-grid, grid-2: 0.300"]
    assert "Grid &amp; all" in text
    first = path.read_bytes()
    recipes.main([str(run), "--title", "Grid & all", "--output", str(path)])
    assert path.read_bytes() == first


def test_classifiers_have_no_epochs_and_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no epoch has been trained"):
        recipes.main([str(run_of(tmp_path, "dhc-svm", {}))])
    with pytest.raises(UserError, match=r"no recipe\.toml"):
        recipes.main([str(tmp_path)])
