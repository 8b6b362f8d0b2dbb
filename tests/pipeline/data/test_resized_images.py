"""Images that are held where they are trained on."""

import numpy as np
import pytest
import torch

from pipeline.data.augment import resized
from pipeline.data.cache import ImageCache
from pipeline.data.resized_images import ResizedImages

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (1500, 8, 6, 3), np.uint8)
ROWS = np.array([3, 4, 1200, 1499])


@pytest.mark.parametrize("images", [IMAGES, ImageCache(IMAGES, np.array([], int))], ids=["array", "cache"])
def test_a_batch_of_held_images_is_the_batch_that_is_resized_by_itself(images):
    held, loose = ResizedImages(images, CPU, room=10**6), ResizedImages(images, CPU, room=0)
    for size in ((8, 6), (4, 3), (8, 6)):
        batch = held.batch(ROWS, *size)
        assert isinstance(batch, torch.Tensor) and isinstance(loose.batch(ROWS, *size), np.ndarray)
        np.testing.assert_array_equal(batch.numpy(), loose.batch(ROWS, *size))
        np.testing.assert_array_equal(batch.numpy(), resized(IMAGES[ROWS], *size))


def test_images_are_held_at_the_sizes_at_which_all_of_them_fit():
    held = ResizedImages(IMAGES, CPU, room=1500 * 4 * 3 * 3)
    assert isinstance(held.batch(ROWS, 8, 6), np.ndarray)
    assert isinstance(held.batch(ROWS, 4, 3), torch.Tensor)


def test_a_batch_is_a_copy():
    held = ResizedImages(IMAGES, CPU, room=10**6)
    held.batch(ROWS, 8, 6)[:] = 0
    np.testing.assert_array_equal(held.batch(ROWS, 8, 6).numpy(), IMAGES[ROWS])


def test_features_are_held_as_they_are():
    features = np.random.default_rng(0).normal(size=(20, 1, 5, 1)).astype(np.float32)
    np.testing.assert_array_equal(ResizedImages(features, CPU, room=10**6).batch(ROWS[:2], 1, 5).numpy(), features[3:5])
