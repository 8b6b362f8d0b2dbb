"""NeuralNetwork: any network of a recipe behind the contract that all models share."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import update_bn

from competition.errors import UserError
from competition.spec import Symmetries
from competition.splits import stratified_holdout
from competition.storage import atomic_write
from pipeline.data.augment import Augmentation, View, build_augmentation, chain, resized, shifted_views, views
from pipeline.models.fast.inference import batch_size, outputs, predict, prepared, resized_batches
from pipeline.models.fast.normalisation import LUMA, Normalisation
from pipeline.models.networks.pretrained import output_layer, start_from, start_from_imagenet
from pipeline.models.networks.registry import build_network
from pipeline.models.neural import time_budget
from pipeline.models.neural.stages import cut, freeze, span_at
from pipeline.models.neural.time_budget import Epoch, OnEpoch
from pipeline.models.neural.training import LabelledImages, Training, of_another_version, scaled
from pipeline.models.recipe import NeuralRecipe, Tier
from pipeline.runtime import distributed

SMALLEST_SIDE = 32  # no time budget makes images smaller than that, unless they are
IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])  # mean and standard deviation of its pixels
SAMPLE = 2000  # images that the normalisation and the whitening are computed from


@dataclass(frozen=True)
class NetworkPlan:
    """How long one network trains: exactly one of epochs, deadline and replay says so.

    epochs: whole passes.
    deadline: on the clock of ``time.monotonic``; as many passes as fit, at most the recipe's.
    replay: the epochs of an earlier run, repeated to the letter.
    tier: of the recipe's tiers; None leaves the recipe's network or, with a deadline, what the speed allows.
    seed_number: which of the tier's seeds it is, from 0; the deadline is for this one and all after it.
    """

    epochs: int | None = None
    deadline: float | None = None
    replay: tuple[Epoch, ...] | None = None
    tier: Tier | None = None
    seed_number: int = 0


@dataclass(frozen=True)
class Steps:
    """batch_size: images a step; a_pass: steps that see every image once."""

    batch_size: int
    steps_per_epoch: int

    @classmethod
    def of(cls, images: int, batch_size: int) -> Self:
        """Few images are parted into at least eight batches, so that there is something to average."""
        batch_size = min(batch_size, max(8, images // 8))
        return cls(batch_size, max(1, images // batch_size))


class NeuralNetwork:
    """A network with scikit-learn's contract, ``fit`` and ``predict_proba``, plus ``save`` and ``load``.

    symmetries: the flips and turns that leave a class what it is.
    folder: where the training leaves its checkpoint and history.csv.
    weights: a file or folder where ImageNet weights are looked for first, if the recipe starts from them.
    source: folder of the saved network that a recipe with ``transfer_from`` starts from.
    on_epoch: see ``Training``.
    compile: the network is compiled for its training.
    """

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
    ) -> None:
        self.recipe, self.classes, self.folder, self.symmetries = recipe, classes, folder, symmetries
        self.plan = plan or NetworkPlan(epochs=recipe.epochs)
        self.seed, self.device = seed, device or torch.device("cpu")
        self.weights, self.source, self.on_epoch, self.compile = weights, source, on_epoch, compile
        self.tier: Tier | None = None
        self.trained: tuple[Epoch, ...] = ()

    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        validation_images: np.ndarray,
        validation_labels: np.ndarray,
    ) -> Self:
        """Train on uint8 ``[N, H, W, 3]`` with labels int64 ``[N]``; validation chooses the checkpoint."""
        train = LabelledImages(images, labels)
        validation = LabelledImages(validation_images, validation_labels)
        if self.recipe.holdout is not None:
            train, validation = held_out(train, self.recipe.holdout)
        sample = _sample(train.images)
        self.shape = (self.recipe.input_size,) * 2 if self.recipe.input_size else images.shape[1:3]
        self.normalisation = _normalisation(sample, self.recipe)
        steps = Steps.of(len(train), self.recipe.batch_size)
        _check_parts(min(steps.batch_size, len(train)))
        self._take(self.plan.tier or distributed.from_main(self._interrupted_tier) or self._tier_that_fits(steps))
        self.network = self._build_network()
        self._start_from_trained(sample)
        self._initialise_from(sample)
        training = self._training(self.network, steps, self.compile)
        training.resume()
        training.run(train, validation, self._epochs(training, steps, validation), self._title())
        self.trained, self.best_accuracy = tuple(training.epochs), training.best_accuracy
        return self

    def clone(self, folder: Path, **changes) -> "NeuralNetwork":
        """A network that differs from this one in what is given, yet to be fitted."""
        same = {"recipe": self.recipe, "symmetries": self.symmetries, "seed": self.seed, "device": self.device}
        same |= {"weights": self.weights, "source": self.source, "compile": self.compile}
        return NeuralNetwork(classes=self.classes, folder=folder, **(same | changes))

    def predict_proba(self, images: np.ndarray, test_time_views: bool = True, title: str | None = None) -> np.ndarray:
        """float32 ``[N, classes]``, averaged over the recipe's views of each image."""
        kinds = self._views(test_time_views)
        return predict(self.network, images, self.normalisation, self.shape, self.device, kinds, title)

    def _views(self, test_time_views: bool) -> list[View]:
        kinds = shifted_views if self.recipe.views == "shifts" else views
        found = kinds(self.symmetries, square=self.shape[0] == self.shape[1])
        return found if test_time_views and self.recipe.views != "one" else found[:1]

    @property
    def parameters(self) -> int:
        """Number of weights, the frozen ones included."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def save(self, folder: Path) -> None:
        """Write model.safetensors and model.json, which says all that ``load`` has to know."""
        weights = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        with atomic_write(folder / "model.safetensors") as path:
            save_file(weights, path)
        description = {
            "recipe": self.recipe.model_dump(),
            "classes": self.classes,
            "symmetries": self.symmetries,
            "shape": self.shape,
            "tier": self.tier and self.tier.model_dump(),
            "normalisation": asdict(self.normalisation),
            "torch": torch.__version__,
        }
        with atomic_write(folder / "model.json") as path:
            path.write_text(json.dumps(description, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> Self:
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        recipe = NeuralRecipe(**description["recipe"])
        model = cls(recipe, description["classes"], folder, description["symmetries"], device=device)
        model.shape = tuple(description["shape"])
        model.tier = Tier(**description["tier"]) if description["tier"] else None
        model.normalisation = Normalisation(**description["normalisation"])
        network = model._build_network()
        _fill(network, folder / "model.safetensors")
        model.network = network.to(model.device, memory_format=torch.channels_last)
        return model

    def _build_network(self, width: int | None = None) -> nn.Module:
        torch.manual_seed(self.seed)
        arguments = self.recipe.network.arguments
        if width is not None or self.tier is not None:
            arguments["width"] = width or self.tier.width
        channels = self.normalisation.channels
        return build_network(self.recipe.network.name, self.classes, self.shape, channels, **arguments)

    def _start_from_trained(self, sample: np.ndarray) -> None:
        """Take over what the recipe starts from: ImageNet weights, or a network trained on other images."""
        if self.recipe.pretrained:
            start_from_imagenet(self.network, self.recipe.network.name, self.weights)
        if self.recipe.transfer_from is not None:
            self._start_from_source()
            self._adapt_to(sample)

    def _start_from_source(self) -> None:
        """All but the output layer, as its classes are others, and how its images were normalised."""
        source, output = NeuralNetwork.load(self.source), output_layer(self.network)
        self.normalisation = source.normalisation
        state = {k: v for k, v in source.network.state_dict().items() if not k.startswith(f"{output}.")}
        start_from(self.network, state, f"weights in {self.source}", head=output)

    def _adapt_to(self, sample: np.ndarray) -> None:
        """Give batch norms the averages of the images that the network is now for, so that its filters fit these.

        Li et al. 2016, Revisiting Batch Normalization for Practical Domain Adaptation (arXiv:1603.04779).
        """
        self.network.to(self.device)
        parts = resized_batches(sample, self.shape)
        update_bn((self.normalisation(part, self.device) for part in parts), self.network)

    def _take(self, tier: Tier | None) -> None:
        """Settle width and input size; without a tier they are the recipe's."""
        self.tier = tier
        if tier is not None:
            self.shape = scaled(self.shape, round(tier.size * max(self.shape)))

    def _initialise_from(self, sample: np.ndarray) -> None:
        """Let a network that wants to see images before it is trained see some."""
        if hasattr(self.network, "initialise_from"):
            small = scaled(self.shape, time_budget.size_at(0.0, self.recipe, max(self.shape)))
            few = resized(sample[::4], *small)
            self.network.initialise_from(self.normalisation(few, torch.device("cpu")))

    def _training(self, network: nn.Module, steps: Steps, compile: bool = False) -> Training:
        return Training(
            network=network,
            recipe=self.recipe.model_copy(update={"batch_size": steps.batch_size}),
            normalise=self.normalisation,
            augment=self._augmentation(),
            full=self.shape,
            device=self.device,
            seed=self.seed,
            folder=self.folder,
            on_epoch=self.on_epoch,
            compile=compile,
        )

    def _augmentation(self) -> Augmentation:
        steps = [(step.name, step.arguments) for step in self.recipe.augment]
        return chain([build_augmentation(name, arguments, self.symmetries) for name, arguments in steps])

    def _epochs(self, training: Training, steps: Steps, validation: LabelledImages) -> Iterator[Epoch]:
        done, full = training.epochs, max(self.shape)
        if self.plan.replay is not None:
            return iter(self.plan.replay[len(done) :])
        if self.plan.deadline is None:
            epochs = time_budget.fixed_epochs(self.recipe, self.plan.epochs, steps.steps_per_epoch, full)
            return islice(cut(epochs, training.stage_spans), len(done), None)
        begun, ranks = time.monotonic(), distributed.world_size()  # which is 1 while the main one asks for epochs
        evaluation = self._seconds_of_evaluation(validation.images, ranks)
        speeds = self._speeds(training, steps, evaluation / steps.steps_per_epoch)
        return self._budgeted_epochs(training, steps, speeds, partial(self._end, begun, validation.images, ranks))

    @property
    def seeds(self) -> int:
        """How many networks its tier asks for."""
        return self.tier.seeds if self.tier is not None else 1

    def _title(self) -> str:
        number = f" {self.plan.seed_number + 1} of {self.seeds}" if self.seeds > 1 else ""
        return f"{self.recipe.name}{number}"

    def _end(self, begun: float, images: np.ndarray, ranks: int) -> float:
        """When this member, which began then, has to end.

        Those after it get as long, and then there is time to predict the images with every member; how much, is
        measured anew each time, as a machine that others use, too, may be slow for a while.
        """
        predicting = self._seconds_of_evaluation(images, ranks) * len(self._views(True)) * self.seeds
        return begun + (self.plan.deadline - predicting - begun) / (self.seeds - self.plan.seed_number)

    def _speeds(self, training: Training, steps: Steps, overhead: float) -> list[dict[int, float]]:
        """Measured seconds a batch for each image size, stage by stage.

        overhead: seconds that validation adds to each batch.
        """
        full = max(self.shape)
        sizes = {time_budget.size_at(share, self.recipe, full) for share in np.linspace(0, 0.999, 50)} | {full}
        network = copy.deepcopy(self.network)
        freeze(network, "all", training.frozen)  # a trial takes what is frozen from the start for frozen in all stages
        return [
            {size: self._seconds_a_batch(network, steps, size, stage) + overhead for size in sizes}
            for stage in range(len(training.stage_spans))
        ]

    def _budgeted_epochs(
        self, training: Training, steps: Steps, speeds: list[dict[int, float]], end: Callable[[], float]
    ) -> Iterator[Epoch]:
        """Stage after stage, each with its share of the time until ``end()``, by its epochs and measured speed."""
        full, done = max(self.shape), list(training.epochs)
        work = [span.epochs * seconds[full] for span, seconds in zip(training.stage_spans, speeds, strict=True)]
        for number, (span, seconds) in enumerate(zip(training.stage_spans, speeds, strict=True)):
            recipe = self.recipe.model_copy(update={"epochs": span.epochs})
            before = [span.inside(epoch) for epoch in done if span_at(training.stage_spans, epoch.start) == number]
            now = time.monotonic()
            deadline = now + (end() - now) * work[number] / sum(work[number:])
            at_least = max(1, round(time_budget.EPOCHS_AT_LEAST * work[number] / sum(work)))
            for epoch in time_budget.budgeted_epochs(
                recipe, steps.steps_per_epoch, full, seconds, deadline, before, at_least
            ):
                yield span.outside(epoch)

    def _interrupted_tier(self) -> Tier | None:
        path = self.folder / "tier.json"
        return Tier(**json.loads(path.read_text())) if path.is_file() else None

    def _tier_that_fits(self, steps: Steps) -> Tier | None:
        """The dearest tier of the recipe's tiers whose seeds still see enough images before the deadline."""
        if not self.recipe.tiers or self.plan.deadline is None:
            return None
        tiers = [tier for tier in self.recipe.tiers if tier.size * max(self.shape) >= SMALLEST_SIDE or tier.size == 1]
        least = max(self.recipe.min_epochs, self.recipe.min_images / (steps.steps_per_epoch * steps.batch_size))
        a_batch = cache(lambda width, size: self._mean_seconds_a_batch(self._build_network(width), steps, size))
        chosen = tiers[0]
        for tier in tiers[1:]:
            needed = tier.seeds * max(least, tier.min_epochs) * steps.steps_per_epoch * a_batch(tier.width, tier.size)
            if distributed.broadcast(needed > self.plan.deadline - time.monotonic()):
                break
            chosen = tier
        if distributed.is_main():
            with atomic_write(self.folder / "tier.json") as path:
                path.write_text(chosen.model_dump_json())
        return chosen

    def _seconds_of_evaluation(self, images: np.ndarray, ranks: int) -> float:
        """Seconds of one view of the images, if so many ranks share them.

        By the measure of a few of them, the second time that the prepared network sees them: the first warms it up.
        """
        few, begun = images[: batch_size(self.shape)], time.monotonic()
        network = prepared(self.network, self.device)
        preparing = time.monotonic() - begun
        for _ in range(2):
            begun = time.monotonic()
            for answers in outputs(network, few, self.normalisation, self.shape, self.device):
                answers.cpu()  # waits for a GPU
        shared = len(images) / len(few) / ranks
        return preparing + (time.monotonic() - begun) * shared

    def _mean_seconds_a_batch(self, network: nn.Module, steps: Steps, share: float) -> float:
        """Over the training, of images of that share of the full size; measured at one size, the others by area."""
        sizes = share * np.array(
            [time_budget.size_at(point, self.recipe, max(self.shape)) for point in np.arange(0.05, 1, 0.1)]
        )
        middle = round(np.median(sizes))
        return self._seconds_a_batch(network, steps, middle) * float(np.mean((sizes / middle) ** 2))

    def _seconds_a_batch(self, network: nn.Module, steps: Steps, size: int, stage: int = 0) -> float:
        """Seconds of one step of the optimiser, the better of two after a first one that warms up.

        All ranks step, and the main one measures.
        """
        trial = self._training(copy.deepcopy(network), steps)
        trial.enter(stage)
        trial.join_ranks()
        labels = np.zeros(steps.batch_size, np.int64)[distributed.share(steps.batch_size)]
        images = np.zeros((len(labels), *scaled(self.shape, size), 3), np.uint8)
        epoch = Epoch(size, 1, 0.0, 1.0)
        seconds = []
        for _ in range(3):
            begun = time.monotonic()
            start = trial.stage_spans[stage].start
            trial.step(images, labels, steps.batch_size, start, epoch).sum().item()  # item waits for a GPU
            seconds.append(time.monotonic() - begun)
        return distributed.broadcast(min(seconds))


def _fill(network: nn.Module, path: Path) -> None:
    """Raises UserError where the weights at ``path`` are not those of the network."""
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError:
        raise of_another_version(path) from None


def held_out(train: LabelledImages, share: float) -> tuple[LabelledImages, LabelledImages]:
    """Part ``train`` into the rest and a stratified ``share``, by the seed 42 that the reports used."""
    rest, held = stratified_holdout(train.labels, share, seed=42)
    return train.take(rest), train.take(held)


def _check_parts(batch: int) -> None:
    """Raises UserError where a batch of that many images has not two for each rank, as batch norm needs."""
    ranks = distributed.world_size()
    if ranks > 1 and batch < 2 * ranks:
        raise UserError(
            f"batches of {batch} images are too small to be shared by {ranks} processes; "
            "start fewer with torchrun's --nproc_per_node and --nnodes"
        )


def _sample(images: np.ndarray) -> np.ndarray:
    """At most SAMPLE images, evenly spread."""
    return images[np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(np.int64)]


def _normalisation(sample: np.ndarray, recipe: NeuralRecipe) -> Normalisation:
    fixed = {"unit": ([0.0] * 3, [255.0] * 3), "symmetric": ([127.5] * 3, [127.5] * 3), "imagenet": IMAGENET}
    mean, std = fixed.get(recipe.normalise) or (sample.mean((0, 1, 2)), sample.std((0, 1, 2)).clip(min=1.0))
    if recipe.grey and (sample == sample[..., :1]).all():
        mean, std = [float(np.dot(mean, LUMA))], [float(np.dot(std, LUMA))]
    return Normalisation(tuple(map(float, mean)), tuple(map(float, std)))
