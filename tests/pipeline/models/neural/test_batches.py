"""Batches: every image is seen once before any is seen again, and sizes keep the images' proportions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.data.augment import chain, resized_crop, shift
from pipeline.data.resized_images import ResizedImages
from pipeline.models.neural.batches import Batches, LabelledImages, scaled
from pipeline.models.recipe import Mix

IMAGES = np.arange(21, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)


def batches(seed: int = 0) -> Batches:
    """Of four images each, of 21 that are told by their brightness; labels are the images' rows."""
    return Batches(ResizedImages(IMAGES, torch.device("cpu"), 0), np.arange(21), chain([]), 4, seed)


def seen(steps: range, seed: int = 0) -> list[int]:
    return [row for batch in batches(seed).of_steps(steps, (16, 16), 0) for row in batch.labels.tolist()]


def test_a_batch_holds_its_labels_images_at_the_size_asked_for():
    (batch,) = batches().of_steps(range(3, 4), (8, 12), 0)
    assert batch.images.shape == (4, 8, 12, 3) and batch.total == 4
    np.testing.assert_array_equal(batch.images[:, 0, 0, 0], batch.labels)


def test_an_epoch_shows_no_image_twice_wherever_its_segments_begin():
    epoch = seen(range(5))
    assert len(set(epoch)) == 20
    assert seen(range(0, 2)) + seen(range(2, 5)) == epoch


def test_epochs_and_seeds_differ_in_their_order():
    both = seen(range(10))
    assert both[:20] != both[20:] and len(set(both[20:])) == 20
    assert seen(range(5), seed=1) != both[:20]


def test_threads_beside_a_gpu_prepare_the_same_images_in_the_same_order_each_time(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    on_a_gpu = replace(
        batches(), images=ResizedImages(IMAGES, torch.device("meta"), 0), augment=chain([resized_crop(), shift(0.2)])
    )
    first, again = ([*on_a_gpu.of_steps(range(10), (16, 16), 0)] for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
    assert [row for batch in first for row in batch.labels.tolist()] == seen(range(10))


def test_a_balanced_epoch_shows_as_many_images_of_each_class_and_all_of_the_rare_ones():
    labels = np.repeat([0, 1, 2], [15, 5, 1])
    epoch = list(replace(batches(), labels=labels, batch_size=7, is_balanced=True).of_steps(range(3), (16, 16), 0))
    assert np.bincount(np.concatenate([batch.labels for batch in epoch])).tolist() == [7, 7, 7]
    shown = np.concatenate([batch.images[:, 0, 0, 0] for batch in epoch])
    assert len(set(shown) & set(range(15))) == 7
    assert set(range(15, 21)) <= set(shown.tolist())


def test_a_mixed_batch_tells_how_it_was_mixed_and_the_same_seed_mixes_the_same():
    def mixed() -> Batches:
        return Batches(
            ResizedImages(IMAGES, torch.device("cpu"), 0), np.arange(21), chain([]), 4, 0, mix=Mix(mixup=1.0)
        )

    first, again = ([*mixed().of_steps(range(5), (16, 16), 0)] for _ in range(2))
    for batch, same in zip(first, again, strict=True):
        assert batch.mixture is not None and same.mixture is not None
        np.testing.assert_array_equal(batch.images, same.images)
        blend = batch.mixture.share * batch.labels + (1 - batch.mixture.share) * batch.labels[batch.mixture.partners]
        np.testing.assert_allclose(batch.images[:, 0, 0, 0], blend, atol=0.51)


def test_crops_come_from_the_image_in_its_full_size_and_the_other_augmentations_follow():
    crop = resized_crop(scale=(0.1, 0.3))
    seen: list[tuple[int, ...]] = []

    def notice(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(images.shape)
        return images

    images = np.random.default_rng(0).integers(0, 256, (21, 40, 40, 3), np.uint8)
    cropped = ResizedImages(images, torch.device("cpu"), 0)
    (batch,) = replace(batches(), images=cropped, augment=notice, crop=crop).of_steps(range(1), (8, 12), 0)
    assert seen == [(4, 8, 12, 3)] and batch.images.shape == (4, 8, 12, 3)


def test_soft_targets_go_with_their_images():
    soft = np.eye(21, dtype=np.float32)
    for batch in replace(batches(), soft=soft).of_steps(range(5), (16, 16), 0):
        np.testing.assert_array_equal(batch.soft, soft[batch.labels])
    taken = LabelledImages(IMAGES, np.arange(21), soft).take(np.array([3, 1]))
    np.testing.assert_array_equal(taken.soft, soft[[3, 1]])


@pytest.mark.parametrize(
    ("input_size", "longer_side", "expected"),
    [((64, 64), 32, (32, 32)), ((48, 64), 32, (24, 32)), ((100, 3), 10, (10, 3)), ((64, 8), 32, (32, 8))],
)
def test_growing_keeps_the_proportions_of_the_images(input_size, longer_side, expected):
    assert scaled(input_size, longer_side) == expected
