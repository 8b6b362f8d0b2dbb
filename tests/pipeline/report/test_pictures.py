from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.report import pictures


def image(path: Path, height: int, width: int, rgb: tuple[int, int, int]) -> Path:
    pixels = np.full((height, width, 3), rgb[::-1], np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1])
    return path


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    """Two readable images and one that is not."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    return [image(tmp_path / "red.png", 10, 20, (250, 0, 0)), broken, image(tmp_path / "blue.png", 8, 8, (0, 0, 50))]


def test_sizes_and_channels_are_those_of_the_images_that_can_be_read(paths):
    look = pictures.image_stats(paths)
    assert look.images == 2
    assert look.sizes == {(10, 20): 1, (8, 8): 1}
    assert look.mean == pytest.approx([125, 0, 25])
    assert look.std == pytest.approx([125, 0, 25])


def test_a_large_split_is_sampled(paths):
    assert pictures.image_stats([paths[0]] * (pictures.SAMPLED + 5)).images == pictures.SAMPLED


def test_a_tile_holds_the_whole_image_on_white(paths):
    wide, broken, square = pictures.tiles(paths, 40)
    assert (wide[10:30] == (250, 0, 0)).all() and (wide[:10] == 255).all() and (wide[30:] == 255).all()
    assert (broken == 255).all()
    assert (square == (0, 0, 50)).all()


def test_a_strip_has_a_place_for_images_that_a_class_lacks(paths):
    page = pictures.strip(paths[:1], places=3, side=44)
    assert page.shape == (44, 132, 3)
    assert (page[22, 10] == (250, 0, 0)).all()
    assert (page[:, 44:] == 255).all()


def test_images_are_drawn_of_each_class_and_no_more_than_asked_for():
    labels = np.array([0, 1, 0, 0, 3, 0])
    drawn = pictures.drawn_by_class(labels, classes=range(4), most=2)
    assert [len(rows) for rows in drawn] == [2, 1, 0, 1]
    assert all((labels[rows] == label).all() for label, rows in enumerate(drawn))
