"""Mixing: each image keeps at least half of itself, and its target is blended as its pixels are."""

import numpy as np
import pytest
import torch

from pipeline.models.neural.mixing import Mixture, mixed
from pipeline.models.recipe import Mix

# images of one brightness each, so that a mixed pixel tells how it was mixed
GREYS = np.arange(0, 200, 20, dtype=np.uint8)
IMAGES = GREYS[:, None, None, None].repeat(12, 1).repeat(16, 2).repeat(3, 3)
MIXUP, CUTMIX = Mix(mixup=1.0), Mix(cutmix=1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_every_pixel_by_the_share(seed):
    images, mixture = mixed(IMAGES, MIXUP, rng(seed))
    assert mixture is not None and 0.5 <= mixture.share <= 1
    expected = mixture.share * GREYS + (1 - mixture.share) * GREYS[mixture.partners]
    assert images.dtype == np.uint8 and images.shape == IMAGES.shape
    assert np.abs(images - expected[:, None, None, None]).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_one_rectangle_of_the_partner_and_the_share_is_of_what_remains(seed):
    images, mixture = mixed(IMAGES, CUTMIX, rng(seed))
    assert mixture is not None
    own, partners = images == IMAGES, IMAGES[mixture.partners] == images
    assert (own | partners).all()
    changed = ~own.all(axis=(0, 3))
    rows, columns = changed.any(axis=1), changed.any(axis=0)
    assert changed.sum() == rows.sum() * columns.sum()
    assert mixture.share == pytest.approx(1 - changed.mean()) and mixture.share >= 0.45


@pytest.mark.parametrize("mix", [MIXUP, CUTMIX])
def test_a_tensor_is_mixed_as_an_array_is(mix):
    array, expected = mixed(IMAGES, mix, rng())
    tensor, mixture = mixed(torch.from_numpy(IMAGES), mix, rng())
    assert mixture.share == expected.share and mixture.partners.tolist() == expected.partners.tolist()
    np.testing.assert_allclose(tensor.numpy().astype(int), array, atol=1)


def test_mixing_leaves_the_given_images_as_they_are():
    before = IMAGES.copy()
    mixed(IMAGES, CUTMIX, rng()), mixed(IMAGES, MIXUP, rng())
    np.testing.assert_array_equal(IMAGES, before)


def test_a_share_of_the_batches_is_mixed_and_both_ways_are_used():
    generator, mix = rng(), Mix(mixup=1.0, cutmix=1.0, share=0.5)
    batches = [mixed(IMAGES, mix, generator) for _ in range(200)]
    assert 70 < sum(mixture is not None for _, mixture in batches) < 130
    assert all(images is IMAGES for images, mixture in batches if mixture is None)
    pasted = [np.isin(images, GREYS).all() for images, mixture in batches if mixture is not None]
    assert 0.3 < np.mean(pasted) < 0.7


def test_targets_are_blended_by_image_whatever_the_number_of_targets():
    """Two images of two targets each; the second image is the first one's partner and the other way round."""
    target = torch.eye(4).reshape(4, 4)
    blended = Mixture(np.array([1, 0]), 0.75).of(target)
    expected = 0.75 * target + 0.25 * target[[2, 3, 0, 1]]
    torch.testing.assert_close(blended, expected)
