"""NeuralNetwork: any network of a recipe, with the interface that all models share."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from competition.errors import UserError
from competition.metrics import ACCURACY, Metric
from competition.spec import Symmetries
from competition.splits import stratified_holdout, stratified_rows
from competition.storage import atomic_write, discard
from competition.task import strata
from competition.wording import printable
from pipeline.data.augment import Augmentation, Crop, View, build_augmentation, chain, resized, shifted_views, views
from pipeline.data.cache import Images, Size
from pipeline.data.image_size import ImageSizes
from pipeline.data.small_images import resized_rows, small_size
from pipeline.models.base import TIER_FILE, WEIGHTS_FILE, NotTrained
from pipeline.models.fast.normalisation import LUMA, Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.backbones import backbone
from pipeline.models.networks.pooling import with_gem
from pipeline.models.networks.pretrained import output_layer, start_from, start_from_imagenet
from pipeline.models.networks.registry import build_network, is_for_one_size
from pipeline.models.neural.batches import LabelledImages, scaled
from pipeline.models.neural.checkpoint import MISFITS
from pipeline.models.neural.losses import balanced_weights
from pipeline.models.neural.speed import Deadline, PredictionTimer, StepTimer, affordable_tier
from pipeline.models.neural.stages import budgeted, cut, stage_spans
from pipeline.models.neural.time_budget import MIN_SEGMENTS, OnEpoch, Planner, Segment, SegmentLimit
from pipeline.models.neural.training import Training
from pipeline.models.persistence import Saved, damaged
from pipeline.models.recipe import NeuralRecipe, Tier, fingerprint, is_of_library
from pipeline.runtime import distributed
from pipeline.runtime.devices import placed
from pipeline.runtime.memory import raise_shortage
from pipeline.runtime.sealed import seal, sealed_content

IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])  # mean and standard deviation of ImageNet's pixels
KIND = "network"  # in the file of a saved one
PATCH = 32  # pixels a side that most networks reduce to one
SAMPLE = 2000  # images from which the normalisation and the whitening are computed
JUDGING = 2_000  # validation images that compare the epochs of a training within a time budget
SMALL = 128**2  # pixels of an image of which so many fit in memory


@dataclass(frozen=True)
class NetworkPlan:
    """How long one network trains: exactly one of epochs, deadline and replay is set.

    epochs: number of epochs.
    deadline: on the clock of ``time.monotonic``; train as many epochs as fit, at most the recipe's.
    predictions_after: how many times the caller predicts the validation images, with all views, between the training
        and the deadline; the training leaves enough time for that.
    replay: the segments of an earlier run, to be repeated exactly.
    tier: one of the recipe's tiers; None means the recipe's own network or, with a deadline, a tier chosen by the
        measured speed.
    seed_number: index of this network among the tier's seeds, from 0; the deadline covers it and all after it.
    is_required: train at least one step even if there is no time for it.
    """

    epochs: int | None = None
    deadline: float | None = None
    predictions_after: int = 0
    replay: tuple[Segment, ...] | None = None
    tier: Tier | None = None
    seed_number: int = 0
    is_required: bool = True


@dataclass(frozen=True)
class Steps:
    """batch_size: images per step; steps_per_epoch: steps that use every image once."""

    batch_size: int
    steps_per_epoch: int

    @classmethod
    def of(cls, images: int, batch_size: int) -> Self:
        """Split a small training set into at least eight batches, so that there are steps to average over."""
        batch_size = min(batch_size, max(8, images // 8))
        return cls(batch_size, max(1, images // batch_size))


class NeuralNetwork:
    """A network with scikit-learn's interface, ``fit`` and ``predict_proba``, plus ``save`` and ``load``.

    symmetries: the flips and rotations that preserve the class.
    folder: where the training writes its checkpoint and history.csv.
    weights: a file or folder to search first for ImageNet weights, if the recipe starts from them.
    source: folder of the saved network that a recipe with ``transfer_from`` starts from.
    on_epoch, metric: see ``Training``.
    compile: whether to compile the network for training.
    sizes: see ``ModelContext``.
    fingerprint, soft: see ``ModelContext``.

    After ``fit``, trained_size and input_size are the (height, width) in pixels at which the network was trained and
    at which it predicts, trained holds the segments of its training, and best_score is the validation score of the
    weights that were kept.
    """

    trained_size: Size
    input_size: Size
    normalisation: Normalisation
    network: nn.Module
    best_score: float

    def __init__(
        self,
        recipe: NeuralRecipe,
        classes: int,
        folder: Path,
        symmetries: Symmetries = "mirror",
        plan: NetworkPlan | None = None,
        seed: int = 0,
        device: torch.device | None = None,
        weights: Path | None = None,
        source: Path | None = None,
        on_epoch: OnEpoch | None = None,
        compile: bool = False,
        metric: Metric = ACCURACY,
        fingerprint: str = "",
        targets: int = 1,
        ordered: bool = False,
        sizes: ImageSizes | None = None,
        soft: np.ndarray | None = None,
    ) -> None:
        self.recipe, self.classes, self.folder, self.symmetries = recipe, classes, folder, symmetries
        self.plan = plan or NetworkPlan(epochs=recipe.epochs)
        self.seed, self.device = seed, device or torch.device("cpu")
        self.weights, self.source, self.on_epoch, self.compile = weights, source, on_epoch, compile
        self.metric, self.fingerprint, self.targets, self.ordered = metric, fingerprint, targets, ordered
        self.sizes = sizes
        self.soft = soft
        self.tier: Tier | None = None
        self.class_weights: np.ndarray | None = None
        self.trained: tuple[Segment, ...] = ()

    def fit(self, images: Images, labels: np.ndarray, validation_images: Images, validation_labels: np.ndarray) -> Self:
        """Train on uint8 ``[N, H, W, 3]``; keep the weights with the best validation score.

        Within a time budget, and in the repetition of a training that had one, ``JUDGING`` images are enough for that.

        labels: int64 ``[N]``, or ``[N, targets]`` if there are several targets.

        A recipe with a holdout chooses the weights on a part of the training images instead. Raises UserError if a
        batch is too small for the number of processes, or if the starting weights do not fit the network; NotTrained if
        there is no time for it before the plan's deadline, or if its first loss or weights are not finite.
        """
        train = LabelledImages(images, labels, self.soft)
        validation = LabelledImages(validation_images, validation_labels)
        if self.recipe.holdout is not None:
            train, validation = held_out(train, self.recipe.holdout)
        self.trained_size, self.input_size = self._sizes(images.shape[1:3])
        sample = _sample(train.images, self.trained_size)
        self.normalisation = _normalisation(sample, self.recipe)
        if self.recipe.class_weights == "balanced":
            self.class_weights = balanced_weights(train.labels, self.classes)
        _check_parts(min(Steps.of(len(train), self.recipe.batch_size).batch_size, len(train)))
        self._take(self._choose_tier(len(train)))
        planner = self._planner(len(train))
        self.network = self._build_network()
        self._start_from_trained(sample)
        self._initialise_from(sample, planner)
        training = self._training(self.network, planner, self.compile)
        training.resume()
        if training.segments:
            print(f"{self._title()}: resumed after epoch {len(training.segments)}")
        limit = SegmentLimit() if self.plan.deadline is not None else None
        judging = validation if self.plan.epochs is not None else judging_images(validation)
        segments = self._segments(training, planner, validation, limit)
        try:
            training.run(train, judging, segments, self._title(), limit, self.plan.deadline)
        finally:
            self.trained, self.best_score = tuple(training.segments), training.best_score
        return self

    def clone(self, folder: Path, **changes: Any) -> "NeuralNetwork":
        """A network like this one, with the given arguments changed; it is not fitted yet."""
        own = (
            "recipe",
            "classes",
            "symmetries",
            "seed",
            "device",
            "weights",
            "source",
            "compile",
            "metric",
            "fingerprint",
            "targets",
            "ordered",
            "sizes",
            "soft",
        )
        return NeuralNetwork(**({name: getattr(self, name) for name in own} | {"folder": folder} | changes))

    def images_a_second(self, images: Images, count: int) -> float:
        """The speed of a training on ``count`` images like these, in the stage with the most epochs.

        It is measured at the full size, on blank images with random weights.
        """
        self.trained_size, self.input_size = self._sizes(images.shape[1:3])
        self.normalisation = Normalisation((127.5,) * 3, (127.5,) * 3)
        planner, size = self._planner(count), max(self.trained_size)
        spans = stage_spans(self.recipe)
        longest = max(range(len(spans)), key=lambda number: spans[number].epochs)
        seconds = self._step_timer(planner).seconds(self._build_network(), [size], longest)
        return planner.recipe.batch_size / seconds[size]

    def predict_proba(self, images: Images, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """Class probabilities, float32 ``[N, targets * classes]``, averaged over the recipe's views of each image.

        test_time_views: if False, only the image as it is. title: of a progress bar; None shows no bar.
        """
        return self.predictor.predict_proba(images, self._views(test_time_views), title)

    @property
    def predictor(self) -> Predictor:
        return self._predictor_of(self.network)

    def _predictor_of(self, network: nn.Module) -> Predictor:
        return Predictor(network, self.normalisation, self.input_size, self.device, self.targets)

    def _views(self, test_time_views: bool) -> list[View]:
        kinds = shifted_views if self.recipe.views == "shifts" else views
        found = kinds(self.symmetries, square=self.input_size[0] == self.input_size[1])
        return found if test_time_views and self.recipe.views != "one" else found[:1]

    @property
    def parameters(self) -> int:
        """Number of weights, including frozen ones."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def save(self, folder: Path) -> None:
        """Write model.safetensors: the weights and, in its header, everything else that ``load`` needs."""
        weights = {name: tensor.cpu().contiguous().numpy() for name, tensor in self.network.state_dict().items()}
        description = {
            "recipe": self.recipe.model_dump(),
            "classes": self.classes,
            "targets": self.targets,
            "symmetries": self.symmetries,
            "input_size": self.input_size,
            "tier": self.tier and self.tier.model_dump(),
            "normalisation": asdict(self.normalisation),
            "torch": torch.__version__,
        }
        Saved(KIND, description, weights).write(folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        """The network saved in ``folder``.

        Raises DamagedFile if the file is missing or damaged, or if another version of the pipeline wrote it.
        """
        saved = Saved.read(folder / WEIGHTS_FILE)
        try:
            return cls._restored(saved, folder, device)
        except MISFITS as error:
            raise_shortage(error)
            raise damaged(folder / WEIGHTS_FILE) from None

    @classmethod
    def _restored(cls, saved: Saved, folder: Path, device: torch.device | None) -> Self:
        description = saved.facts
        recipe = NeuralRecipe(**description["recipe"])
        sizes = {"classes": description["classes"], "targets": description["targets"]}
        model = cls(recipe, folder=folder, symmetries=description["symmetries"], device=device, **sizes)
        model.input_size = tuple(description["input_size"])
        model.tier = Tier(**description["tier"]) if description["tier"] else None
        model.normalisation = Normalisation(
            **{name: tuple(each) for name, each in description["normalisation"].items()}
        )
        network = model._build_network()
        network.load_state_dict({name: torch.from_numpy(values) for name, values in saved.arrays.items()})
        model.network = placed(network, model.device)
        return model

    def _build_network(self, width: int | None = None) -> nn.Module:
        torch.manual_seed(self.seed)
        width = width or (self.tier.width if self.tier is not None else None)
        arguments = self.recipe.network.arguments | ({"width": width} if width else {})
        channels = self.normalisation.channels
        columns = self.targets * self.classes
        name = self.recipe.network.name
        network = build_network(name, columns, self.input_size, channels, **arguments)
        return with_gem(network, name) if self.recipe.pooling == "gem" else network

    def _start_from_trained(self, sample: np.ndarray) -> None:
        """Load the weights that the recipe starts from: ImageNet's, or those of a network trained on other images."""
        if self.recipe.pretrained:
            network = self.recipe.network
            start_from_imagenet(self.network, network.name, self.weights, self.input_size, **network.arguments)
        if self.source is not None:
            self._start_from_source(self.source)
            self._adapt_to(sample)

    def _start_from_source(self, folder: Path) -> None:
        """Copy its normalisation and all its weights except the output layer, which belongs to other classes."""
        source, output = NeuralNetwork.load(folder), output_layer(self.network)
        self.normalisation = source.normalisation
        state = {k: v for k, v in source.network.state_dict().items() if not k.startswith(f"{output}.")}
        start_from(self.network, state, f"weights in {folder}", head=output)

    def _adapt_to(self, sample: np.ndarray) -> None:
        """Recompute the batch norm statistics on the new images, so that the copied filters fit them.

        Li et al. 2016, Revisiting Batch Normalization for Practical Domain Adaptation (arXiv:1603.04779).
        """
        self.network.to(self.device)
        batches = self.predictor.batches(sample)
        update_bn((self.normalisation(batch, self.device) for batch in batches), self.network)

    def _sizes(self, cached: Size) -> tuple[Size, Size]:
        """(height, width) at which the network is trained and at which it predicts. cached: of the images."""
        recipe, sizes = self.recipe, self.sizes or ImageSizes.all_as(cached)
        if recipe.input_size:
            return (recipe.input_size,) * 2, (recipe.input_size,) * 2
        found = backbone(recipe.network.name)
        if found is not None and found.takes_one_size:
            return found.input_size, found.input_size
        if is_for_one_size(recipe.network.name):  # its cost grows with the pixels as a classical model's does
            return small_size(cached), small_size(cached)
        least = recipe.min_size or 1
        trained, predicted = (scaled(cached, max(least, side)) for side in (sizes.trained, sizes.predicted))
        if is_of_library(recipe.network.name):
            return in_patches(trained), in_patches(predicted)
        return trained, predicted

    def _take(self, tier: Tier | None) -> None:
        """Set the width and the sizes; without a tier they are the recipe's."""
        self.tier = tier
        if tier is not None:
            self.trained_size, self.input_size = (
                scaled(size, round(tier.size * max(size))) for size in (self.trained_size, self.input_size)
            )

    def _initialise_from(self, sample: np.ndarray, planner: Planner) -> None:
        """Run the network's data-dependent initialisation, if it has one, on images of the first training size."""
        initialise_from = getattr(self.network, "initialise_from", None)
        if initialise_from is not None:
            few = resized(sample[::4], *scaled(self.trained_size, planner.size_at(0.0)))
            initialise_from(self.normalisation(few, torch.device("cpu")))

    def _planner(self, images: int) -> Planner:
        """images: number of training images."""
        steps = Steps.of(images, self.recipe.batch_size)
        recipe = self.recipe.model_copy(update={"batch_size": steps.batch_size})
        return Planner(recipe, steps.steps_per_epoch, max(self.trained_size))

    def _training(self, network: nn.Module, planner: Planner, compile: bool = False) -> Training:
        crop, augment = self._augmentation()
        return Training(
            self._predictor_of(network),
            planner.recipe,
            augment,
            self.seed,
            self.folder,
            on_epoch=self.on_epoch,
            compile=compile,
            metric=self.metric,
            fingerprint=self._owner(self.tier),
            ordered=self.ordered,
            class_weights=self.class_weights,
            crop=crop,
        )

    def _augmentation(self) -> tuple[Crop | None, Augmentation]:
        """The crop that comes before everything else, if the recipe has one, and what follows."""
        steps = [build_augmentation(step.name, step.arguments, self.symmetries) for step in self.recipe.augment]
        if steps and isinstance(steps[0], Crop):
            return steps[0], chain(steps[1:])
        return None, chain(steps)

    @property
    def seeds(self) -> int:
        """The number of networks in the tier's seed ensemble; 1 without a tier."""
        return self.tier.seeds if self.tier is not None else 1

    def _title(self) -> str:
        number = f" {self.plan.seed_number + 1} of {self.seeds}" if self.seeds > 1 else ""
        return f"{self.recipe.name}{number}"

    def _choose_tier(self, images: int) -> Tier | None:
        """The plan's tier, else an interrupted run's; else, with a deadline, the best tier that fits in the time."""
        tier = self.plan.tier or distributed.from_main(self._interrupted_tier)
        if tier is not None or not self.recipe.tiers or self.plan.deadline is None:
            return tier
        planner = self._planner(images)
        tier = affordable_tier(planner, self._step_timer(planner), self._build_network, self.plan.deadline)
        if distributed.is_main():
            with atomic_write(self._tier_file) as path:
                path.write_text(tier.model_dump_json(), encoding="utf-8")
                seal(path, self._owner(None))
        return tier

    def _interrupted_tier(self) -> Tier | None:
        if not self._tier_file.exists():
            return None
        content = sealed_content(self._tier_file, self._owner(None))
        if content is not None:
            return Tier(**json.loads(content))
        place = printable(self._tier_file, most=200)
        print(f"warning: {place}: damaged or of another training; the size of the network is chosen again")
        discard(self._tier_file)
        return None

    def _owner(self, tier: Tier | None) -> str:
        """The fingerprint of everything that one network's training depends on. tier: its tier, if it is chosen."""
        return fingerprint(self.fingerprint, self.recipe.model_dump(), self.seed, tier and tier.model_dump())

    @property
    def _tier_file(self) -> Path:
        return self.folder / TIER_FILE

    def _step_timer(self, planner: Planner) -> StepTimer:
        return StepTimer(lambda network: self._training(network, planner))

    def _segments(
        self, training: Training, planner: Planner, validation: LabelledImages, limit: SegmentLimit | None = None
    ) -> Iterator[Segment]:
        """The segments that are still to be trained.

        limit: when the current one has to end, if there is a deadline.
        """
        done = list(training.segments)
        if self.plan.replay is not None:
            return iter(self.plan.replay[len(done) :])
        if self.plan.deadline is None:
            epochs = self.recipe.epochs if self.plan.epochs is None else self.plan.epochs
            return islice(cut(planner.fixed(epochs), training.stage_spans), len(done), None)
        deadline = self._deadline(self.plan.deadline, validation)
        judged = len(judging_images(validation)) / len(validation)
        overhead = deadline.prediction.seconds() * judged / planner.steps_per_epoch
        seconds = self._step_timer(planner).seconds_by_stage(training, planner.sizes, overhead)
        self._check_time(self.plan.deadline, seconds, done)
        return budgeted(planner, training.stage_spans, seconds, deadline.end, done, limit)

    def _check_time(self, deadline: float, seconds: list[dict[int, float]], done: list[Segment]) -> None:
        """Raises NotTrained, on all ranks, if there is no time for a few steps.

        seconds: of a step, by stage and size.
        """
        needed = MIN_SEGMENTS * max(max(of_sizes.values()) for of_sizes in seconds)
        if self.plan.is_required or done:
            return
        if distributed.broadcast(deadline - time.monotonic() < needed):
            raise NotTrained(f"{self.recipe.name}: too little of the budget is left for it; give more with --budget")

    def _deadline(self, deadline: float, validation: LabelledImages) -> Deadline:
        """When this network's training has to end, so that the networks of the remaining seeds get as much time."""
        return Deadline(
            begun=time.monotonic(),
            deadline=deadline,
            trainings_left=self.seeds - self.plan.seed_number,
            predictions=self.plan.predictions_after * self.seeds * len(self._views(True)),
            prediction=PredictionTimer(self.predictor, validation.images, distributed.world_size()),
        )


def held_out(train: LabelledImages, share: float) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a stratified ``share``, in (0, 1), with the seed 42 of the reports. Returns (rest, held-out images)."""
    rest, held = stratified_holdout(strata(train.labels), share, seed=42)
    return train.take(rest), train.take(held)


def judging_images(validation: LabelledImages) -> LabelledImages:
    """At most ``JUDGING`` of the validation images, drawn class by class, always the same ones."""
    if len(validation) <= JUDGING:
        return validation
    return validation.take(stratified_rows(strata(validation.labels), JUDGING, seed=0))


def in_patches(size: Size) -> Size:
    """The size in whole patches of ``PATCH`` pixels a side, as networks with several resolutions need it."""
    height, width = (max(1, round(side / PATCH)) * PATCH for side in size)
    return height, width


def _check_parts(batch: int) -> None:
    """Raises UserError if a batch has fewer than two images per rank, the least that batch norm can train on."""
    ranks = distributed.world_size()
    if ranks > 1 and batch < 2 * ranks:
        raise UserError(
            f"batches of {batch} images are too small for {ranks} processes, which need two images each; "
            "start fewer processes with torchrun's --nproc_per_node and --nnodes"
        )


def _sample(images: Images, size: Size) -> np.ndarray:
    """At most SAMPLE images, evenly spaced over all of them; large ones at the given size, and fewer of them."""
    shape = images.shape[1:3]
    count = SAMPLE if prod(shape) <= SMALL else max(1, min(SAMPLE, SAMPLE * SMALL // prod(size)))
    rows = np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)
    return images[rows] if prod(shape) <= SMALL else resized_rows(images, rows, size)


def _normalisation(sample: np.ndarray, recipe: NeuralRecipe) -> Normalisation:
    if recipe.normalise == "pretrained":
        return _pretrained_normalisation(recipe)
    fixed = {"unit": ([0.0] * 3, [255.0] * 3), "symmetric": ([127.5] * 3, [127.5] * 3), "imagenet": IMAGENET}
    mean, std = fixed.get(recipe.normalise) or _mean_and_std(sample)
    if recipe.grey and (sample == sample[..., :1]).all():
        mean, std = [float(np.dot(mean, LUMA))], [float(np.dot(std, LUMA))]
    return Normalisation(tuple(map(float, mean)), tuple(map(float, std)))


def _mean_and_std(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, at least 1, of each channel; of large images one by one, as float64 needs room."""
    if prod(sample.shape[1:3]) <= SMALL:
        return sample.mean((0, 1, 2)), sample.std((0, 1, 2)).clip(min=1.0)
    count = prod(sample.shape[:3])
    mean = sample.sum((0, 1, 2), dtype=np.int64) / count
    squares = sum(np.square(image, dtype=np.int64).sum((0, 1)) for image in sample)
    return mean, np.sqrt(squares / count - mean**2).clip(min=1.0)


def _pretrained_normalisation(recipe: NeuralRecipe) -> Normalisation:
    found = backbone(recipe.network.name)
    if found is None:
        fault = f'normalise = "pretrained": no weights are published for the network {recipe.network.name}'
        raise UserError(f"{recipe.name}: {fault}; choose another value")
    return found.normalisation
