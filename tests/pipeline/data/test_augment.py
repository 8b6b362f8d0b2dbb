"""Augmentation: what may happen to an image, what must not, and that a seed decides it."""

import warnings

import albumentations
import numpy as np
import pytest
import torch

from competition.errors import UserError
from pipeline.data.augment import (
    GREY,
    build_augmentation,
    chain,
    cutout,
    random_erasing,
    resized,
    shift,
    shifted_views,
    symmetric,
    views,
)


def noise(count: int, height: int = 12, width: int = 12) -> np.ndarray:
    """uint8 ``[count, height, width, 3]``; no two patches of it are alike."""
    return np.random.default_rng(5).integers(0, 256, (count, height, width, 3), np.uint8)


def eight_views(image: np.ndarray) -> list[bytes]:
    """All quarter turns of an image ``[H, W, 3]`` and of its mirror image."""
    return [np.rot90(side, turn).tobytes() for side in (image, image[:, ::-1]) for turn in range(4)]


def test_a_shift_moves_the_image_and_mirrors_the_border_in():
    images = noise(60)
    shifted = shift(0.25)(images, np.random.default_rng(0))
    assert shifted.shape == images.shape and shifted.dtype == np.uint8
    moves = set()
    for image, moved in zip(images, shifted, strict=True):
        windows = {
            (down, right): np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="reflect")[down : down + 12, right : right + 12]
            for down in range(7)
            for right in range(7)
        }
        found = [move for move, window in windows.items() if (window == moved).all()]
        assert len(found) == 1
        moves.add(found[0])
    assert {down for down, _ in moves} == {right for _, right in moves} == set(range(7))


def test_a_shift_reaches_at_least_one_pixel():
    images = noise(20)
    assert (shift(0.001)(images, np.random.default_rng(0)) != images).any()


def test_a_shift_reaches_by_the_shorter_side_of_an_image_that_is_not_square():
    images = noise(200, height=8, width=40)
    middles = shift(0.125)(images, np.random.default_rng(0))[:, 4, 20]
    reachable = images[:, 3:6, 19:22].reshape(200, 9, 3)
    assert (reachable == middles[:, None]).all(axis=2).any(axis=1).all()


@pytest.mark.parametrize("height", [12, 20])
def test_cutout_greys_one_square_of_each_image_that_may_reach_over_the_edge_and_nothing_else(height):
    images = noise(300, height)
    changed = (cutout(1 / 3)(images, np.random.default_rng(0)) != images).any(axis=3)
    rows, columns = changed.any(axis=2).sum(axis=1), changed.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(changed.sum(axis=(1, 2)), rows * columns)
    assert set(rows) == set(columns) == {2, 3, 4}
    assert changed.any(axis=0).all()


def test_what_cutout_cuts_out_is_grey():
    black = np.zeros((8, 12, 12, 3), np.uint8)
    assert set(np.unique(cutout(0.5)(black, np.random.default_rng(0)))) == {0, GREY}


@pytest.mark.parametrize(("symmetries", "count"), [("none", 1), ("mirror", 2), ("all", 8)])
def test_views_are_as_many_as_the_competition_allows_and_start_with_the_image_itself(symmetries, count):
    image = noise(1)
    seen = [view(image)[0].tobytes() for view in views(symmetries, square=True)]
    assert seen[0] == image[0].tobytes()
    assert len(set(seen)) == len(seen) == count
    assert set(seen) <= set(eight_views(image[0]))


def test_the_mirror_view_swaps_left_and_right():
    images = noise(3, width=7)
    _, mirrored = (view(images) for view in views("mirror", square=False))
    np.testing.assert_array_equal(mirrored, images[:, :, ::-1])


def test_views_of_images_that_are_not_square_keep_their_shape():
    images = noise(2, height=6, width=10)
    turned = [view(images) for view in views("all", square=False)]
    assert [view.shape for view in turned] == [images.shape] * 4
    assert len({view.tobytes() for view in turned}) == 4


@pytest.mark.parametrize(("symmetries", "count"), [("none", 3), ("mirror", 6), ("all", 8)])
def test_predictions_average_over_a_few_views_that_differ_and_the_image_itself_comes_first(symmetries, count):
    images = noise(2)
    seen = [np.ascontiguousarray(view(images)) for view in shifted_views(symmetries, square=True)]
    np.testing.assert_array_equal(seen[0], images)
    assert {view.shape for view in seen} == {images.shape}
    assert len({view.tobytes() for view in seen}) == len(seen) == count


@pytest.mark.parametrize(("side", "pixels"), [(12, 1), (32, 1), (64, 3), (96, 4)])
def test_few_views_are_also_shifted_by_a_twenty_fourth_of_the_side_to_either_side(side, pixels):
    images = noise(2, side, side)
    _, up, down = (view(images) for view in shifted_views("none", square=True))
    np.testing.assert_array_equal(up[:, :-pixels, :-pixels], images[:, pixels:, pixels:])
    np.testing.assert_array_equal(down[:, pixels:, pixels:], images[:, :-pixels, :-pixels])


@pytest.mark.parametrize("symmetries", ["none", "mirror", "all"])
@pytest.mark.parametrize("width", [12, 9])
def test_symmetric_draws_all_the_views_that_are_allowed_and_no_other(symmetries, width):
    images = np.repeat(noise(1, width=width), 200, axis=0)
    drawn = symmetric(symmetries)(images, np.random.default_rng(0))
    allowed = {view(images[:1])[0].tobytes() for view in views(symmetries, square=width == 12)}
    assert {image.tobytes() for image in drawn} == allowed


def test_augmenting_leaves_the_given_images_alone():
    images = noise(8)
    before = images.copy()
    steps = [shift(0.1), symmetric("all"), build_augmentation("Rotate", {"limit": 40, "p": 1.0}, "none")]
    changed = chain(steps)(images, np.random.default_rng(0))
    assert (changed != before).any()
    np.testing.assert_array_equal(images, before)


every_augmentation = pytest.mark.parametrize(
    "augment",
    [
        shift(0.2),
        cutout(0.3),
        symmetric("all"),
        build_augmentation("Affine", {"rotate": (-20, 20), "p": 1.0}, "none"),
        chain([shift(0.2), build_augmentation("HorizontalFlip", {}, "none")]),
    ],
    ids=["shift", "cutout", "symmetric", "albumentations", "chain"],
)


@every_augmentation
def test_the_generator_alone_decides(augment):
    images = noise(16)
    first, again, other = (augment(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@every_augmentation
@pytest.mark.parametrize("width", [12, 9])
def test_a_batch_that_lies_on_a_device_is_changed_in_the_same_way(augment, width):
    images = noise(16, width=width)
    tensor = torch.from_numpy(images.copy())
    changed = augment(tensor, np.random.default_rng(3))
    np.testing.assert_array_equal(np.asarray(changed), augment(images, np.random.default_rng(3)))
    np.testing.assert_array_equal(tensor.numpy(), images)


def test_a_transform_of_albumentations_goes_by_its_class_name():
    images = noise(4)
    flipped = build_augmentation("HorizontalFlip", {"p": 1.0}, "none")(images, np.random.default_rng(0))
    expected = np.stack([albumentations.HorizontalFlip(p=1.0)(image=image)["image"] for image in images])
    np.testing.assert_array_equal(flipped, expected)
    np.testing.assert_array_equal(flipped, images[:, :, ::-1])


def test_each_image_of_a_batch_gets_its_own_draw_of_a_transform():
    images = np.repeat(noise(1), 32, axis=0)
    flipped = build_augmentation("HorizontalFlip", {"p": 0.5}, "none")(images, np.random.default_rng(0))
    assert len({image.tobytes() for image in flipped}) == 2


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("HorizontalFlop", {}), ("Rotate", {"limt": 3}), ("Rotate", {"limit": "far"}), ("HorizontalFlip", {"p": 3})],
    ids=["unknown name", "unknown argument", "wrong type", "out of range"],
)
def test_what_albumentations_does_not_know_is_refused_in_one_line_naming_the_transform(name, arguments):
    with warnings.catch_warnings(), pytest.raises(UserError, match=f"augmentation {name}") as refusal:
        warnings.simplefilter("ignore")  # outside of the tests, a warning stops nothing
        build_augmentation(name, arguments, "none")
    assert "\n" not in str(refusal.value)


def test_resizing_to_the_same_size_changes_nothing():
    images = noise(3)
    np.testing.assert_array_equal(resized(images, 12, 12), images)


def test_shrinking_a_batch_averages_areas():
    images = noise(3)
    averages = images.reshape(3, 6, 2, 4, 3, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(resized(images, 6, 4), averages, atol=1)


def test_enlarging_a_batch_keeps_what_each_image_shows():
    images = np.repeat(noise(2, 3, 3), 4, axis=1).repeat(4, axis=2)
    enlarged = resized(images, 24, 36)
    assert enlarged.shape == (2, 24, 36, 3)
    np.testing.assert_allclose(enlarged[:, 4::8, 6::12], images[:, 2::4, 2::4], atol=12)


def test_chained_steps_run_in_their_order():
    order = []
    steps = [lambda images, rng, name=name: order.append(name) or images for name in ("first", "second")]
    images = noise(1)
    assert chain(steps)(images, np.random.default_rng(0)) is images
    assert order == ["first", "second"]


def test_random_erasing_puts_noise_into_a_rectangle_of_some_images():
    images = np.full((400, 20, 30, 3), 7, np.uint8)
    erased = random_erasing()(images, np.random.default_rng(0))
    changed = (erased != 7).any(axis=3)
    touched = changed.any(axis=(1, 2))
    assert 0.4 < touched.mean() < 0.6
    rows, columns = changed.any(axis=2).sum(axis=1), changed.any(axis=1).sum(axis=1)
    areas = (rows * columns)[touched] / 600
    assert areas.min() > 0.01 and areas.max() < 0.36 and areas.std() > 0.05
    assert (images == 7).all() and changed.any(axis=0).mean() > 0.95
    assert len(np.unique(erased)) > 200


def test_random_erasing_treats_a_tensor_as_an_array():
    array, tensor = (
        random_erasing(p=1.0)(images, np.random.default_rng(3)) for images in (noise(9), torch.from_numpy(noise(9)))
    )
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("arguments", [{"p": 2}, {"scale": [0.5, 0.1]}, {"ratio": [0, 1]}])
def test_random_erasing_refuses_what_it_cannot_do(arguments):
    with pytest.raises(UserError, match=r"augmentation RandomErasing: p must be from 0 to 1, scale"):
        build_augmentation("RandomErasing", arguments, "none")


def test_a_crop_is_cut_out_of_the_image_in_its_full_size():
    """An image of stripes one pixel wide: a crop of half its sides shows them, an image that was resized does not."""
    images = np.zeros((20, 32, 32, 3), np.uint8)
    images[:, :, ::2] = 255
    crop = build_augmentation("RandomResizedCrop", {"scale": [0.25, 0.25], "ratio": [1.0, 1.0]}, "none")
    cut = crop.at(16, 16)(images, np.random.default_rng(0))
    assert cut.shape == (20, 16, 16, 3) and set(np.unique(cut)) == {0, 255}
    assert crop(images, np.random.default_rng(0)).shape == images.shape
