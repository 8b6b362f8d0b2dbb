"""Trainings of recipes: validation accuracy over the epochs, drawn, and a row of a table for each.

    python benchmarks/recipes.py RUN [RUN ...] [--title TITLE] [--output FILE.svg]

RUN: the folder of a run, such as runs/NAME/sprint~budget=none; it need not be finished. Each network of the run is a
line in the figure, with a mark at the accuracy that the recipe's source reports. A row has the recipe, that accuracy,
the best on validation, its epoch, the epochs done and planned, and the hours.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from competition.errors import UserError
from competition.storage import atomic_write
from pipeline.commands import run_main
from pipeline.models.base import HISTORY_FILE
from pipeline.models.recipe import NeuralRecipe, load_recipe
from pipeline.report.figures import LINES, new_figure, style

HEADINGS = ("recipe", "reported", "best", "at epoch", "epochs", "hours")


@dataclass(frozen=True)
class Curve:
    """The training of one network. accuracies: on validation, after each epoch. planned: epochs of the recipe."""

    name: str
    reported: float | None
    planned: int
    accuracies: np.ndarray
    seconds: float

    @property
    def best(self) -> float:
        return float(self.accuracies.max())

    @property
    def row(self) -> str:
        reported = "" if self.reported is None else f"{self.reported:g}"
        at, done = int(self.accuracies.argmax()) + 1, len(self.accuracies)
        return f"| `{self.name}` | {reported} | {self.best:.3f} | {at} | {done} of {self.planned} | {self.hours} |"

    @property
    def hours(self) -> str:
        return f"{self.seconds / 3600:.2f}"


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    found = [curve for run in options.runs for curve in curves(run)]
    if not found:
        raise UserError("no epoch has been trained in these folders; give those of runs of networks")
    print(f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|", *(curve.row for curve in found), sep="\n")
    if options.output is not None:
        save(drawn(found, options.title), options.output)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--title", default="Recipes on validation")
    parser.add_argument("--output", type=Path, metavar="FILE.svg")
    return parser.parse_args(arguments)


def curves(run: Path) -> Iterator[Curve]:
    """One for each network of the run: several for a grid, folds or seeds; none for a classifier.

    Raises UserError if the folder is not that of a run.
    """
    if not (run / "recipe.toml").exists():
        raise UserError(f"{run}: no recipe.toml; give the folder of a run, such as runs/NAME/sprint~budget=none")
    recipe = load_recipe(run / "recipe.toml")
    if not isinstance(recipe, NeuralRecipe):
        return
    for path in sorted(run.rglob(HISTORY_FILE)):
        part = "" if path.parent == run else f", {path.parent.relative_to(run)}"
        history = pd.read_csv(path)
        accuracies = history["validation_accuracy"].to_numpy(np.float64)
        name = run.name.partition("~")[0] + part
        yield Curve(name, recipe.reported, recipe.epochs, accuracies, float(history["seconds"].sum()))


def drawn(found: Sequence[Curve], title: str) -> Figure:
    """A line for each curve, the best first in the legend; a triangle at the right edge marks what was reported."""
    with style():
        figure, axes = new_figure(4.2)
        for number, curve in enumerate(sorted(found, key=lambda curve: -curve.best)):
            colour, epochs = LINES[number % len(LINES)], np.arange(1, len(curve.accuracies) + 1)
            axes.plot(epochs, curve.accuracies, color=colour, linewidth=1.6, label=f"{curve.name}: {curve.best:.3f}")
            if curve.reported is not None:
                axes.plot(1, curve.reported, "<", color=colour, transform=axes.get_yaxis_transform(), clip_on=False)
        axes.set(xlabel="epoch", ylabel="accuracy on validation", title=title, xlim=(0, None), ylim=(0, 1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
        figure.legend(loc="outside lower left", ncols=2)
    return figure


def save(figure: Figure, path: Path) -> None:
    """As SVG whose bytes depend on the curves alone, with its letters as text."""
    with (
        style(),
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}),
        atomic_write(path) as temporary,
    ):
        figure.savefig(temporary, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    run_main(main)
