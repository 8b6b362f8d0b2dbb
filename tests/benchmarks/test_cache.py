"""The cache's benchmark: both sides deliver the same, and when building a cache pays."""

from collections import Counter
from functools import partial

import cv2
import numpy as np
import pytest

from benchmarks.cache import BATCH, break_even, deliver, draw_images, read_files
from pipeline.data.cache import open_cache


@pytest.mark.parametrize(
    ("build", "cached", "decoded", "epoch"),
    [(0.9, 1.0, 2.0, 1), (1.0, 1.0, 2.0, 1), (1.1, 1.0, 2.0, 2), (10.0, 1.0, 3.5, 4), (0.0, 1.0, 2.0, 1)],
)
def test_a_cache_pays_once_what_its_epochs_save_makes_up_for_building_it(build, cached, decoded, epoch):
    assert break_even(build, cached, decoded) == epoch
    assert build + epoch * cached <= epoch * decoded


@pytest.mark.parametrize("cached", [2.0, 2.5])
def test_a_cache_that_saves_no_time_never_pays(cached):
    assert break_even(1.0, cached, 2.0) is None


def test_an_epoch_loads_every_image_once_in_an_order_of_its_own():
    count, orders = 2 * BATCH + 10, []
    for epoch in range(2):
        batches = []
        deliver(lambda rows, rng, batches=batches: batches.append(rows), count, epoch)
        assert Counter(np.concatenate(batches).tolist()) == Counter(range(count))
        assert max(map(len, batches)) == BATCH
        orders.append({tuple(batch) for batch in batches})
    assert orders[0].isdisjoint(orders[1])


def test_files_decoded_anew_are_the_images_of_the_cache(tmp_path):
    paths = sorted(draw_images(tmp_path / "images", 5).iterdir())
    cache = open_cache(paths, tmp_path / "caches")
    read = partial(read_files, paths, cache.shape[1:3])
    rows = np.array([4, 0, 3])
    assert (read(rows) == cache[rows]).all()


def test_files_of_several_sizes_are_brought_to_that_of_the_cache(tmp_path):
    paths = [tmp_path / "small.png", tmp_path / "large.png"]
    for path, side in zip(paths, (10, 20), strict=True):
        cv2.imwrite(str(path), np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8))
    cache = open_cache(paths, tmp_path / "caches", size=(16, 16))
    assert (read_files(paths, (16, 16), np.array([0, 1])) == cache[:]).all()
