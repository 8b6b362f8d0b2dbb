"""The training loop: one for all networks."""

import csv
import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from competition.errors import UserError
from competition.storage import atomic_write
from pipeline.data.augment import Augmentation
from pipeline.data.cache import ImageCache, rows_of
from pipeline.data.resized_images import ResizedImages
from pipeline.models.fast.depthwise import learn_in_float32
from pipeline.models.fast.folded_prefix import with_folded_prefix
from pipeline.models.fast.inference import predict
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.prefetch import prefetched
from pipeline.models.neural.optimisers import build_optimisers
from pipeline.models.neural.schedules import LearningRate
from pipeline.models.neural.stages import freeze, span_at, stage_spans, train_mode
from pipeline.models.neural.time_budget import Epoch, OnEpoch
from pipeline.models.recipe import NeuralRecipe
from pipeline.runtime import distributed
from pipeline.runtime.devices import compiled, mixed_precision, room_for_images


@dataclass(frozen=True)
class EpochRecord:
    """One row of history.csv."""

    epoch: int
    size: int
    batches: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 ``[N, H, W, 3]``, an array or a cache; labels: int64 ``[N]``."""

    images: np.ndarray | ImageCache
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> "LabelledImages":
        """The given rows; of a cache without a copy."""
        return LabelledImages(rows_of(self.images, rows), self.labels[rows])


class Training:
    """Trains one network; after every epoch its state lies in ``folder`` and an interrupted run goes on there.

    augment: uint8 batch and generator to uint8 batch.
    full: pixels (height, width) that the network takes at the end of the training and in evaluation.
    on_epoch: called after every epoch; what it raises ends the training.
    compile: the network is compiled.
    All randomness of an epoch comes from (seed, number of the epoch), so resumed equals uninterrupted.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: NeuralRecipe,
        normalise: Normalisation,
        augment: Augmentation,
        full: tuple[int, int],
        device: torch.device,
        seed: int,
        folder: Path,
        on_epoch: OnEpoch | None = None,
        compile: bool = False,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)
        learn_in_float32(self.network)
        self.compiled = compiled(self.network, device) if compile else None
        self.recipe, self.normalise, self.augment = recipe, normalise, augment
        self.full, self.device, self.seed, self.folder = full, device, seed, folder
        self.on_epoch = on_epoch
        self.averaged = AveragedModel(self.network, use_buffers=True) if recipe.averaging else None
        self.stage_spans = stage_spans(recipe)
        self.frozen = frozenset(name for name, weights in network.named_parameters() if not weights.requires_grad)
        self.enter(0)
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.epochs: list[Epoch] = []
        self.history: list[EpochRecord] = []
        self.best_accuracy = -1.0
        self.best_weights: dict[str, Tensor] = {}

    @property
    def evaluated(self) -> nn.Module:
        """The network that validation and the checkpoint see: the averaged one where there is one."""
        return self.averaged.module if self.averaged is not None else self.network

    def enter(self, stage: int) -> None:
        """Begin the stage of that number, with a new optimiser, on the weights as they are."""
        self.stage, span = stage, self.stage_spans[stage]
        freeze(self.network, span.stage.train, self.frozen)
        train_mode(self.network)
        self.optimisers = build_optimisers(self.network, span.stage.optimiser)
        self.learning_rate = LearningRate(span.stage.schedule, self.optimisers, span.epochs)

    def join_ranks(self) -> None:
        """Begin with the main rank's weights, and learn what this stage lets learn from all ranks' images.

        Anew in each epoch, so that a resumed training sums gradients in the same order as an uninterrupted one.
        """
        learner = self.compiled or with_folded_prefix(self.network, self.device)
        self.learner = distributed.wrap_ddp(learner)

    def run(self, train: LabelledImages, validation: LabelledImages, epochs: Iterable[Epoch], title: str) -> None:
        """Train over ``epochs`` and leave the best-on-validation weights in the network."""
        done = self.epochs[-1].end if self.epochs else 0.0
        train = replace(train, images=ResizedImages(train.images, self.device, room_for_images(self.device)))
        with tqdm(total=1 + 1e-9, initial=done, desc=title, bar_format=BAR, leave=False) as bar:
            for epoch in distributed.each_from_main(epochs):
                begun = time.monotonic()
                if (stage := span_at(self.stage_spans, epoch.start)) != self.stage:
                    self.enter(stage)
                loss, accuracy = self._train_epoch(train, epoch, bar)
                speed = epoch.batches * self.recipe.batch_size / (time.monotonic() - begun)
                self._close_epoch(epoch, loss, accuracy, validation, begun, speed)
                if distributed.is_main():
                    self.save_state()
                if self.on_epoch is not None:
                    self.on_epoch(epoch.end, self.best_accuracy)
        self.network.load_state_dict(self.best_weights)

    def _train_epoch(self, train: LabelledImages, epoch: Epoch, bar: tqdm) -> tuple[float, float]:
        """Mean loss and accuracy on the augmented training images."""
        number = len(self.epochs)
        torch.manual_seed(self.seed * 100_003 + number + 1_000_000_007 * distributed.rank())
        train_mode(self.network)
        self.join_ranks()
        totals = torch.zeros(2, device=self.device)
        seen, begun = 0, time.monotonic()
        for step, (images, labels, batch) in enumerate(prefetched(self._batches(train, epoch, number))):
            progress = epoch.start + (epoch.end - epoch.start) * step / epoch.batches
            totals += self.step(images, labels, batch, progress, epoch)
            seen += batch
            bar.update((epoch.end - epoch.start) / epoch.batches)
            if step % 10 == 0:
                loss, accuracy = (totals * distributed.world_size() / seen).tolist()
                speed = seen / (time.monotonic() - begun)
                bar.set_postfix_str(self._postfix(number, epoch, loss, accuracy, speed), refresh=False)
        loss, accuracy = (distributed.summed(totals) / seen).tolist()
        return loss, accuracy

    def step(self, images: np.ndarray, labels: np.ndarray, batch: int, progress: float, epoch: Epoch) -> Tensor:
        """One optimiser step on this rank's part of a uint8 batch. Returns its summed loss and count of right answers.

        batch: images in the parts of all ranks, over which the gradient is to be the mean.
        """
        targets = torch.from_numpy(labels).to(self.device, non_blocking=True)
        self.learning_rate.before_step(self.stage_spans[self.stage].local(progress))
        with mixed_precision(self.device):
            logits = self.learner(self.normalise(images, self.device))
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.recipe.label_smoothing)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss * (len(labels) * distributed.world_size() / batch)).backward()
        for optimiser in self.optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()
        if self.averaged is not None:
            self._average(epoch)
        correct = (logits.detach().argmax(1) == targets).sum()
        return torch.stack([loss.detach().float() * len(labels), correct])

    def _average(self, epoch: Epoch) -> None:
        steps = epoch.batches / (epoch.end - epoch.start)
        decay = 1 - 1 / max(2.0, self.recipe.averaging * steps)
        self.averaged.multi_avg_fn = get_ema_multi_avg_fn(decay)
        self.averaged.update_parameters(self.network)

    def _batches(
        self, train: LabelledImages, epoch: Epoch, number: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """This rank's part of the resized and augmented uint8 batches of one epoch, and how many images all parts have.

        An epoch that is shorter than a pass leaves off where the next one goes on, so that every image is seen
        once before any is seen again.
        """
        rng = np.random.default_rng((self.seed, number, distributed.rank()))
        size, first = self.recipe.batch_size, sum(epoch.batches for epoch in self.epochs)
        steps_per_epoch = max(1, len(train) // size)
        order = None
        for step in range(first, first + epoch.batches):
            if order is None or step % steps_per_epoch == 0:
                order = np.random.default_rng((self.seed, step // steps_per_epoch, 0)).permutation(len(train))
            batch = order[step % steps_per_epoch * size :][:size]
            rows = np.sort(batch[distributed.share(len(batch))])
            images = train.images.batch(rows, *scaled(self.full, epoch.size))
            yield self.augment(images, rng), train.labels[rows], len(batch)

    def _close_epoch(
        self,
        epoch: Epoch,
        loss: float,
        accuracy: float,
        validation: LabelledImages,
        begun: float,
        speed: float,
    ) -> None:
        """Validate, keep the weights if they are the best so far, and write the epoch down."""
        distributed.share_state(self.evaluated)
        probabilities = predict(self.evaluated, validation.images, self.normalise, self.full, self.device)
        truth = probabilities[np.arange(len(validation)), validation.labels]
        validation_accuracy = float((probabilities.argmax(1) == validation.labels).mean())
        validation_loss = float(-np.log(truth.clip(1e-7)).mean())
        self.learning_rate.after_epoch(validation_accuracy, validation_loss)
        if validation_accuracy >= self.best_accuracy:
            self.best_accuracy = validation_accuracy
            self.best_weights = {k: v.detach().clone() for k, v in self.evaluated.state_dict().items()}
        record = EpochRecord(
            epoch=len(self.epochs) + 1,
            size=epoch.size,
            batches=epoch.batches,
            learning_rate=self.learning_rate.rate,
            loss=loss,
            accuracy=accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            images_per_second=speed,
            seconds=time.monotonic() - begun,
        )
        self.epochs.append(epoch)
        self.history.append(record)
        if distributed.is_main():
            self._write_history()

    def _postfix(self, number: int, epoch: Epoch, loss: float, accuracy: float, speed: float) -> str:
        best = f", val {self.best_accuracy:.3f}" if self.history else ""
        return f"epoch {number + 1}, {epoch.size} px, loss {loss:.3f}, acc {accuracy:.3f}{best}, {speed:,.0f} img/s"

    def _write_history(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(asdict(self.history[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _short(v) for k, v in asdict(record).items()} for record in self.history)
        with atomic_write(self.folder / "history.csv") as path:
            path.write_text(text.getvalue(), encoding="utf-8")

    def save_state(self) -> None:
        """Write all that an interrupted training needs to go on."""
        state = {
            "stage": self.stage,
            "network": self.network.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "learning_rate": self.learning_rate.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "history": [asdict(record) for record in self.history],
            "best_accuracy": self.best_accuracy,
            "best_weights": self.best_weights,
        }
        with atomic_write(self._checkpoint) as path:
            torch.save(state, path)

    def resume(self) -> None:
        """Take up the state that an interrupted run left in the folder, if it left one.

        Raises UserError where that was of another network.
        """
        state = distributed.from_main(self._saved_state)
        if state is None:
            return
        try:
            self._take_up(state)
        except (RuntimeError, LookupError, ValueError, TypeError):
            raise of_another_version(self._checkpoint) from None

    def _take_up(self, state: dict) -> None:
        self.enter(state["stage"])
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.learning_rate.load_state_dict(state["learning_rate"])
        self.scaler.load_state_dict(state["scaler"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.best_accuracy, self.best_weights = state["best_accuracy"], state["best_weights"]

    def _saved_state(self) -> dict | None:
        path = self._checkpoint
        return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"


def of_another_version(path: Path) -> UserError:
    """The error for what was left by a pipeline whose networks had another shape."""
    return UserError(f"{path}: another version of the pipeline wrote it; train again with --fresh")


BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}"


def _short(value: float | int) -> float | int:
    return round(value, 6) if isinstance(value, float) else value


def scaled(full: tuple[int, int], size: int) -> tuple[int, int]:
    """(height, width) in the proportions of ``full`` with the longer side ``size``, none scaled below 8."""
    height, width = (max(min(8, side), round(side * size / max(full))) for side in full)
    return height, width
