"""A seed ensemble: networks that differ only in their seed; the tier sets their number."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from pipeline.data.cache import Images
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.neural.time_budget import trainings
from pipeline.models.neural.training import NotFinite

Sample = tuple[Images, np.ndarray, Images, np.ndarray]  # images and labels to train on, and to validate on
SEEDS_APART = 1000  # so that no fold and no other --seed trains the same networks


class SeedEnsemble(NeuralNetwork):
    """The network stored in ``folder``, and the others of its tier in ``seed-2``, ``seed-3``, ... below it.

    The first network chooses the tier. All get an equal share of the time until the deadline, and predictions are
    the mean over all. ``trained`` and a replay hold the segments of all networks, one network after the other.
    If the loss of a later network is not finite, the ensemble ends before it, and so does the tier that is kept.
    """

    others: tuple[NeuralNetwork, ...] = ()

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Train the networks one after the other."""
        sample = images, labels, validation_images, validation_labels
        whole = self.plan
        self.plan = _plan_of(0, whole)
        super().fit(*sample)
        self.others = tuple(self._fitted_others(whole, sample))
        self.tier = self.tier and self.tier.model_copy(update={"seeds": 1 + len(self.others)})
        self.trained = sum((other.trained for other in self.others), self.trained)
        return self

    def _fitted_others(self, whole: NetworkPlan, sample: Sample) -> Iterator[NeuralNetwork]:
        for number in range(1, self.seeds):
            try:
                yield self._other(number, whole).fit(*sample)
            except NotFinite as fault:
                print(f"warning: {fault}; what was trained before it is kept")
                return

    def _other(self, number: int, whole: NetworkPlan) -> NeuralNetwork:
        plan = replace(_plan_of(number, whole), tier=self.tier)
        return self.clone(_place(self.folder, number), plan=plan, seed=self.seed + number * SEEDS_APART)

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Class probabilities, float32 ``[N, targets * classes]``, the mean over the seeds."""
        total = super().predict_proba(images, test_time_views, title)
        for other in self.others:
            total += other.predict_proba(images, test_time_views, title)
        return total / self.seeds

    @property
    def parameters(self) -> int:
        return super().parameters + sum(other.parameters for other in self.others)

    def save(self, folder: Path) -> None:
        super().save(folder)
        for number, other in enumerate(self.others, start=1):
            other.save(_place(folder, number))

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        model = super().load(folder, device)
        model.others = tuple(NeuralNetwork.load(_place(folder, n), device) for n in range(1, model.seeds))
        return model


def _plan_of(number: int, whole: NetworkPlan) -> NetworkPlan:
    replay = None if whole.replay is None else trainings(whole.replay)[number]
    return replace(whole, seed_number=number, replay=replay, is_required=whole.is_required or number > 0)


def _place(folder: Path, number: int) -> Path:
    return folder / f"seed-{number + 1}"
