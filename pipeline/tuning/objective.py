"""The objective: train a recipe with a trial's values, as train.py does, and return its validation score."""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from optuna import Study, Trial, TrialPruned
from optuna.pruners import MedianPruner

from competition.errors import UserError
from competition.metrics import Metric
from pipeline.models.base import NotTrained, Workload
from pipeline.models.neural.network import NetworkPlan
from pipeline.models.neural.time_budget import MIN_SEGMENTS, OnEpoch
from pipeline.models.recipe import Tier
from pipeline.training.planning import TOO_SHORT, classical_plan, products_a_second
from pipeline.training.trainer import Trainer
from pipeline.tuning.search_space import SearchSpace
from pipeline.tuning.study import agreed

IMAGES, TIER = "images", "tier"  # attributes of a study: how many images its trials use, and their image size and width
FIRST_TRIALS = 4  # finished trials before the first one can be ended early


@dataclass(frozen=True, eq=False)
class Objective:
    """The validation score of a recipe with a trial's values, as the metric ranks it: higher is better.

    seconds: time for one trial; None if the number of epochs determines it.
    """

    space: SearchSpace
    trainer: Trainer
    seconds: float | None

    def __call__(self, trial: Trial) -> float:
        """Run the trial and return the rank of its validation score. Raises TrialPruned if the trial is ended early."""
        begun = time.monotonic()
        recipe = self.space.recipe_with(self.space.suggest(trial))
        recipe = recipe.model_copy(update={"name": f"{recipe.name}, trial {trial.number}"})  # shown in the progress bar
        labels, (train, validation) = self.trainer.training_data.labels, self.trainer.training_data.splits[0]
        train = self.trainer.drawn(train, trial.study.user_attrs.get(IMAGES))
        seen = self.trainer.training_data.images.subset(validation)
        with TemporaryDirectory() as folder:
            model = self.trainer.estimator(recipe, self._plan(trial.study), 0, Path(folder), self._reporter(trial))
            try:
                model.fit(self.trainer.training_data.images.subset(train), labels[train], seen, labels[validation])
            except NotTrained as error:
                print(f"trial {trial.number}: ended early: {error}")
                raise TrialPruned from None
        if model.tier is not None:
            agreed(trial.study, TIER, model.tier.model_dump)
        value = self.metric(model.predict_proba(seen), labels[validation])
        seconds = time.monotonic() - begun
        reached = f"{self.metric.title} {value:.4f} on validation"
        print(f"trial {trial.number}: {reached}, trained and validated in {seconds:.0f} s")
        return self.metric.rank(value)

    @property
    def metric(self) -> Metric:
        return self.trainer.competition.metric

    @property
    def pruner(self) -> MedianPruner:
        """Ends a trial that is worse than the others' median at the same point, but not in its first quarter."""
        return MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=self.steps // 4)

    @property
    def steps(self) -> int:
        """The number of points at which trials are compared: their epochs, if all trials have the same number."""
        if self.seconds is not None or self.space.recipe.epochs is None:
            return MIN_SEGMENTS
        return self.trainer.settings.epochs or self.space.recipe.epochs

    def _reporter(self, trial: Trial) -> OnEpoch:
        reported = {0}

        def report(progress: float, value: float) -> None:
            if (step := round(progress * self.steps)) in reported:
                return
            reported.add(step)
            trial.report(self.metric.rank(value), step)
            if progress < 1 and trial.should_prune():
                reached = f"{self.metric.title} {value:.4f} on validation"
                print(f"trial {trial.number}: ended early, after {progress:.0%} of its training, with {reached}")
                raise TrialPruned

        return report

    def _plan(self, study: Study) -> NetworkPlan | None:
        if not self.space.recipe.is_network:
            return None
        if self.seconds is None:
            return NetworkPlan(epochs=self.steps)
        tier = study.user_attrs.get(TIER)
        return NetworkPlan(deadline=time.monotonic() + self.seconds, predictions_after=1, tier=tier and Tier(**tier))

    def settle_images(self, study: Study, workload: Workload) -> None:
        """Set how many training images all trials of a classical recipe use, so that one fits in its ``seconds``.

        Raises UserError if these would be too few.
        """
        if self.seconds is not None and not self.space.recipe.is_network:
            seconds = self.seconds
            agreed(study, IMAGES, lambda: self._images_that_fit(workload, seconds))

    def _images_that_fit(self, workload: Workload, seconds: float) -> int | None:
        plan = classical_plan(self.space.recipe, workload, seconds, products_a_second())
        if plan is None:
            raise UserError(f"{self.space.recipe.name}: {TOO_SHORT}; give more time with --budget, or fewer --trials")
        return plan.images
