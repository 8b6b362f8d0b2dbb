"""A grid of recipes: every point trained, the best on validation kept."""

import csv
import io
import shutil
import time
from dataclasses import replace
from typing import Any, Self

import numpy as np

from competition.storage import atomic_write
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.neural.time_budget import trainings
from pipeline.runtime import distributed


class NetworkGrid(NeuralNetwork):
    """The best network of a recipe with a grid. Its points lie in ``grid-1`` and so on below ``folder``.

    A deadline is shared equally; ``trained`` and a replay hold the epochs of all points, one after the other.
    """

    def fit(self, *sample: np.ndarray) -> Self:
        """Train each point, keep the one with the best validation accuracy (the first of equals), write grid.csv.

        sample: what ``NeuralNetwork.fit`` takes.
        """
        points = self._points()
        for number, point in enumerate(points):
            point.plan = self._plan_of(number, len(points))
            point.fit(*sample)
        best = max(points, key=lambda point: point.best_accuracy)
        if distributed.is_main():
            self._write_table(points, best)
            shutil.copyfile(best.folder / "history.csv", self.folder / "history.csv")
        self.recipe, self.network, self.tier = best.recipe, best.network, best.tier
        self.shape, self.normalisation, self.best_accuracy = best.shape, best.normalisation, best.best_accuracy
        self.trained = tuple(epoch for point in points for epoch in point.trained)
        return self

    def _points(self) -> list[NeuralNetwork]:
        return [
            self.clone(self.folder / f"grid-{number}", recipe=recipe)
            for number, recipe in enumerate(self.recipe.grid_points, start=1)
        ]

    def _plan_of(self, number: int, points: int) -> NetworkPlan:
        if self.plan.replay is not None:
            return replace(self.plan, replay=trainings(self.plan.replay)[number])
        if self.plan.deadline is not None:
            now = time.monotonic()
            return replace(self.plan, deadline=now + (self.plan.deadline - now) / (points - number))
        return self.plan

    def _write_table(self, points: list[NeuralNetwork], best: NeuralNetwork) -> None:
        text = io.StringIO()
        rows = [
            _flat(values) | {"validation_score": round(point.best_accuracy, 6), "kept": int(point is best)}
            for values, point in zip(self.recipe.grid, points, strict=True)
        ]
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with atomic_write(self.folder / "grid.csv") as path:
            path.write_text(text.getvalue(), encoding="utf-8")


def _flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """``{"optimiser": {"lr": 1}}`` as ``{"optimiser.lr": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat
