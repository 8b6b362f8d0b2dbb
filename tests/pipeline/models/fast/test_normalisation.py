"""Normalisation: bytes to what a network sees."""

import numpy as np
import pytest
import torch

from pipeline.models.fast.normalisation import LUMA, Normalisation

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)


def test_normalisation_centres_and_scales_each_channel_and_puts_it_first():
    seen = Normalisation((100.0, 120.0, 140.0), (50.0, 60.0, 70.0))(IMAGES, CPU)
    assert seen.shape == (2, 3, 4, 5) and seen.dtype == torch.float32
    assert seen.is_contiguous(memory_format=torch.channels_last)
    expected = (IMAGES - np.array([100.0, 120.0, 140.0])) / np.array([50.0, 60.0, 70.0])
    np.testing.assert_allclose(seen.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


def test_one_mean_makes_one_channel_of_grey():
    seen = Normalisation((100.0,), (50.0,))(IMAGES, CPU)
    np.testing.assert_allclose(seen.numpy()[:, 0], (IMAGES @ np.array(LUMA) - 100) / 50, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 1, 7, 1), (2, 4, 5, 3)], ids=["features", "images"])
def test_floats_are_normalised_and_left_as_they_are(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    before = values.copy()
    seen = Normalisation((1.0,) * shape[3], (2.0,) * shape[3])(values, CPU)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_allclose(seen.numpy(), (values.transpose(0, 3, 1, 2) - 1) / 2, rtol=1e-6)
