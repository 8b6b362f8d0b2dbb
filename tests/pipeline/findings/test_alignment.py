"""Windows of a picture are fitted to another one that shows a part of it, mirrored or not."""

import cv2
import numpy as np
import pytest

from pipeline.findings.alignment import aligned, coefficients, flip_signs, likeness, whole, windowed

SIDE, COUNT = 32, 12


def textures(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [cv2.resize(rng.normal(0, 50, (8, 8)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for _ in range(count)]
    ).astype(np.float32)


def test_the_coefficients_of_a_whole_picture_are_its_cosine_transform():
    picture = textures(1)[0]
    expected = cv2.dct(picture)[:COUNT, :COUNT].ravel()[1:] / SIDE
    np.testing.assert_allclose(whole(picture[None], COUNT)[0], expected, atol=1e-3)


@pytest.mark.parametrize("flip", range(4))
def test_mirroring_a_picture_changes_the_signs_of_coefficients(flip):
    picture = textures(1)
    mirrored = picture[:, :: -1 if flip // 2 else 1, :: -1 if flip % 2 else 1]
    np.testing.assert_allclose(whole(mirrored, COUNT), whole(picture, COUNT) * flip_signs(COUNT)[flip], atol=1e-3)


def test_windows_on_whole_pixels_have_the_coefficients_of_the_cut_out_picture():
    picture = textures(1)
    window = np.array([[2, 3, 4, 1]], np.float32) / SIDE
    cut = picture[:, 2 : SIDE - 3, 4 : SIDE - 1]
    np.testing.assert_allclose(coefficients(picture, window, COUNT), whole(cut, COUNT), atol=1e-3)


def test_the_same_windows_of_all_pictures_are_each_line_with_each_line():
    pictures, lines = textures(2), np.array([[0, 0], [0.1, 0.05]], np.float32)
    found = windowed(pictures, lines, COUNT)
    for row, picture in enumerate(pictures):
        for place in range(4):
            window = np.concatenate([lines[place // 2], lines[place % 2]])[None]
            np.testing.assert_allclose(found[row, place], coefficients(picture[None], window, COUNT)[0], atol=1e-3)


def test_a_window_is_fitted_to_what_another_picture_shows():
    pictures, rng = textures(40), np.random.default_rng(1)
    true = rng.uniform(0, 0.08, (40, 4)).astype(np.float32)
    wanted = 1.2 * coefficients(pictures, true, COUNT)
    start = true + rng.uniform(-0.03, 0.03, (40, 4)).astype(np.float32)
    found = aligned(pictures, start, wanted, np.ones(COUNT**2 - 1, np.float32), COUNT, steps=3)
    assert np.abs(found - true).max() < 0.005
    assert likeness(coefficients(pictures, found, COUNT), wanted).min() > 0.999


def test_without_a_picture_there_is_nothing_to_fit():
    nothing = np.zeros((0, SIDE, SIDE), np.float32)
    assert coefficients(nothing, np.zeros((0, 4)), COUNT).shape == (0, COUNT**2 - 1)
    assert likeness(whole(np.zeros((1, SIDE, SIDE), np.float32), COUNT), whole(textures(1), COUNT)) == 0
