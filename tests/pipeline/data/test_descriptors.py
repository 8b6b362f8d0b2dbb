"""Descriptors: what they see in an image, and that they are computed once."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition.errors import UserError
from pipeline.data.cache import open_cache
from pipeline.data.descriptors import (
    CELLS,
    COLOURS,
    HISTOGRAMS,
    ORIENTATIONS,
    PIXELS,
    computed_once,
    descriptors,
    gradient_histograms,
)
from tests.damage import SPRUNG, WAYS, damage


def stripes(degrees: float, side: int = 32) -> np.ndarray:
    """Grey uint8 ``[side, side, 3]`` whose brightness changes in that direction, 0 being to the right, 90 down."""
    down, right = np.mgrid[:side, :side]
    along = right * np.cos(np.radians(degrees)) + down * np.sin(np.radians(degrees))
    return np.repeat(np.uint8(128 + 100 * np.sin(along * 0.7))[..., None], 3, axis=2)


@pytest.mark.parametrize("direction", range(ORIENTATIONS))
def test_stripes_across_a_direction_are_counted_under_it_in_every_inner_cell(direction: int):
    image = stripes(180 / ORIENTATIONS * direction)
    cells = gradient_histograms(image[None]).reshape(CELLS // 2, 2, CELLS // 2, 2, ORIENTATIONS)
    assert (cells.argmax(axis=-1) == direction).mean() > 0.9


def test_contrast_does_not_change_what_the_histograms_say():
    faint = np.uint8(stripes(30) * 0.5 + 60)
    seen, seen_faint = gradient_histograms(np.stack([stripes(30), faint]))
    np.testing.assert_allclose(seen, seen_faint, atol=0.06)


def test_a_flat_image_has_no_gradients_and_its_colour_everywhere():
    image = np.full((1, 20, 20, 3), (255, 51, 0), np.uint8)
    found = descriptors(image)[0].astype(np.float32)
    assert not found[HISTOGRAMS].any()
    np.testing.assert_allclose(
        found[COLOURS].reshape(-1, 3, 2), np.tile([[1, 0], [0.2, 0], [0, 0]], (16, 1, 1)), atol=1e-3
    )
    np.testing.assert_allclose(found[PIXELS].reshape(-1, 3), np.tile([1, 0.2, 0], (256, 1)), atol=1e-3)


@pytest.mark.parametrize("size", [(28, 28), (100, 100), (17, 60)])
def test_images_of_any_size_have_as_many_descriptors_all_between_0_and_1(size: tuple[int, int]):
    found = descriptors(np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8))
    assert (found.shape, found.dtype) == ((3, PIXELS.stop), np.float16)
    assert found.min() >= 0 and found.max() <= 1


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((8, 8, 3), number, np.uint8))
    return paths


def brightness(images) -> np.ndarray:
    return images[:].mean(axis=(1, 2))


def test_of_a_cache_all_rows_are_computed_once_and_those_asked_for_given(paths: list[Path], tmp_path: Path):
    calls = []

    def compute(images):
        calls.append(len(images))
        return brightness(images)

    cache = open_cache(paths, tmp_path / "cache")
    rows = np.array([4, 1])
    np.testing.assert_array_equal(computed_once(cache.subset(rows), "mean", compute), brightness(cache)[rows])
    again = open_cache(paths, tmp_path / "cache")
    np.testing.assert_array_equal(computed_once(again, "mean", compute), brightness(cache))
    assert calls == [6]


@pytest.mark.parametrize("way", WAYS)
def test_damaged_values_are_computed_again_and_a_line_says_so(paths: list[Path], tmp_path: Path, capsys, way: str):
    cache = open_cache(paths, tmp_path / "cache")
    expected = computed_once(cache, "mean", brightness)
    damage(cache.folder / "mean.npy", way)
    np.testing.assert_array_equal(computed_once(cache, "mean", brightness), expected)
    assert ("mean.npy: damaged; it is computed again\n" in capsys.readouterr().out) == (way != "missing")
    np.testing.assert_array_equal(computed_once(cache, "mean", brightness), expected)
    assert capsys.readouterr().out == ""
    assert not (cache.folder / SPRUNG).exists()


def test_the_values_of_another_cache_are_not_taken(paths: list[Path], tmp_path: Path):
    cache, other = (open_cache(some, tmp_path / "cache") for some in (paths[:3], paths[3:]))
    computed_once(cache, "mean", brightness)
    shutil.copyfile(cache.folder / "mean.npy", other.folder / "mean.npy")
    np.testing.assert_array_equal(computed_once(other, "mean", brightness)[:, 0], [3, 4, 5])


def test_another_name_or_other_images_are_computed_anew(paths: list[Path], tmp_path: Path):
    cache = open_cache(paths, tmp_path / "cache")
    computed_once(cache, "mean", brightness)
    double = computed_once(cache, "double", lambda images: 2 * brightness(images))
    np.testing.assert_array_equal(double[:, 0], range(0, 12, 2))
    fewer = open_cache(paths[3:], tmp_path / "cache")
    np.testing.assert_array_equal(computed_once(fewer, "mean", brightness)[:, 0], [3, 4, 5])


def test_images_outside_of_a_cache_leave_nothing_on_disk(tmp_path: Path):
    computed_once(np.zeros((2, 8, 8, 3), np.uint8), "mean", brightness)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(paths: list[Path], tmp_path: Path, monkeypatch):
    cache = open_cache(paths, tmp_path / "cache")
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"No space left on device; .*--work"):
        computed_once(cache, "mean", brightness)
    assert not list(cache.folder.glob("*mean*"))
