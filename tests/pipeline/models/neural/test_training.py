"""The training loop: what it learns, what it leaves behind, and that resumed equals uninterrupted."""

import csv
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from competition.errors import UserError
from competition.metrics import ACCURACY, LOG_LOSS, Metric
from pipeline.data.augment import chain, shift, symmetric
from pipeline.models.base import NotTrained
from pipeline.models.fast import data_parallel
from pipeline.models.fast.normalisation import Normalisation
from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.registry import build_network
from pipeline.models.neural import training as loop
from pipeline.models.neural.batches import LabelledImages
from pipeline.models.neural.time_budget import Planner, Segment, SegmentLimit
from pipeline.models.neural.training import Training
from pipeline.models.recipe import NeuralRecipe, Optimiser

CPU = torch.device("cpu")
TO_UNIT = Normalisation((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
BATCH = 16
TINTS = np.array([[150, 0, 0], [0, 150, 0], [0, 0, 150], [75, 75, 75]])
PROTOCOLS = {
    "muon, one cycle, averaged": {
        "optimiser": {"name": "muon", "lr": 0.1, "momentum": 0.6},
        "schedule": {"name": "one-cycle"},
        "averaging": 0.1,
        "label_smoothing": 0.1,
        "growing": (0.5, 1.0),
    },
    "adam, plateau": {
        "optimiser": {"name": "adam", "lr": 0.003},
        "schedule": {"name": "plateau", "factor": 0.5, "patience": 1},
    },
    "sgd, constant": {"optimiser": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "constant"}},
    "adam, mixed": {
        "optimiser": {"name": "adam", "lr": 0.003},
        "schedule": {"name": "one-cycle"},
        "mix": {"mixup": 0.4, "cutmix": 1.0, "share": 0.5},
        "loss": "focal",
        "class_weights": "balanced",
        "sampling": "balanced",
    },
}


def draw(count: int, seed: int) -> LabelledImages:
    """A tint for each class, in noise."""
    labels = np.arange(count) % len(TINTS)
    noise = np.random.default_rng(seed).integers(0, 96, (count, 16, 16, 3))
    return LabelledImages((TINTS[labels, None, None] + noise).astype(np.uint8), labels)


TRAIN, VALIDATION = draw(64, seed=1), draw(24, seed=2)


def protocol(name: str = "muon, one cycle, averaged") -> NeuralRecipe:
    network = {"name": "sprint", "width": 8}
    return NeuralRecipe(
        name="small", summary="", kind="neural", network=network, epochs=4, batch_size=BATCH, **PROTOCOLS[name]
    )


def predictor(network: nn.Module) -> Predictor:
    return Predictor(network, TO_UNIT, (16, 16), CPU)


def predicted(network: nn.Module, images: np.ndarray) -> np.ndarray:
    return predictor(network).predict_proba(images)


def begin(folder: Path, recipe: NeuralRecipe, seed: int = 0, width: int = 8, metric: Metric = ACCURACY) -> Training:
    """A training from its first weights, or from where an interrupted one stopped in that folder."""
    torch.manual_seed(seed)
    # A hundredth only: whitening amplifies what is dropped.
    network = nn.Sequential(nn.Dropout(0.01), build_network("sprint", 4, (16, 16), width=width))
    network[1].initialise_from(TO_UNIT(TRAIN.images, CPU))
    augment = chain([shift(0.1), symmetric("mirror")])
    training = Training(predictor(network), recipe, augment, seed, folder, metric=metric)
    training.resume()
    return training


def segments_of(recipe: NeuralRecipe, count: int = 4) -> list[Segment]:
    return list(Planner(recipe, len(TRAIN) // BATCH, 16).fixed(count))


def run(training: Training, segments: Iterable[Segment]) -> Training:
    training.run(TRAIN, VALIDATION, segments, "small")
    return training


def interrupted_after(segments: list[Segment], count: int) -> Iterator[Segment]:
    yield from segments[:count]
    raise KeyboardInterrupt


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def history(training: Training) -> list[dict]:
    """The history without what the clock says."""
    clocks = {"seconds", "images_per_second"}
    return [{k: v for k, v in asdict(record).items() if k not in clocks} for record in training.history.records]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_training_learns(tmp_path, name):
    recipe = protocol(name)
    training = run(begin(tmp_path, recipe), segments_of(recipe, 12))
    probabilities = predicted(training.network, TRAIN.images)
    assert (probabilities.argmax(1) == TRAIN.labels).mean() > 0.95
    assert training.best_score > 0.9


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_training_equals_an_uninterrupted_one_to_the_bit(tmp_path, name, stop):
    recipe = protocol(name)
    segments = segments_of(recipe)
    whole = run(begin(tmp_path / "whole", recipe), segments)
    with pytest.raises(KeyboardInterrupt):
        run(begin(tmp_path / "parts", recipe), interrupted_after(segments, stop))
    resumed = begin(tmp_path / "parts", recipe)
    assert resumed.segments == segments[:stop]
    run(resumed, segments[stop:])
    assert history(resumed) == history(whole)
    assert_same_weights(resumed.network, whole.network)


def test_a_training_in_parts_of_batches_learns_and_is_resumed_to_the_bit(tmp_path, two_threads, monkeypatch):
    monkeypatch.setattr(data_parallel, "FEWEST", BATCH // 2)
    recipe = protocol()
    segments = segments_of(recipe, 8)
    whole = run(begin(tmp_path / "whole", recipe), segments)
    assert whole.learner is not whole.network and whole.best_score > 0.9
    run(begin(tmp_path / "parts", recipe), segments[:3])
    resumed = run(begin(tmp_path / "parts", recipe), segments[3:])
    assert history(resumed) == history(whole)
    assert_same_weights(resumed.network, whole.network)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_training_in_float16_learns_with_a_scaled_loss_and_is_resumed(tmp_path, in_float16, name):
    recipe = protocol(name)
    segments = segments_of(recipe, 10)
    whole = run(begin(tmp_path / "whole", recipe), segments)
    assert whole.best_score > 0.9
    with pytest.raises(KeyboardInterrupt):
        run(begin(tmp_path / "parts", recipe), interrupted_after(segments, 1))
    resumed = begin(tmp_path / "parts", recipe)
    assert resumed.scaler.get_scale() != torch.amp.GradScaler("cpu").get_scale()  # the first one was too large
    assert_same_weights(run(resumed, segments[1:]).network, whole.network)
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()


def test_a_resumed_plateau_tells_the_rate_it_goes_on_with(tmp_path):
    recipe = protocol("adam, plateau")
    segments = segments_of(recipe, 12)
    for part in (segments[:2], segments[2:]):
        training = run(begin(tmp_path, recipe), part)
    (optimiser,) = training.optimisers
    assert training.history.records[-1].learning_rate == optimiser.param_groups[0]["lr"] < recipe.optimiser.lr


def test_a_finished_training_that_is_begun_again_only_takes_up_its_result(tmp_path):
    recipe = protocol()
    first = run(begin(tmp_path, recipe), segments_of(recipe, 2))
    again = run(begin(tmp_path, recipe), [])
    assert again.segments == first.segments and again.history == first.history
    assert_same_weights(again.network, first.network)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_a_training_of_another_network_left_is_refused_in_one_line(tmp_path, name):
    run(begin(tmp_path, protocol(name)), segments_of(protocol(name), 1))
    with pytest.raises(UserError, match=r"checkpoint\.pt: another version .*--fresh"):
        begin(tmp_path, protocol(name), width=16)


def test_the_seed_decides_every_bit(tmp_path):
    recipe = protocol()
    first, again, other = (
        run(begin(tmp_path / name, recipe, seed), segments_of(recipe, 2))
        for name, seed in [("a", 5), ("b", 5), ("c", 6)]
    )
    assert_same_weights(first.network, again.network)
    assert history(first) == history(again) != history(other)


def test_images_that_lie_on_the_device_train_the_same_weights(tmp_path, monkeypatch):
    recipe = protocol()
    plain = run(begin(tmp_path / "plain", recipe), segments_of(recipe, 2))
    monkeypatch.setattr(loop, "room_for_images", lambda device: 10**9)
    held = run(begin(tmp_path / "held", recipe), segments_of(recipe, 2))
    assert_same_weights(plain.network, held.network)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_a_compiled_network_learns_what_it_learns_uncompiled(tmp_path):
    recipe = protocol("sgd, constant")
    trainings = []
    for compile in (False, True):
        torch.manual_seed(0)
        network = build_network("cnn", 4, (16, 16), filters=[4], pool=2)
        training = Training(predictor(network), recipe, chain([]), 0, tmp_path / str(compile), compile=compile)
        trainings.append(run(training, segments_of(recipe, 2)))
    plain, quick = trainings
    assert quick.compiled is not quick.network and plain.compiled is None
    assert [row.loss for row in quick.history.records] == pytest.approx(
        [row.loss for row in plain.history.records], rel=0.02
    )
    answers = (predicted(each.network, VALIDATION.images) for each in trainings)
    np.testing.assert_allclose(*answers, atol=0.02)


def test_segments_differ_in_their_batches_and_show_no_image_twice(tmp_path):
    shown: list[np.ndarray] = []

    def notice(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shown.append(images[:, 0, 0].copy())
        return images

    recipe = protocol("sgd, constant")
    torch.manual_seed(0)
    network = build_network("sprint", 4, (16, 16), width=8)
    run(Training(predictor(network), recipe, notice, 0, tmp_path), segments_of(recipe, 2))
    first, second = np.concatenate(shown[:4]), np.concatenate(shown[4:])
    everything = sorted(map(tuple, TRAIN.images[:, 0, 0]))
    assert len(set(everything)) > 60
    assert sorted(map(tuple, first)) == sorted(map(tuple, second)) == everything
    assert (first != second).any()


def test_the_network_ends_with_its_best_weights_on_validation(tmp_path):
    recipe = protocol("sgd, constant")
    train = LabelledImages(TRAIN.images, TRAIN.labels.copy())
    after: list[np.ndarray] = []
    training = begin(tmp_path, recipe)

    def good_then_misleading() -> Iterator[Segment]:
        for segment in segments_of(recipe, 12):
            yield segment
            after.append(predicted(training.network, VALIDATION.images))
            if len(after) == 6:
                train.labels[:] = (train.labels + 1) % 4

    training.run(train, VALIDATION, good_then_misleading(), "misled")
    accuracies = [record.validation_accuracy for record in training.history.records]
    best = max(accuracies)
    assert accuracies[-1] < best
    last_best = max(place for place, accuracy in enumerate(accuracies) if accuracy == best)
    kept = predicted(training.network, VALIDATION.images)
    np.testing.assert_array_equal(kept, after[last_best])
    assert training.best_score == best == (kept.argmax(1) == VALIDATION.labels).mean()


def test_the_best_weights_are_the_best_by_the_metric(tmp_path):
    """By log loss, smaller is better; whoever is told of a segment hears of it."""
    told, recipe = [], protocol("sgd, constant")
    training = begin(tmp_path, recipe, metric=LOG_LOSS)
    training.on_epoch = lambda progress, score: told.append(score)
    run(training, segments_of(recipe, 8))
    scores = [record.validation_score for record in training.history.records]
    kept = predicted(training.network, VALIDATION.images)
    assert training.best_score == min(scores) == LOG_LOSS(kept, VALIDATION.labels) < scores[0]
    assert told == [min(scores[: count + 1]) for count in range(8)]


def test_a_network_that_diverges_at_once_is_not_trained(tmp_path):
    recipe = protocol("sgd, constant").model_copy(update={"optimiser": Optimiser(name="sgd", lr=1e30)})
    with pytest.raises(NotTrained, match=r"small: the \w+ (is|are) not finite in epoch 1; lower the learning rate"):
        run(begin(tmp_path, recipe, metric=LOG_LOSS), segments_of(recipe, 2))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_network_that_diverges_later_keeps_its_best_weights_and_names_their_epoch(tmp_path, capsys):
    recipe = protocol("sgd, constant")
    training = begin(tmp_path, recipe)

    def good_then_hot() -> Iterator[Segment]:
        yield from segments_of(recipe, 4)[:2]
        training.learning_rate._optimisers[0].param_groups[0]["lr"] = 1e30
        yield segments_of(recipe, 4)[2]
        pytest.fail("a network that diverged was trained further")

    run(training, good_then_hot())
    scores = [record.validation_score for record in training.history.records]
    assert len(scores) == 2 and training.best_score == max(scores)
    assert np.isfinite(predicted(training.network, VALIDATION.images)).all()
    kept = max(epoch for epoch, score in enumerate(scores, start=1) if score == max(scores))
    assert f"not finite in epoch 3; the weights of epoch {kept} are kept; lower the" in capsys.readouterr().out


def test_a_segment_that_is_cut_off_is_repeated_to_the_bit(tmp_path):
    """What was trained of it is recorded; the rest of the schedule goes on from there."""
    recipe, limit = protocol(), SegmentLimit()
    cut_run = begin(tmp_path / "cut", recipe)
    first, *others = segments_of(recipe, 2)

    def cut_in_the_first() -> Iterator[Segment]:
        limit.begin(first.batches, end=0.0)
        yield first
        limit.begin(others[0].batches, end=np.inf)
        yield from others

    cut_run.run(TRAIN, VALIDATION, cut_in_the_first(), "cut", limit)
    assert cut_run.segments == [first.cut_off(1), *others]
    assert [record.batches for record in cut_run.history.records] == [1, 4]
    repeated = run(begin(tmp_path / "repeated", recipe), cut_run.segments)
    assert_same_weights(repeated.network, cut_run.network)
    assert history(repeated) == history(cut_run)


def test_the_averaged_weights_are_those_that_are_validated_and_kept(tmp_path):
    recipe = protocol()
    training = begin(tmp_path, recipe)
    stepped: dict[str, torch.Tensor] = {}

    def watched() -> Iterator[Segment]:
        yield from segments_of(recipe, 4)
        stepped.update({name: value.clone() for name, value in training.network.state_dict().items()})

    run(training, watched())
    kept = training.network.state_dict()
    assert not torch.equal(kept["1.head.weight"], stepped["1.head.weight"])
    assert torch.equal(kept["1.whiten.weight"], stepped["1.whiten.weight"])
    accuracy = (predicted(training.network, VALIDATION.images).argmax(1) == VALIDATION.labels).mean()
    assert accuracy == training.best_score == max(record.validation_accuracy for record in training.history.records)


def test_history_has_a_row_a_segment_while_the_training_goes_on(tmp_path):
    recipe = protocol()
    rows_seen = []

    def watched() -> Iterator[Segment]:
        for segment in segments_of(recipe, 3):
            yield segment
            rows_seen.append(len((tmp_path / "history.csv").read_text().splitlines()) - 1)

    run(begin(tmp_path, recipe), watched())
    assert rows_seen == [1, 2, 3]


def test_history_tells_what_happened(tmp_path):
    recipe = protocol()
    run(begin(tmp_path, recipe), segments_of(recipe, 12))
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert {row["size"] for row in rows} == {16}
    assert {row["batches"] for row in rows} == {4}
    assert all(0 <= row["accuracy"] <= 1 and 0 <= row["validation_accuracy"] <= 1 for row in rows)
    assert all(row["validation_score"] == row["validation_accuracy"] for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert all(row["images_per_second"] > 0 and row["seconds"] > 0 for row in rows)
    assert 0 < rows[-1]["learning_rate"] < rows[3]["learning_rate"] <= recipe.optimiser.lr


def test_a_plateau_lowers_the_rate_that_history_tells(tmp_path):
    recipe = protocol("adam, plateau")
    run(begin(tmp_path, recipe), segments_of(recipe, 8))
    rates = [record.learning_rate for record in begin(tmp_path, recipe).history.records]
    assert rates[0] == recipe.optimiser.lr and rates == sorted(rates, reverse=True)
    assert rates[-1] <= recipe.optimiser.lr / 2


def test_nothing_half_written_lies_in_the_folder(tmp_path):
    recipe = protocol()
    run(begin(tmp_path, recipe), segments_of(recipe, 1))
    assert {path.name for path in tmp_path.iterdir()} == {"history.csv", "checkpoint.pt"}


def test_an_error_in_a_batch_reaches_the_caller(tmp_path):
    def broken(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise ZeroDivisionError("in a batch")

    recipe = protocol()
    network = build_network("sprint", 4, (16, 16), width=8)
    with pytest.raises(ZeroDivisionError, match="in a batch"):
        run(Training(predictor(network), recipe, broken, 0, tmp_path), segments_of(recipe))


def test_every_segment_is_told_with_its_progress_and_the_best_score_so_far(tmp_path):
    told, training = [], begin(tmp_path, protocol())
    training.on_epoch = lambda progress, accuracy: told.append((progress, accuracy))
    run(training, segments_of(protocol()))
    assert [progress for progress, _ in told] == [0.25, 0.5, 0.75, 1.0]
    accuracies = [record.validation_accuracy for record in training.history.records]
    assert [accuracy for _, accuracy in told] == [max(accuracies[: count + 1]) for count in range(4)]


def test_who_is_told_of_a_segment_may_end_the_training(tmp_path):
    def stop(progress: float, accuracy: float) -> None:
        raise StopIteration

    training = begin(tmp_path, protocol())
    training.on_epoch = stop
    with pytest.raises(StopIteration):
        run(training, segments_of(protocol()))
    assert len(training.history.records) == 1
