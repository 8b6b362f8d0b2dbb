"""The training loop that all networks share."""

import copy
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from competition.metrics import ACCURACY, Metric
from competition.progress import Progress
from pipeline.data.augment import Augmentation, Crop
from pipeline.data.resized_images import ResizedImages
from pipeline.models.base import CHECKPOINT_FILE, HISTORY_FILE, NotTrained
from pipeline.models.fast.data_parallel import with_parallel_parts
from pipeline.models.fast.depthwise import learn_in_float32
from pipeline.models.fast.folded_prefix import with_folded_prefix
from pipeline.models.fast.predictor import Predictor
from pipeline.models.neural.batches import Batch, Batches, LabelledImages, scaled
from pipeline.models.neural.checkpoint import Checkpoint, packed, unpacked
from pipeline.models.neural.history import EpochRecord, History
from pipeline.models.neural.losses import Loss, distribution, shared_out
from pipeline.models.neural.optimisers import build_optimisers
from pipeline.models.neural.schedules import LearningRate
from pipeline.models.neural.stages import freeze, norm_weights, span_at, stage_spans, train_mode
from pipeline.models.neural.time_budget import OnEpoch, Planner, Segment, SegmentLimit
from pipeline.models.recipe import NeuralRecipe
from pipeline.runtime import distributed
from pipeline.runtime.devices import (
    compiled,
    free_unused,
    gradient_scaler,
    mixed_precision,
    moved,
    placed,
    room_for_images,
)
from pipeline.runtime.memory import is_out_of_memory

FEWEST = 2  # images of a batch, which batch norm needs
OFTEN = 10  # steps between two looks at the loss, for each of which the device must have finished its work


class NotFinite(NotTrained):
    """The loss or the weights are infinite or not a number, so that further steps would learn nothing."""


@dataclass(frozen=True)
class Validation:
    """A network's results on the validation images, named as in ``EpochRecord``."""

    validation_loss: float
    validation_accuracy: float
    validation_score: float


class Training:
    """Trains one network; saves its state in ``folder`` after every segment, so that an interrupted run can resume.

    predictor: the network, which is trained in place, with its normalisation and its final input size.
    ordered: whether neighbouring classes are alike, as intervals of a number are; see ``shared_out``.
    class_weights: see ``Loss``; None if all count the same.
    augment: maps a uint8 batch and a random generator to a uint8 batch. crop: see ``Batches``.
    on_epoch: called after every segment; an exception that it raises ends the training.
    compile: whether to compile the network.
    metric: chooses the best weights; the later ones in a tie.
    fingerprint: see ``Checkpoint``.

    All randomness of a segment comes from the seed and the segment's number, so a resumed training gives the same
    result as an uninterrupted one.
    """

    def __init__(
        self,
        predictor: Predictor,
        recipe: NeuralRecipe,
        augment: Augmentation,
        seed: int,
        folder: Path,
        on_epoch: OnEpoch | None = None,
        compile: bool = False,
        metric: Metric = ACCURACY,
        fingerprint: str = "",
        ordered: bool = False,
        class_weights: np.ndarray | None = None,
        crop: Crop | None = None,
    ) -> None:
        self.predictor, self.device = predictor, predictor.device
        self.recipe, self.augment, self.crop, self.seed = recipe, augment, crop, seed
        self.on_epoch, self.metric, self.ordered = on_epoch, metric, ordered
        self.network = placed(predictor.network, self.device)
        learn_in_float32(self.network)
        weights = None if class_weights is None else torch.from_numpy(class_weights).to(self.device)
        self.loss = Loss(recipe.label_smoothing, recipe.loss == "focal", weights)
        self.compiled = compiled(self.network, self.device) if compile else None
        self.averaged = AveragedModel(self.network, use_buffers=True) if recipe.averaging else None
        self.stage_spans = stage_spans(recipe)
        self.frozen = frozenset(name for name, weights in self.network.named_parameters() if not weights.requires_grad)
        if recipe.norms == "fixed":
            self.frozen |= norm_weights(self.network)
        self.parts = 1
        self.enter(0)
        self.scaler = gradient_scaler(self.device)
        self.history = History(folder / HISTORY_FILE)
        self.checkpoint = Checkpoint(folder / CHECKPOINT_FILE, fingerprint)
        self.segments: list[Segment] = []
        self._beginning = b""
        self._fitting: set[int] = set()
        self.best_score = metric.worst
        self.best_weights: dict[str, Tensor] = {}

    @property
    def evaluated(self) -> nn.Module:
        """The network to validate and keep: the averaged one if the recipe averages weights."""
        return self.averaged.module if self.averaged is not None else self.network

    def enter(self, stage: int) -> None:
        """Begin the stage with this index, with a new optimiser, from the current weights."""
        self.stage, span = stage, self.stage_spans[stage]
        freeze(self.network, span.stage.train, self.frozen)
        train_mode(self.network)
        self.optimisers = build_optimisers(self.network, span.stage.optimiser)
        self.learning_rate = LearningRate(span.stage.schedule, self.optimisers, span.epochs)
        self.learning_rate.multiply(1 / self.parts)

    def join_ranks(self) -> None:
        """Copy the main rank's weights to all ranks, and train this stage's weights on the images of all ranks.

        Called in each segment, so that a resumed training sums gradients in the same order as an uninterrupted one.
        """
        self.learner = distributed.wrap_ddp(self.compiled or self._fast_learner())

    def _fast_learner(self) -> nn.Module:
        """The network, computed in the fastest way that there is for this stage and this device."""
        batch, few = self.recipe.batch_size // self.parts, self.predictor.noise
        return with_parallel_parts(with_folded_prefix(self.network, self.device, few), self.device, batch, few)

    def resume(self) -> None:
        """Resume from the checkpoint in the folder, if any; see ``Checkpoint.resume``."""
        self.checkpoint.resume(self)

    def run(
        self,
        train: LabelledImages,
        validation: LabelledImages,
        segments: Iterable[Segment],
        title: str,
        limit: SegmentLimit | None = None,
        end: float | None = None,
    ) -> None:
        """Train over ``segments``, then load the weights with the best validation score into the network.

        If the loss or the weights are not finite, the training ends: with a warning if an earlier segment has left
        weights to keep, otherwise with NotFinite.
        limit: when the current segment has to end; None if each is trained as it is.
        end: of the whole training, on the clock of ``time.monotonic``, for the progress bar.
        """
        images = ResizedImages(train.images, self.device, room_for_images(self.device))
        batches = Batches(
            images,
            train.labels,
            self.augment,
            self.recipe.batch_size,
            self.seed,
            crop=self.crop,
            mix=self.recipe.mix,
            is_balanced=self.recipe.sampling == "balanced",
            soft=train.soft,
        )
        self._beginning = b"" if self.segments else packed(self)
        bar_format = Progress.SHARE
        with Progress(desc=title, total=1.0, initial=self._work_done, bar_format=bar_format, end=end) as bar:
            for segment in distributed.each_from_main(segments):
                try:
                    self._run_segment(batches, segment, validation, bar, limit)
                except NotFinite as fault:
                    self._keep_earlier_weights(title, fault, segment)
                    break
        self.network.load_state_dict(self.best_weights)

    def _keep_earlier_weights(self, title: str, fault: NotFinite, segment: Segment) -> None:
        """Print a warning that names the epoch whose weights are kept.

        Raises NotFinite if there is none; ``segments`` then holds the segment, so that a repetition fails as well.
        """
        where = f"{title}: the {fault} in epoch {len(self.segments) + 1}"
        if not self.segments:
            self.segments.append(segment)
            raise NotFinite(f"{where}; lower the learning rate") from None
        scores = [record.validation_score for record in self.history.records]
        epoch = len(scores) - scores[::-1].index(self.best_score)
        print(f"warning: {where}; the weights of epoch {epoch} are kept; lower the learning rate")

    @property
    def _work_done(self) -> float:
        return self._work_until(self.segments[-1].reached) if self.segments else 0.0

    def _work_until(self, progress: float) -> float:
        return Planner(self.recipe, 1, max(self.predictor.input_size)).work_until(progress)

    def _run_segment(
        self,
        batches: Batches,
        segment: Segment,
        validation: LabelledImages,
        bar: Progress,
        limit: SegmentLimit | None,
    ) -> None:
        """Train and validate one segment, keep the weights if they are the best so far, and save the state."""
        begun = time.monotonic()
        segment, loss, accuracy = self._train_within_memory(batches, segment, bar, limit)
        speed = segment.batches * self.recipe.batch_size / (time.monotonic() - begun)
        found = self._validate(validation)
        self.learning_rate.after_epoch(self.metric.rank(found.validation_score), found.validation_loss)
        self._keep_if_best(found.validation_score)
        self.history.records.append(self._record(segment, loss, accuracy, found, speed, begun))
        self.segments.append(segment)
        if distributed.is_main():
            self.history.write()
            self.checkpoint.save(self)
        self._beginning = b""
        if self.on_epoch is not None:
            self.on_epoch(segment.reached, self.best_score)

    def _record(
        self, segment: Segment, loss: float, accuracy: float, found: Validation, speed: float, begun: float
    ) -> EpochRecord:
        return EpochRecord(
            epoch=len(self.segments) + 1,
            size=segment.size,
            batches=segment.batches * segment.parts,
            learning_rate=self.learning_rate.rate,
            loss=loss,
            accuracy=accuracy,
            **asdict(found),
            images_per_second=speed,
            seconds=time.monotonic() - begun,
        )

    def _train_within_memory(
        self, batches: Batches, segment: Segment, bar: Progress, limit: SegmentLimit | None
    ) -> tuple[Segment, float, float]:
        """``_train``; where memory runs out, the segment begins anew with batches and learning rate halved."""
        while True:
            segment = self._begun(segment)
            try:
                return self._train(batches, segment, bar, limit)
            except Exception as error:
                if distributed.world_size() > 1 or not self.can_halve(error):
                    raise
            segment = replace(segment, parts=2 * self.parts)
            self._go_back()
            self._tell_of(segment.parts)

    def _begun(self, segment: Segment) -> Segment:
        """The segment, in batches of the size that fits; its stage is entered, with that size's learning rate."""
        if (stage := span_at(self.stage_spans, segment.start)) != self.stage:
            self.enter(stage)
        while self.parts < segment.parts:
            self.halve()
        if self.fit_in_memory(segment.size):
            self._tell_of(self.parts)
        return replace(segment, parts=self.parts)

    def _tell_of(self, parts: int) -> None:
        less = f"batches of {-(-self.recipe.batch_size // parts)} images and 1/{parts} of the learning rate"
        print(f"warning: {self.recipe.name}: memory ran out; going on with {less}")

    def fit_in_memory(self, size: int) -> bool:
        """Halve the batches until each of several ranks has memory for its part of one. Returns whether that was due.

        A training that is alone finds out as it goes. With several, the others would wait for the rank that failed, so
        that each tries a step by itself before the first one at a size.
        """
        before = self.parts
        if distributed.world_size() > 1 and size not in self._fitting:
            while any(distributed.from_each(self._is_too_large(size))):
                self.halve()
            self._fitting.add(size)
        return self.parts > before

    def _is_too_large(self, size: int) -> bool:
        """Whether a forward and a backward pass with this rank's part of a batch need more memory than there is."""
        images = -(-self.recipe.batch_size // (self.parts * distributed.world_size()))
        blank = np.zeros((images, *scaled(self.predictor.input_size, size), 3), np.uint8)
        try:
            trial = copy.deepcopy(self.network)
            with mixed_precision(self.device):
                outputs = trial(self.predictor.normalise(blank, self.device))
            outputs.float().sum().backward()
        except Exception as error:
            if not self.can_halve(error):
                raise
            return True
        return False

    def can_halve(self, error: Exception) -> bool:
        """Whether the error says that memory ran out, and smaller batches can be tried."""
        is_large = self.recipe.batch_size >= 2 * self.parts * FEWEST * distributed.world_size()
        return is_large and is_out_of_memory(error)

    def halve(self) -> None:
        """From now on, split each batch into twice as many parts, with a learning rate for each that is half as high.

        P. Goyal et al., "Accurate, Large Minibatch SGD" (arXiv:1706.02677).
        """
        free_unused(self.device)
        self.parts *= 2
        self.learning_rate.multiply(0.5)

    def _go_back(self) -> None:
        """Return to the state after the last finished segment."""
        if self.segments:
            self.checkpoint.resume(self)
        else:
            self.load_state_dict(unpacked(self._beginning))

    def _train(
        self, batches: Batches, segment: Segment, bar: Progress, limit: SegmentLimit | None
    ) -> tuple[Segment, float, float]:
        """Train one segment, or less of it if its time is over.

        Returns what was trained, and the mean loss and accuracy on the augmented training images.
        Raises NotFinite if the loss or the weights are not finite.
        """
        number = len(self.segments)
        torch.manual_seed(self.seed * 100_003 + number + 1_000_000_007 * distributed.rank())
        train_mode(self.network)
        self.join_ranks()
        totals = torch.zeros(2, device=self.device)
        seen = 0
        for step, batch in enumerate(self._batches_of(batches, segment)):
            totals += self.step(batch, segment.progress_at(step), segment)
            seen += batch.total
            bar.advance_to(self._work_until(segment.progress_at(step + 1)))
            if step % OFTEN == 0:
                loss, _ = _means(totals.clone(), seen)
                bar.set_postfix_str(self._postfix(loss), refresh=False)
            done, parts = divmod(step + 1, segment.parts)
            if limit is not None and not parts and distributed.broadcast(limit.is_over):
                limit.batches = done
                break
        segment = segment.cut_off(done)
        loss, accuracy = _means(totals, seen)
        self._check_weights()
        return segment, loss, accuracy

    def _check_weights(self) -> None:
        """Raises NotFinite if a weight of the network to keep is not finite."""
        tensors = [value for value in self.evaluated.state_dict().values() if value.is_floating_point()]
        if not torch.stack([value.isfinite().all() for value in tensors]).all():
            raise NotFinite("weights are not finite")

    def _batches_of(self, batches: Batches, segment: Segment) -> Iterator[Batch]:
        """The batches of a segment; they continue where the previous segment stopped."""
        first = sum(before.batches for before in self.segments)
        size = scaled(self.predictor.input_size, segment.size)
        steps = range(first, first + segment.batches)
        return batches.of_steps(steps, size, len(self.segments), segment.parts)

    def step(self, batch: Batch, progress: float, segment: Segment) -> Tensor:
        """Take one optimiser step. Returns float32 ``[2]``: this rank's summed loss and correct predictions."""
        labels = moved(batch.labels, self.device).flatten()
        self.learning_rate.before_step(self.stage_spans[self.stage].local(progress))
        with mixed_precision(self.device):
            logits = self.learner(self.predictor.normalise(batch.images, self.device))
        logits = logits.reshape(len(labels), -1)  # a row for each target of each image
        loss = self.loss(logits.float(), self._truth(batch, labels, logits.shape[1]))
        # The mean over the images of all ranks: DDP averages over the ranks, whose shares may differ in size.
        self._descend(loss * (len(batch.labels) * distributed.world_size() / batch.total))
        if self.averaged is not None:
            self._average(self.averaged, segment)
        correct = (logits.detach().argmax(1) == labels).sum() / self.predictor.targets
        return torch.stack([loss.detach().float() * len(batch.labels), correct])

    def _truth(self, batch: Batch, labels: Tensor, choices: int) -> Tensor:
        """What the logits are compared with, as ``Loss`` takes it. labels: of the batch, int64 ``[n * T]``."""
        if batch.soft is not None:
            truth = torch.from_numpy(batch.soft).to(self.device, non_blocking=True).reshape(-1, choices)
        else:
            truth = shared_out(labels, choices) if self.ordered else labels
        return truth if batch.mixture is None else batch.mixture.of(distribution(truth, choices))

    def _descend(self, loss: Tensor) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        for optimiser in self.optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()

    def _average(self, averaged: AveragedModel, segment: Segment) -> None:
        steps = segment.pace / (segment.end - segment.start)  # of a whole training at this segment's pace
        decay = 1 - 1 / max(2.0, self.recipe.averaging * steps)
        averaged.multi_avg_fn = get_ema_multi_avg_fn(decay)
        averaged.update_parameters(self.network)

    def _validate(self, validation: LabelledImages) -> Validation:
        """Score the validation images. Raises NotFinite if a probability is not finite."""
        distributed.share_state(self.evaluated)
        probabilities = replace(self.predictor, network=self.evaluated).predict_proba(validation.images)
        if not np.isfinite(probabilities).all():
            raise NotFinite("predictions are not finite")
        labels = validation.labels.ravel()
        choices = probabilities.reshape(len(labels), -1)  # a row for each target of each image
        loss = float(-np.log(choices[np.arange(len(labels)), labels].clip(1e-7)).mean())
        return Validation(loss, ACCURACY(choices, labels), self.metric(probabilities, validation.labels))

    def _keep_if_best(self, score: float) -> None:
        if self.recipe.keep == "last" or self.metric.rank(score) >= self.metric.rank(self.best_score):
            self.best_score = score
            self.best_weights = {k: v.detach().clone() for k, v in self.evaluated.state_dict().items()}

    def _postfix(self, loss: float) -> str:
        number, best = len(self.segments) + 1, f", val {self.best_score:.3f}" if self.segments else ""
        return f"epoch {number}, loss {loss:.3f}{best}"

    def state_dict(self) -> dict[str, Any]:
        """Everything that an interrupted training needs to resume."""
        return {
            "stage": self.stage,
            "network": self.network.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "learning_rate": self.learning_rate.state_dict(),
            "scaler": self.scaler.state_dict(),
            "segments": [asdict(segment) for segment in self.segments],
            "history": self.history.state(),
            "best_score": self.best_score,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.enter(state["stage"])
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.learning_rate.load_state_dict(state["learning_rate"])
        self.scaler.load_state_dict(state["scaler"])
        self.segments = [Segment(**segment) for segment in state["segments"]]
        self.parts = self.segments[-1].parts if self.segments else 1
        self.history.load_state(state["history"])
        self.best_score, self.best_weights = state["best_score"], state["best_weights"]


def _means(totals: Tensor, seen: int) -> tuple[float, float]:
    """The mean loss and accuracy over the images of all ranks. Raises NotFinite, on all ranks, if the loss is not."""
    loss, accuracy = (distributed.summed(totals) / seen).tolist()
    if not math.isfinite(loss):
        raise NotFinite("loss is not finite")
    return loss, accuracy
