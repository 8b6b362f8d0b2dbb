"""How images are brought to one size."""

import numpy as np
import pytest

from pipeline.data.fitting import border_colour, fitted, flat_border, resize

RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_an_image_of_that_size_stays_as_it_is(fit):
    image = noise(20, 30)
    np.testing.assert_array_equal(fitted(image, (20, 30), fit), image)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (33, 64), (7, 9)])
def test_every_image_gets_the_size(fit, shape):
    assert fitted(noise(*shape), (24, 32), fit).shape == (24, 32, 3)


def test_a_crop_is_the_middle_of_the_longer_side():
    image = noise(30, 40)
    np.testing.assert_array_equal(fitted(image, (30, 30), "crop"), image[:, 5:35])
    np.testing.assert_array_equal(fitted(image.swapaxes(0, 1), (30, 30), "crop"), image.swapaxes(0, 1)[5:35])


def test_three_quarters_of_a_side_are_kept_at_least():
    image = noise(10, 80)
    np.testing.assert_array_equal(fitted(image, (10, 10), "crop"), resize(image[:, 10:70], 10, 10))


def test_padding_keeps_all_of_the_image_in_the_middle_of_its_borders_colour():
    image = np.full((20, 60, 3), (10, 200, 90), np.uint8)
    image[5:15, 20:40] = 0
    padded = fitted(image, (60, 60), "pad")
    np.testing.assert_array_equal(padded[20:40], image)
    assert (padded[:20] == (10, 200, 90)).all() and (padded[40:] == (10, 200, 90)).all()


def test_the_border_of_a_drawing_is_flat_and_that_of_a_photograph_is_not():
    page = np.full((50, 50, 3), 240, np.uint8)
    page[10:40, 10:40] = noise(30, 30)
    assert border_colour(page).tolist() == [240, 240, 240] and flat_border(page) == 1
    assert flat_border(noise(50, 50)) < 0.1
