"""Grid search over a recipe: train every point and keep the one with the best validation score."""

import shutil
import time
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd

from competition.storage import atomic_write
from pipeline.data.cache import Images
from pipeline.models.base import GRID_FILE, HISTORY_FILE
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.neural.time_budget import trainings
from pipeline.models.neural.training import NotFinite
from pipeline.runtime import distributed


class NetworkGrid(NeuralNetwork):
    """The best network of a recipe with a grid. The points are stored in ``grid-1``, ``grid-2``, ... below ``folder``.

    All points get an equal share of the time until a deadline. ``trained`` and a replay hold the segments of all
    points, one point after the other.
    """

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Train each point, keep the one with the best validation score (the first in a tie), and write grid.csv.

        A point whose loss is not finite has the worst score. Raises NotTrained if that is true of all points.
        """
        points, failures = self._points(), []
        for number, point in enumerate(points):
            point.plan = self._plan_of(number, len(points))
            try:
                point.fit(images, labels, validation_images, validation_labels)
            except NotFinite as error:
                print(f"warning: {self.recipe.name}, point {number + 1} of its grid: {error}")
                failures.append(error)
        if len(failures) == len(points):
            raise failures[0]
        best = max(points, key=lambda point: self.metric.rank(point.best_score))
        if distributed.is_main():
            self._write_table(points, best)
            shutil.copyfile(best.folder / HISTORY_FILE, self.folder / HISTORY_FILE)
        self.recipe, self.network, self.tier = best.recipe, best.network, best.tier
        self.input_size, self.normalisation, self.best_score = best.input_size, best.normalisation, best.best_score
        self.trained = tuple(segment for point in points for segment in point.trained)
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
            now, is_required = time.monotonic(), self.plan.is_required or number > 0
            end = now + (self.plan.deadline - now) / (points - number)
            return replace(self.plan, deadline=end, is_required=is_required)
        return self.plan

    def _write_table(self, points: list[NeuralNetwork], best: NeuralNetwork) -> None:
        rows = [
            _flat(values) | {"validation_score": round(point.best_score, 6), "kept": int(point is best)}
            for values, point in zip(self.recipe.grid, points, strict=True)
        ]
        with atomic_write(self.folder / GRID_FILE) as path:
            pd.DataFrame(rows, dtype=object).to_csv(path, index=False, lineterminator="\n")  # keeps 4 as 4


def _flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Flatten nested tables: ``{"optimiser": {"lr": 1}}`` becomes ``{"optimiser.lr": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat
