"""Images for models that see each pixel as a number of its own."""

import cv2
import numpy as np
import pytest

from pipeline.data import small_images
from pipeline.data.cache import open_cache
from pipeline.data.fitting import resize
from pipeline.data.small_images import small, small_size

RNG = np.random.default_rng(0)


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(70)]
    for path in paths:
        cv2.imwrite(str(path), RNG.integers(0, 256, (150, 150, 3), np.uint8))
    return paths


@pytest.mark.parametrize(("size", "seen"), [
    ((64, 64), (64, 64)), ((128, 9), (128, 9)), ((129, 129), (64, 64)), ((192, 256), (55, 74)), ((300, 75), (128, 32)),
])  # fmt: skip
def test_large_images_get_as_many_pixels_as_64_by_64_in_their_ratio(size, seen):
    assert small_size(size) == seen


def test_small_images_and_features_stay_what_they_are():
    images, features = RNG.integers(0, 256, (3, 16, 16, 3), np.uint8), np.zeros((3, 1, 2024, 1), np.float32)
    assert small(images) is images and small(features) is features


@pytest.mark.parametrize("most", [None, 0, 400_000], ids=["pixels", "files", "jpegs"])
def test_those_of_a_cache_are_its_images_resized(paths, tmp_path, most):
    cache = open_cache(paths, tmp_path / "cache", most=most).subset([69, 3, 40])
    expected = np.stack([resize(image, 64, 64) for image in np.asarray(cache)])
    seen = small(cache)
    assert seen.shape == (3, 64, 64, 3) and len(seen) == 3
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(seen[1], expected[1])
    np.testing.assert_array_equal(small(np.asarray(cache)), expected)


def test_those_of_a_cache_of_pixels_are_computed_once_and_again_if_their_file_is_damaged(paths, tmp_path, monkeypatch):
    cache = open_cache(paths, tmp_path / "cache")
    first = np.asarray(small(cache))
    (kept,) = cache.folder.glob("small-*.npy")
    small_images._kept_in.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(small_images, "_write", lambda *_: pytest.fail("it was there"))
        np.testing.assert_array_equal(small(cache), first)
    small_images._kept_in.cache_clear()
    kept.write_bytes(kept.read_bytes()[:-40])
    np.testing.assert_array_equal(small(cache), first)
