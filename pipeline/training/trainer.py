"""The trainer: one recipe's models fitted, scored on validation, and written down under runs/."""

import hashlib
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from competition.errors import UserError
from competition.spec import Competition
from competition.splits import stratified_rows
from competition.storage import atomic_write
from pipeline.data.predictions import Predictions
from pipeline.data.training_data import TrainingData
from pipeline.models.classical.features import OnFeatures, build_features
from pipeline.models.classical.registry import CLASSIFIERS
from pipeline.models.networks.pretrained import recipe_weights
from pipeline.models.neural.grid import NetworkGrid
from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from pipeline.models.neural.seed_ensemble import SeedEnsemble
from pipeline.models.neural.time_budget import OnEpoch
from pipeline.models.recipe import RECIPES, AnyRecipe, ClassicalRecipe, NeuralRecipe, fingerprint, load_recipe
from pipeline.runtime import distributed
from pipeline.settings import Settings
from pipeline.training.planning import Fit, ModelPlan, Plan
from pipeline.training.runs import Model, Run, begin_run, read_run, transfer_source
from pipeline.training.scores import ModelScore, score, score_by


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains models on one competition, all with the same images and settings.

    deadline: when the last model must be trained, on the clock of ``time.monotonic``; None for no budget.
    """

    settings: Settings
    device: torch.device
    competition: Competition
    training_data: TrainingData
    deadline: float | None

    @property
    def folder(self) -> Path:
        return self.settings.runs_folder(self.competition.name)

    def train(self, model: ModelPlan, plan: Plan) -> ModelPlan:
        """Train what ``model`` says, unless that was done before. Returns it with what became of it.

        The run's folder then holds the fitted models, recipe.toml, predictions.npz and run.json.
        Networks are trained by all ranks together, the rest by the main one.
        """
        recipe = load_recipe(RECIPES / f"{model.model}.toml")
        if isinstance(recipe, NeuralRecipe):
            return self._train(recipe, model, plan)
        return distributed.from_main(lambda: self._train(recipe, model, plan))

    def _train(self, recipe: AnyRecipe, model: ModelPlan, plan: Plan) -> ModelPlan:
        folder, key = self.folder / recipe.name, self._fingerprint(recipe, model)
        if run := distributed.from_main(lambda: self._begin_run(recipe, folder, key)):
            print(f"{recipe.name}: trained before by the same command ({run.score}); --fresh repeats it")
            return run.plan
        begun = time.monotonic()
        fitted = self._fit_parts(recipe, model, plan, folder)
        run = distributed.from_main(lambda: self._write_run(recipe, model, key, fitted, begun))
        print(f"{recipe.name}: {run.score} on validation after {run.seconds:.0f} s")
        return run.plan

    def _begin_run(self, recipe: AnyRecipe, folder: Path, key: str) -> Run | None:
        """The run if it was finished before; else its folder is ready for it."""
        begin_run(folder, key, self.settings.fresh)
        if run := read_run(folder):
            (folder / "run.json").touch()
            return run
        with atomic_write(folder / "recipe.toml") as copy:
            shutil.copyfile(RECIPES / f"{recipe.name}.toml", copy)
        return None

    def _fingerprint(self, recipe: AnyRecipe, model: ModelPlan) -> str:
        settings, split = self.settings, self.training_data.split
        return fingerprint(
            recipe.model_dump(),
            [self.training_data.images.name, split.ids, split.labels.tolist()],
            [settings.seed, settings.limit, settings.folds, settings.epochs, settings.budget],
            [model.images, model.fits] if settings.plan else None,
            self.device.type,
            self.competition.metric.name,
            self._start(recipe),
            self.competition.symmetries if isinstance(recipe, NeuralRecipe) else None,
        )

    def _start(self, recipe: AnyRecipe) -> list[str]:
        """What tells the weights that a model starts from or sees with."""
        if isinstance(recipe, NeuralRecipe) and recipe.transfer_from is not None:
            source = self._source(recipe)
            return [hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()]
        return [path.name for path in recipe_weights(recipe, self.settings.weights)]

    def _source(self, recipe: NeuralRecipe) -> Path:
        return transfer_source(recipe, self.settings.work / "runs", self.competition.name)

    def _fit_parts(self, recipe: AnyRecipe, model: ModelPlan, plan: Plan, folder: Path) -> list[Model]:
        """One fitted and saved model for each part; their validation probabilities go to predictions.npz."""
        images, labels, splits = self.training_data.images, self.training_data.split.labels, self.training_data.splits
        fitted, probabilities = [], []
        for number, (train, validation) in enumerate(splits):
            train = self.drawn(train, model.images)
            place = folder / fold_folder(number, len(splits))
            network_plan = self._network_plan(recipe, model, plan, number) if isinstance(recipe, NeuralRecipe) else None
            estimator = self.estimator(recipe, network_plan, number, place)
            seen = images.subset(validation)
            estimator.fit(images.subset(train), labels[train], seen, labels[validation])
            if distributed.is_main():
                estimator.save(place)
            probabilities.append(estimator.predict_proba(seen))
            fitted.append(estimator)
        if distributed.is_main():
            ids = self.training_data.split.take(self.training_data.validated).ids
            Predictions(ids, np.concatenate(probabilities)).save(folder / "predictions.npz")
        return fitted

    def row(self, run: Run) -> ModelScore:
        """A run's row of scores.csv, by the competition's metric whatever the run was trained by."""
        validated = self.training_data.split.take(self.training_data.validated)
        predictions = Predictions.load(self.folder / run.model / "predictions.npz").aligned_to(validated.ids)
        found = score_by(self.competition.metric, run.score, predictions.probabilities, validated.labels)
        return replace(run.row, score=found)

    def drawn(self, train: np.ndarray, images: int | None) -> np.ndarray:
        """So many of the training rows, drawn by class; None for all."""
        if images is None:
            return train
        labels = self.training_data.split.labels[train]
        return train[stratified_rows(labels, min(images, len(train)), self.settings.seed)]

    def estimator(
        self,
        recipe: AnyRecipe,
        plan: NetworkPlan | None,
        part: int,
        folder: Path,
        on_epoch: OnEpoch | None = None,
    ) -> Model:
        """The recipe's model for one of the parts, not yet fitted.

        plan, folder, on_epoch: of a network, see ``NeuralNetwork``.
        """
        if isinstance(recipe, ClassicalRecipe):
            bare = CLASSIFIERS[recipe.classifier.name](len(self.competition.classes), **recipe.classifier.arguments)
            bare.measured_by(self.competition.metric)
        else:
            bare = self._network(recipe, plan, part, folder, on_epoch)
        if recipe.features is None:
            return bare
        features = build_features(recipe.features.name, **recipe.features.arguments)
        return OnFeatures(features, bare, self.device, self.settings.weights)

    def _network(
        self, recipe: NeuralRecipe, plan: NetworkPlan, part: int, folder: Path, on_epoch: OnEpoch | None
    ) -> NeuralNetwork:
        network = NetworkGrid if recipe.grid else SeedEnsemble
        return network(
            recipe,
            len(self.competition.classes),
            folder,
            symmetries=self.competition.symmetries or "none",  # where nobody asked, no recipe wants to know
            plan=plan,
            seed=self.settings.seed + part,
            device=self.device,
            weights=self.settings.weights,
            compile=self.settings.compile,
            source=self._source(recipe) if recipe.transfer_from else None,
            on_epoch=on_epoch,
        )

    def _network_plan(self, recipe: NeuralRecipe, model: ModelPlan, plan: Plan, part: int) -> NetworkPlan:
        if self.settings.plan is not None:
            if part >= len(model.fits):
                raise UserError(
                    f"{self.settings.plan} comes from a run that ended before {model.model} was trained; "
                    "finish that run first, with the command that began it"
                )
            return NetworkPlan(replay=model.fits[part].segments, tier=model.fits[part].tier)
        if self.deadline is None:
            return NetworkPlan(epochs=self.settings.epochs or recipe.epochs)
        splits = len(self.training_data.splits)
        one_part = model.seconds / splits
        later = sum(each.seconds for each in plan.models[plan.models.index(model) + 1 :])
        now = time.monotonic()
        share = one_part / (one_part * (splits - part) + later)
        return NetworkPlan(deadline=now + share * (self.deadline - now), predictions_after=1)

    def _write_run(
        self,
        recipe: AnyRecipe,
        model: ModelPlan,
        key: str,
        fitted: list[Model],
        begun: float,
    ) -> Run:
        folder, classes = self.folder / recipe.name, self.competition.classes
        predictions = Predictions.load(folder / "predictions.npz")
        bare = [each.model if isinstance(each, OnFeatures) else each for each in fitted]
        fits = tuple(Fit(each.tier, each.trained) for each in bare if isinstance(each, NeuralNetwork))
        run = Run(
            model=recipe.name,
            classifier=recipe.classifier.name if isinstance(recipe, ClassicalRecipe) else None,
            features=recipe.features and recipe.features.name,
            fingerprint=key,
            validation=fingerprint(predictions.ids),
            classes=classes,
            image_shape=self.training_data.images.shape[1:3],
            fold_folders=tuple(fold_folder(number, len(fitted)) for number in range(len(fitted))),
            score=score(
                predictions.probabilities,
                self.training_data.split.labels[self.training_data.validated],
                self.competition.metric,
            ),
            seconds=time.monotonic() - begun,
            parameters=fitted[0].parameters,
            plan=replace(model, fits=fits),
        )
        run.write(folder)
        for checkpoint in folder.rglob("checkpoint.pt"):  # what an interrupted training would have gone on from
            checkpoint.unlink()
        return run


def fold_folder(number: int, splits: int) -> str:
    """Where a fitted model lies below its run's folder: right there or, of several folds, in one each."""
    return f"fold-{number + 1}" if splits > 1 else "."
