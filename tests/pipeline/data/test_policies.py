"""TrivialAugment and RandAugment: images stay images, each changes by itself, and the generator decides everything."""

import numpy as np
import pytest
import torch

from competition.errors import UserError
from pipeline.data.augment import build_augmentation
from pipeline.data.policies import rand_augment, trivial_augment

PICTURE = np.linspace(0, 255, 24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8)


def copies(count: int) -> np.ndarray:
    return np.repeat(PICTURE[None], count, axis=0)


def different(images: np.ndarray) -> int:
    return len({image.tobytes() for image in images})


@pytest.mark.parametrize("policy", [trivial_augment(), rand_augment(), rand_augment(operations=3, magnitude=30)])
def test_images_keep_their_form_and_change_in_many_ways(policy):
    images = copies(100)
    changed = policy(images, np.random.default_rng(0))
    assert changed.shape == images.shape and changed.dtype == np.uint8
    assert different(changed) > 8
    np.testing.assert_array_equal(images, copies(100))


@pytest.mark.parametrize("policy", [trivial_augment(), rand_augment()])
def test_the_generator_alone_decides_and_a_tensor_changes_as_an_array_does(policy):
    first = policy(copies(20), np.random.default_rng(1))
    torch.manual_seed(5)
    np.testing.assert_array_equal(policy(copies(20), np.random.default_rng(1)), first)
    tensor = policy(torch.from_numpy(copies(20)), np.random.default_rng(1))
    np.testing.assert_array_equal(tensor.numpy(), first)
    assert (policy(copies(20), np.random.default_rng(2)) != first).any()


def test_trivial_augment_leaves_some_images_as_they_are_and_changes_most():
    changed = trivial_augment()(copies(280), np.random.default_rng(0))
    same = (changed == PICTURE).all(axis=(1, 2, 3)).mean()
    assert 0.03 < same < 0.4


def test_a_magnitude_of_nothing_changes_little():
    weak, strong = (
        np.abs(rand_augment(1, magnitude)(copies(200), np.random.default_rng(0)).astype(int) - PICTURE).mean()
        for magnitude in (0, 30)
    )
    assert weak < strong / 3


@pytest.mark.parametrize(("argument", "value"), [("magnitude", 31), ("operations", 0), ("strength", 1)])
def test_a_wrong_argument_is_an_error(argument, value):
    with pytest.raises(UserError, match=f"augmentation RandAugment: .*{argument}"):
        build_augmentation("RandAugment", {argument: value}, "mirror")
