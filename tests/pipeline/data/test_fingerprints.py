"""The fingerprints that a cache takes of its images say what the images show, and cost at most 200 bytes each."""

from dataclasses import fields

import cv2
import numpy as np
import pytest

from pipeline.data.cache import open_cache
from pipeline.data.fingerprints import SCALE, SIDE, Fingerprints, pixel_hashes

BYTES = 200  # of an image, at most


def looked_at(images: np.ndarray) -> Fingerprints:
    found = Fingerprints.empty(len(images))
    found.look_at(images)
    return found


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def test_all_fingerprints_of_an_image_take_at_most_200_bytes():
    found = Fingerprints.empty(1000)
    assert sum(getattr(found, field.name).nbytes for field in fields(found)) <= 1000 * BYTES


@pytest.mark.parametrize("shape", [(48, 48), (64, 96), (63, 45), (200, 131), (5, 90), (2, 2)])
def test_thumbnails_and_figures_are_those_of_the_image_at_any_size(shape):
    down, right = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    image = np.stack([40 + 160 * right, 60 + 80 * down, np.full(shape, 90.0)], axis=2).round().astype(np.uint8)
    found = looked_at(image[None])
    assert np.abs(found.colours[0].astype(float) - image.mean(axis=(0, 1))).max() <= 2
    luma = image @ [0.299, 0.587, 0.114]
    assert abs(found.brightness[0] - luma.mean()) < 2
    small = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA if min(shape) > SIDE else cv2.INTER_NEAREST)
    assert found.contrast[0] == pytest.approx(small.std(), rel=0.08)
    standard = found.thumbnails[0] / SCALE
    assert np.corrcoef(standard.ravel(), small.ravel())[0, 1] > 0.98
    assert standard.mean() == pytest.approx(0, abs=0.03) and standard.std() == pytest.approx(1, abs=0.03)


def test_thumbnails_of_pictures_with_hardly_any_contrast_are_not_rounded_on_the_way():
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.normal(0, 0.5, (4, 4)), (96, 96), interpolation=cv2.INTER_CUBIC)
    image = np.rint(60 + coarse + rng.normal(0, 0.5, (96, 96)))[..., None].repeat(3, axis=2).astype(np.uint8)
    small = cv2.resize(image[..., 0].astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(looked_at(image[None]).thumbnails.ravel(), small.ravel())[0, 1] > 0.999


def test_brightening_an_image_changes_its_figures_and_not_its_thumbnail():
    image = noise(48, 48) // 3
    found = looked_at(np.stack([image, 2 * image + 20]))
    assert found.brightness[1] == pytest.approx(2 * found.brightness[0] + 20, abs=1)
    assert found.contrast[1] == pytest.approx(2 * found.contrast[0], rel=0.05)
    assert np.abs(found.thumbnails[0].astype(int) - found.thumbnails[1]).max() <= SCALE / 4


def test_a_picture_is_blank_if_it_is_of_a_single_colour():
    images = np.full((4, 32, 32, 3), (10, 200, 90), np.uint8)
    images[1, 5, 7] += 1
    images[2, ::2] += 8  # fine stripes, which do not show in a thumbnail
    images[3, :, 16:, 0] += 20
    assert looked_at(images).blank.tolist() == [True, True, False, False]


def test_equal_pixels_have_equal_hashes_and_others_different_ones():
    images = noise(3, 9, 7)  # 189 bytes, which 64-bit words do not divide
    images[2] = images[0]
    hashes = pixel_hashes(images)
    assert hashes[0] == hashes[2] != hashes[1]
    changed = np.repeat(images[:1], 189, axis=0)
    changed.reshape(189, -1)[np.arange(189), np.arange(189)] ^= 0x80
    assert len(set(pixel_hashes(changed).tolist()) | {int(hashes[0])}) == 190


def test_hashes_differ_where_only_the_highest_bits_of_words_do():
    images = np.zeros((2000, 8, 8, 3), np.uint8)
    rng = np.random.default_rng(0)
    for image in images:
        image.reshape(-1)[7::8][rng.choice(24, 2, replace=False)] = rng.integers(1, 256, 2)
    distinct = len({image.tobytes() for image in images})
    assert len(set(pixel_hashes(images).tolist())) == distinct


def test_a_cache_keeps_the_own_size_of_each_image_however_it_was_decoded(tmp_path):
    shapes = [(30, 40), (700, 500), (160, 320)]
    for number, shape in enumerate(shapes):
        for extension in (".png", ".jpg"):
            cv2.imwrite(str(tmp_path / f"{number}{extension}"), cv2.resize(noise(8, 8), shape[::-1]))
    turned = cv2.imencode(".jpg", noise(400, 600))[1].tobytes()
    exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    (tmp_path / "turned.jpg").write_bytes(turned[:2] + exif + turned[2:])
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = sorted(tmp_path.iterdir())
    cache = open_cache(paths, tmp_path / "caches", (32, 32))
    sizes = dict(zip([path.name for path in paths], cache.fingerprints.sizes.tolist(), strict=True))
    assert sizes == {
        **{
            f"{number}{extension}": list(shape) for number, shape in enumerate(shapes) for extension in (".png", ".jpg")
        },
        "turned.jpg": [600, 400],
        "broken.png": [0, 0],
    }
    assert [path.name for path, known in zip(paths, cache.fingerprints.known, strict=True) if not known] == [
        "broken.png"
    ]


def test_a_cache_that_is_opened_again_has_the_same_fingerprints_also_of_some_rows(tmp_path):
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), noise(20, 20, seed=number))
    paths = sorted(tmp_path.iterdir())
    fresh, again = (open_cache(paths, tmp_path / "caches") for _ in range(2))
    for field in fields(Fingerprints):
        one, other = getattr(fresh.fingerprints, field.name), getattr(again.fingerprints, field.name)
        assert np.array_equal(one, other) and one.dtype == other.dtype
        some = getattr(again.subset([4, 1]).fingerprints, field.name)
        assert np.array_equal(some, one[[4, 1]])
    assert np.array_equal(again.fingerprints.pixels, pixel_hashes(np.asarray(again)))
