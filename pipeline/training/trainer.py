"""The trainer: fits a recipe's models, scores them on the validation set, and stores them under runs/."""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from competition.errors import UserError
from competition.locks import StillLocked, locked
from competition.spec import Competition
from competition.splits import stratified_rows
from competition.task import strata
from pipeline.data.predictions import Predictions
from pipeline.data.training_data import TrainingData
from pipeline.models.base import Model, ModelContext, NotTrained
from pipeline.models.classical.features import OnFeatures
from pipeline.models.networks.pretrained import LITE0_SIZE, recipe_weights
from pipeline.models.networks.weights import sha256
from pipeline.models.neural.network import NetworkPlan
from pipeline.models.neural.time_budget import OnEpoch, Segment
from pipeline.models.neural.training import NotFinite
from pipeline.models.recipe import AnyRecipe, NeuralRecipe, Tier, fingerprint, write_recipe
from pipeline.runtime import distributed
from pipeline.settings import Settings
from pipeline.training.fit_in_time import fit_in_time
from pipeline.training.planning import Fit, ModelPlan, Plan, workload_of
from pipeline.training.runs import (
    FORMAT,
    REFIT,
    FoldFolder,
    Options,
    Run,
    RunFolder,
    begin_run,
    fold_folder,
    folder_for,
    options_of,
    run_name,
    transfer_source,
)
from pipeline.training.scores import score

LEAST_SECONDS = 5.0  # of the budget for a network; with less, measuring its speed would take most of it
REMARK = "the recipe that this model was trained with"


@dataclass(frozen=True)
class SavedModel:
    """What is known here of a model that a rank has fitted and saved; the fields are those of ``Model``."""

    tier: Tier | None
    trained: tuple[Segment, ...]
    parameters: int

    def save(self, folder: Path) -> None:
        """It is saved."""


FittedModel = Model | SavedModel


@dataclass(frozen=True, eq=False)
class Fitted:
    """What has been fitted for one run.

    models: one for each split. kept: the models to predict with, by the name of their folder.
    probabilities: of the validation images, split after split, float32 ``[N, T * K]``.
    """

    models: tuple[FittedModel, ...]
    kept: dict[str, FittedModel]
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains models for one competition, all with the same images and settings.

    deadline: when all models must be trained, on the clock of ``time.monotonic``; None if there is no budget.
    """

    settings: Settings
    device: torch.device
    competition: Competition
    training_data: TrainingData
    deadline: float | None

    @property
    def folder(self) -> Path:
        return self.settings.runs_folder(self.competition.name)

    def folder_for(self, model: ModelPlan) -> RunFolder:
        """The folder of the model's run, which need not exist yet."""
        return folder_for(self.folder, model.name, self._options(model), self.fingerprint(model))[0]

    def has_ranks_for(self, plan: Plan) -> bool:
        """Whether the models are trained side by side: there is a network for each rank, and it has no folds."""
        networks = sum(model.recipe.is_network for model in plan.models)
        return len(self.training_data.splits) == 1 and distributed.can_be_shared_out(networks)

    def train(self, model: ModelPlan, plan: Plan) -> ModelPlan:
        """Train the model, unless the same training was finished before. Returns the plan completed with its ``fits``.

        Afterwards the run's folder holds the fitted models and the files of ``RunFolder``.
        All ranks train a network together; the main rank alone trains any other model.
        Raises NotTrained, on all ranks, if there is no time left for it and it is not the only model of the plan, or
        if its loss is not finite.
        """
        if model.recipe.is_network:
            return self._train(model, plan)
        trained = distributed.from_main(lambda: self._trained_or_not(model, plan))
        if isinstance(trained, NotTrained):
            raise trained
        return trained

    def _trained_or_not(self, model: ModelPlan, plan: Plan) -> ModelPlan | NotTrained:
        """The result or the error of ``_train``, so that every rank learns of it."""
        try:
            return self._train(model, plan)
        except NotTrained as error:
            return error

    def _train(self, model: ModelPlan, plan: Plan) -> ModelPlan:
        with self._locked(model):
            return self._train_alone(model, plan)

    @contextmanager
    def _locked(self, model: ModelPlan) -> Iterator[None]:
        """Hold the lock of the model's run; the other ranks wait for the main rank, which does.

        Raises NotTrained, on all ranks, if another process still holds it at the deadline.
        """
        place = self.folder / run_name(model.name, self._options(model))
        with ExitStack() as stack:
            if fault := distributed.from_main(lambda: self._fault_of_lock(place, stack)):
                raise NotTrained(f"{model.name}: {fault}")
            yield

    def _fault_of_lock(self, place: Path, stack: ExitStack) -> str | None:
        try:
            stack.enter_context(locked(place, "writes this run", self.deadline))
        except StillLocked as error:
            return str(error)
        return None

    def _train_alone(self, model: ModelPlan, plan: Plan) -> ModelPlan:
        key = self.fingerprint(model)
        folder, options, run = distributed.from_main(lambda: self._begin_run(model, key))
        name = run_name(model.name, options)
        if run is not None:
            print(f"{name}: trained before ({run.score} on validation); to train it again, add --fresh")
            return run.plan
        begun = time.monotonic()
        try:
            model, fitted = self._fit_in_share(model, plan, folder, key)
        except NotTrained:
            distributed.from_main(folder.remove_if_idle)
            raise
        run = distributed.from_main(lambda: self._write_run(model, options, key, folder, fitted, begun))
        print(f"{name}: {run.score} on validation, trained and validated in {run.seconds:.0f} s")
        return run.plan

    def _begin_run(self, model: ModelPlan, key: str) -> tuple[RunFolder, Options, Run | None]:
        """Prepare the run's folder. Returns it, the options in its name, and the run if it was finished before."""
        folder, options, run = begin_run(self.folder, model.name, self._options(model), key, self.settings.fresh)
        if run is not None:
            folder.remove_checkpoints()  # of a command that was killed just after it had finished the run
            return folder, options, run.requested_again(folder, self.settings.cache_size)
        write_recipe(model.recipe, folder.recipe, REMARK)
        return folder, options, None

    def fingerprint(self, model: ModelPlan) -> str:
        """Of everything that decides the model."""
        settings = self.settings
        return fingerprint(
            self.facts(model.recipe),
            [settings.seed, settings.limit, settings.folds, settings.epochs, settings.budget],
            *(["refit"] if settings.refit else []),
            self._repeated(model) if settings.plan else None,
        )

    def facts(self, recipe: AnyRecipe) -> list[object]:
        """What decides every model of the recipe, whatever the options of the command."""
        return [
            FORMAT,
            recipe.model_dump(),
            self.training_data.fingerprint,
            asdict(self.competition.task),
            self.device.type,
            self.competition.metric.name,
            self._start(recipe),
            self.competition.symmetries if recipe.is_network else None,
        ]

    def _options(self, model: ModelPlan) -> Options:
        return options_of(self.settings, fingerprint(*self._repeated(model)) if self.settings.plan else None)

    def _repeated(self, model: ModelPlan) -> list[object]:
        """What a repeated plan sets for a model's training."""
        return [model.images, model.fits]

    def _start(self, recipe: AnyRecipe) -> list[str]:
        """Hashes of the pretrained weights that a model starts from or extracts features with."""
        source = self._source(recipe)
        paths = [source.weights] if source else recipe_weights(recipe, self.settings.weights)
        return [sha256(path) for path in paths]

    def _source(self, recipe: AnyRecipe) -> FoldFolder | None:
        if recipe.transfer_from is None:
            return None
        return transfer_source(recipe, self.settings.work / "runs", self.competition.name)

    def _fit_in_share(self, model: ModelPlan, plan: Plan, folder: RunFolder, key: str) -> tuple[ModelPlan, Fitted]:
        """Fit and save the models of all splits. Returns the plan with the images that there was time for."""

        def fit(given: ModelPlan) -> Fitted:
            return self._fit_splits(given, plan, folder, key)

        if self.deadline is None:
            return model, self._saved(folder, key, fit(model))
        now = time.monotonic()
        if model.recipe.is_network:
            if plan.models != (model,) and distributed.broadcast(self.deadline - now < LEAST_SECONDS):
                raise NotTrained(f"{model.name}: too little of the budget is left for it; give more with --budget")
            return model, self._saved(folder, key, fit(model))
        end = now + plan.share_of(model) * (self.deadline - now)
        workload = workload_of(self.competition, self.training_data)
        is_first, latest = model == plan.models[0], now + (self.deadline - now) / 2
        model, fitted = fit_in_time(model, workload, end, fit, is_first, latest)
        return model, self._saved(folder, key, fitted)

    def _saved(self, folder: RunFolder, key: str, fitted: Fitted) -> Fitted:
        """Save the models to predict with and the predictions for the validation images."""
        if distributed.is_main():
            for name, model in fitted.kept.items():
                model.save(folder.fold(name).path)
            validated = self.training_data.split.take(self.training_data.validated)
            Predictions(validated.ids, fitted.probabilities, validated.labels, key).save(folder.validation)
            self.training_data.record.save(folder.data)
        return fitted

    def _fit_splits(self, model: ModelPlan, plan: Plan, folder: RunFolder, key: str) -> Fitted:
        """Fit one model per split and, where they are of that kind, one to all images in their place.

        If there is a network for each rank, they are fitted side by side, and each rank saves its own.
        """
        splits = len(self.training_data.splits)
        is_shared_out = model.recipe.is_network and distributed.can_be_shared_out(splits)
        at_once = distributed.world_size() if is_shared_out else 1

        def fit(number: int) -> tuple[Model, np.ndarray]:
            place, network_plan = places[number], self._network_plan(model, plan, number, at_once)
            return self._fit_split(number, model, network_plan, place, key)

        def fit_and_save(number: int) -> tuple[SavedModel, np.ndarray]:
            estimator, answers = fit(number)
            estimator.save(places[number])
            return SavedModel(estimator.tier, estimator.trained, estimator.parameters), answers

        places = [folder.fold(fold_folder(number, splits)).path for number in range(splits)]
        if is_shared_out:
            models, answers = zip(*distributed.side_by_side(fit_and_save, splits), strict=True)
        else:
            models, answers = zip(*map(fit, range(splits)), strict=True)
        kept = {fold_folder(number, splits): each for number, each in enumerate(models)}
        fitted = self._refitted(Fitted(models, kept, np.concatenate(answers)), model.images)
        return self._trained_again(fitted, model, plan, folder, key) if self._trains_again(model) else fitted

    def _fit_split(
        self, number: int, model: ModelPlan, plan: NetworkPlan | None, place: Path, key: str
    ) -> tuple[Model, np.ndarray]:
        images, labels = self.training_data.images, self.training_data.labels
        train, validation = self.training_data.splits[number]
        train, seen = self.drawn(train, model.images), images.subset(validation)
        estimator = self.estimator(model.recipe, plan, number, place, key=key)
        estimator.fit(images.subset(train), labels[train], seen, labels[validation])
        return estimator, estimator.predict_proba(seen)

    def _refitted(self, fitted: Fitted, most: int | None) -> Fitted:
        """Models on frozen features of folds or of photographs replaced by one on all labelled images.

        most: of the images, drawn class by class; None for all.
        """
        images, labels = self.training_data.images, self.training_data.labels
        folds = [each for each in fitted.models if isinstance(each, OnFeatures) and each.refits]
        is_wanted = self.settings.refit or max(images.shape[1:3]) > LITE0_SIZE
        if len(folds) < (1 if is_wanted else 2):
            return fitted
        OnFeatures.agree(folds)
        validations = [images.subset(rows) for _, rows in self.training_data.splits]
        answers = [each.predict_proba(seen) for each, seen in zip(folds, validations, strict=True)]
        rows = self.drawn(self.training_data.trainable, most)
        refitted = OnFeatures.refitted(folds, images.subset(rows), labels[rows])
        return Fitted(fitted.models, {REFIT: refitted}, np.concatenate(answers))

    def _trains_again(self, model: ModelPlan) -> bool:
        """Whether a network is trained once more, on all labelled images: with --refit, if there are no folds."""
        is_single = isinstance(model.recipe, NeuralRecipe) and not model.recipe.grid
        return self.settings.refit and is_single and len(self.training_data.splits) == 1

    def _trained_again(self, fitted: Fitted, model: ModelPlan, plan: Plan, folder: RunFolder, key: str) -> Fitted:
        """The network replaced by one on all labelled images, whose last weights are kept; what was measured stays.

        If its loss is not finite, the network that was validated is kept.
        """
        images, labels, place = self.training_data.images, self.training_data.labels, folder.fold(REFIT)
        rows, (_, validation) = self.training_data.trainable, self.training_data.splits[0]
        network_plan = self._network_plan(model, plan, split=1, at_once=1)
        if network_plan is not None and network_plan.deadline is not None:
            network_plan = replace(network_plan, tier=fitted.models[0].tier)
        recipe = model.recipe.model_copy(update={"keep": "last", "holdout": None})
        again = self.estimator(recipe, network_plan, 0, place.path, key=key)
        try:
            again.fit(images.subset(rows), labels[rows], images.subset(validation), labels[validation])
        except NotFinite as fault:
            print(f"warning: {fault}; the network that was validated is kept")
            return fitted
        if distributed.is_main():  # its own history tells of validation images that it was trained on
            shutil.copyfile(folder.fold(fold_folder(0, 1)).history, place.history)
        return Fitted((*fitted.models, again), {REFIT: again}, fitted.probabilities)

    def drawn(self, train: np.ndarray, images: int | None) -> np.ndarray:
        """``images`` of the training rows, drawn class by class; all rows if None."""
        if images is None:
            return train
        labels = self.training_data.labels[train]
        return train[stratified_rows(strata(labels), min(images, len(train)), self.settings.seed)]

    def estimator(
        self,
        recipe: AnyRecipe,
        plan: NetworkPlan | None,
        split: int,
        folder: Path,
        on_epoch: OnEpoch | None = None,
        key: str = "",
    ) -> Model:
        """The recipe's model for one split, not yet fitted.

        split: index of the split; it is added to the seed. plan, folder, on_epoch: see ``ModelContext``.
        key: fingerprint of the run.
        """
        source = self._source(recipe)
        context = ModelContext(
            classes=self.competition.task.choices,
            targets=self.competition.task.target_count,
            ordered=self.competition.task.kind == "continuous",
            folder=folder,
            symmetries=self.competition.symmetries or "none",  # if they are not set, no recipe uses them
            plan=plan,
            seed=self.settings.seed + split,
            device=self.device,
            weights=self.settings.weights,
            source=source.path if source is not None else None,
            on_epoch=on_epoch,
            compile=self.settings.compile,
            metric=self.competition.metric,
            fingerprint=key,
            sizes=self.training_data.sizes,
            soft=self.training_data.soft[split] if self.training_data.soft else None,
        )
        return recipe.build(context)

    def _network_plan(self, model: ModelPlan, plan: Plan, split: int, at_once: int) -> NetworkPlan | None:
        """How long a network trains; None for the recipe's own epochs, and for models that are not networks.

        at_once: how many splits are trained side by side.
        """
        if not model.recipe.is_network:
            return None
        if self.settings.plan is not None:
            return self._replay(model, split)
        if self.deadline is None:
            return NetworkPlan(epochs=self.settings.epochs) if self.settings.epochs else None
        rounds = math.ceil((len(self.training_data.splits) + self._trains_again(model)) / at_once)
        one_split = (model.seconds or 0.0) / rounds
        now, left = time.monotonic(), one_split * (rounds - split // at_once) + plan.seconds_after(model)
        share = one_split / left if left > 0 else 1.0
        required = plan.models == (model,) or split > 0
        return NetworkPlan(deadline=now + share * (self.deadline - now), predictions_after=1, is_required=required)

    def _replay(self, model: ModelPlan, split: int) -> NetworkPlan:
        """The training of that split in the repeated plan. Raises UserError if the plan does not contain it."""
        if split >= len(model.fits):
            raise UserError(
                f"{self.settings.plan} comes from a run that stopped before {model.name} was trained; "
                "finish that run first, with the command that started it"
            )
        return NetworkPlan(replay=model.fits[split].segments, tier=model.fits[split].tier)

    def _write_run(
        self, model: ModelPlan, options: Options, key: str, folder: RunFolder, fitted: Fitted, begun: float
    ) -> Run:
        predictions, now = Predictions.load(folder.validation), datetime.now(UTC)
        run = Run(
            options=options,
            fingerprint=key,
            task=self.competition.task,
            image_shape=self.training_data.images.shape[1:3],
            fold_folders=tuple(fitted.kept),
            model_files=folder.model_files(),
            score=score(predictions.probabilities, predictions.known_targets, self.competition.metric),
            seconds=time.monotonic() - begun,
            parameters=fitted.models[0].parameters,
            plan=replace(model, fits=tuple(Fit(each.tier, each.trained) for each in fitted.models)),
            finished_at=now,
            requested_at=now,
            image_fit=self.training_data.sizes.fit,
            cache_size=self.settings.cache_size,
        )
        run.write(folder)
        folder.remove_checkpoints()
        return run
