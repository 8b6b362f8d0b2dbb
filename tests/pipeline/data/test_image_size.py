"""The sizes that are chosen for images, and the line that says so."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.data.image_size import ImageSizes, Means, choose_sizes
from pipeline.data.native_sizes import native_sizes

RNG = np.random.default_rng(0)
MINUTES = Means(3_000, budget=600.0, pretrained=True)


@pytest.fixture
def draw(tmp_path):
    """A function that writes a photograph, or a drawing on a page, for each (width, height)."""

    def write(*sizes: tuple[int, int], suffix: str = ".jpg", page: bool = False) -> list[Path]:
        paths = [tmp_path / f"{number}{suffix}" for number in range(len(sizes))]
        for path, (width, height) in zip(paths, sizes, strict=True):
            picture = cv2.resize(RNG.integers(0, 256, (5, 7, 3), np.uint8), (width, height))
            if page:
                picture[:] = 255
                picture[height // 4 : height // 2, width // 4 : width // 2] = 0
            cv2.imwrite(str(path), picture)
        return paths

    return write


def line(capsys) -> str:
    return capsys.readouterr().out.strip()


def test_images_that_share_a_small_size_stay_as_they_are_without_a_word(draw, capsys):
    assert choose_sizes(draw(*[(128, 96)] * 3), MINUTES) == ImageSizes((96, 128), 128, 128)
    assert line(capsys) == ""


def test_photographs_are_trained_at_160_and_predicted_at_192_in_minutes_on_a_cpu(draw, capsys):
    assert choose_sizes(draw(*[(900, 900)] * 3), MINUTES) == ImageSizes((256, 256), 160, 192)
    assert line(capsys) == "photographs of 900 x 900: trained at 160, predicted at 192; --size decides"


def test_the_ratio_that_most_share_is_kept_with_as_many_pixels(draw, capsys):
    sizes = choose_sizes(draw(*[(1024, 768)] * 19, (800, 800)), MINUTES)
    assert sizes == ImageSizes((222, 296), 185, 222)
    assert line(capsys) == (
        "photographs of about 1,024 x 768, cropped to the ratio 1.33: trained at 185 x 139, predicted at 222 x 166; "
        "--size decides"
    )


def test_images_of_several_ratios_are_cropped_to_squares_and_drawings_are_padded(draw, capsys):
    mixed = [(400, 300), (300, 400), (500, 200)]
    assert choose_sizes(draw(*mixed), MINUTES).cached == (256, 256)
    assert line(capsys).startswith("photographs of about 400 x 300, cropped to squares: ")
    assert choose_sizes(draw(*mixed, page=True), MINUTES).fit == "pad"
    assert line(capsys).startswith("drawings of about 400 x 300, padded to squares: ")


def test_what_a_phone_has_turned_is_seen_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 300)).save(tmp_path / "turned.jpg", exif=exif)
    assert native_sizes([tmp_path / "turned.jpg"]).common == (400, 300)


def test_nothing_is_enlarged_for_nothing(draw):
    assert choose_sizes(draw(*[(150, 150)] * 3), MINUTES) == ImageSizes((150, 150), 150, 150)
    assert choose_sizes(draw(*[(180, 180)] * 3), MINUTES) == ImageSizes((180, 180), 160, 180)
    icons = choose_sizes(draw((16, 16), (24, 24), (32, 32), (32, 32), (48, 48)), MINUTES)
    assert icons == ImageSizes((32, 32), 32, 32)


def test_files_whose_header_is_not_an_images_are_decoded_for_their_size(tmp_path):
    np.save(tmp_path / "scan.npy", RNG.integers(0, 4000, (300, 200)))
    assert native_sizes([tmp_path / "scan.npy"]).common == (300, 200)


def test_files_that_cannot_be_read_are_left_to_the_cache(tmp_path, draw):
    (tmp_path / "empty.jpg").touch()
    assert choose_sizes([tmp_path / "empty.jpg", tmp_path / "missing.jpg"], MINUTES) == ImageSizes.all_as((64, 64))
    assert choose_sizes([tmp_path / "empty.jpg", *draw((20, 20))], MINUTES).cached == (20, 20)


@pytest.mark.parametrize(
    ("means", "trained"),
    [
        (Means(3_000, 600.0, "cpu", pretrained=True), 160),
        (Means(300, 600.0, "cpu", pretrained=True), 160),
        (Means(3_000, 3600.0, "cpu", pretrained=True), 224),
        (Means(100_000, 600.0, "cpu", pretrained=True), 128),
        (Means(10_000, 600.0, "cpu"), 96),
        (Means(300, 600.0, "cpu"), 160),
        (Means(10_000, None, "cpu"), 160),
        (Means(1_000, 600.0, "cuda", pretrained=True), 224),
        (Means(20_000, 8 * 3600.0, "cuda", pretrained=True), 384),
        (Means(10**6, 3600.0, "cuda", pretrained=True), 128),
    ],
)
def test_images_budget_and_device_decide_how_large_a_step_is_affordable(means, trained):
    assert means.sides[0] == trained
