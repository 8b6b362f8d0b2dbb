"""Every kind of image file comes out as the RGB that a viewer would show."""

import errno
import io
import struct
import zlib
from functools import partial
from typing import NoReturn

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.data import decode as decoding
from pipeline.data.decode import UnreadableImage, decode, resize

HEIGHT, WIDTH = 20, 32
ORIENTATION = 0x112


@pytest.fixture
def pixels() -> np.ndarray:
    """A smooth uint8 [20, 32, 3] image, the same whenever it is drawn."""
    grid = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def as_viewed(path) -> np.ndarray:
    """Pillow's own reading, turned upright."""
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_lossless_files_without_transparency_equal_pillows_conversion(tmp_path, pixels, mode, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).convert(mode).save(path)
    image = decode(path)
    assert image.dtype == np.uint8 and image.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(image, as_viewed(path))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
def test_jpegs_equal_pillows_conversion_up_to_rounding(tmp_path, pixels, mode, options):
    path = tmp_path / "image.jpg"
    Image.fromarray(pixels).convert(mode).save(path, **options)
    assert np.abs(decode(path) - as_viewed(path)).max() <= 1


def test_a_ycck_jpeg_with_adobes_inversion_equals_pillows_conversion(tmp_path, pixels):
    channels = np.dstack([Image.fromarray(pixels).convert("YCbCr"), np.full((HEIGHT, WIDTH), 200, np.uint8)])
    data = bytearray(encoded(Image.fromarray(channels, "CMYK"), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = 2  # the colour transform: 0 is CMYK, 2 is YCCK
    path = tmp_path / "image.jpg"
    path.write_bytes(data)
    assert np.abs(decode(path) - as_viewed(path)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_turns_the_image_upright(tmp_path, pixels, orientation, suffix):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif)
    image = decode(path)
    assert image.shape == ((WIDTH, HEIGHT, 3) if orientation > 4 else (HEIGHT, WIDTH, 3))
    assert np.abs(image - as_viewed(path)).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_an_alpha_channel_lies_on_white(tmp_path, pixels, suffix):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, WIDTH // 2 :] = 255
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.dstack([pixels, alpha])).save(path, lossless=True)
    image = decode(path)
    assert (image[:, : WIDTH // 2] == 255).all()
    assert np.array_equal(image[:, WIDTH // 2 :], pixels[:, WIDTH // 2 :])


def test_half_transparent_black_is_middle_grey(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 128)).save(tmp_path / "image.png")
    assert (decode(tmp_path / "image.png") == 127).all()


def test_grey_with_alpha_lies_on_white(tmp_path):
    Image.new("LA", (4, 4), (10, 0)).save(tmp_path / "image.png")
    assert (decode(tmp_path / "image.png") == 255).all()


@pytest.mark.parametrize(("mode", "colour"), [("P", 3), ("L", 3), ("RGB", (3, 3, 3))])
def test_a_transparent_colour_lies_on_white(tmp_path, mode, colour):
    image = Image.new(mode, (4, 4), colour)
    if mode == "P":
        image.putpalette(bytes(range(48)))
    image.save(tmp_path / "image.png", transparency=colour)
    assert (decode(tmp_path / "image.png") == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_to_eight_and_not_clipped(tmp_path, channels):
    samples = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), samples)
    assert np.array_equal(decode(path), np.broadcast_to(samples[..., ::-1] >> 8, (HEIGHT, WIDTH, 3)))


def test_sixteen_bit_grey_with_a_transparent_shade_is_not_clipped(tmp_path):
    plain = encoded(Image.fromarray(np.full((4, 4), 30_000, np.uint16)), "PNG")
    header = plain.index(b"IDAT") - 4
    path = tmp_path / "image.png"
    path.write_bytes(plain[:header] + png_chunk(b"tRNS", struct.pack(">H", 7)) + plain[header:])
    assert (decode(path) == 30_000 >> 8).all()


def test_an_animated_webp_gives_its_first_frame(tmp_path, pixels):
    first, second = Image.fromarray(pixels), Image.fromarray(255 - pixels)
    first.save(tmp_path / "image.webp", save_all=True, append_images=[second], lossless=True)
    assert np.array_equal(decode(tmp_path / "image.webp"), pixels)


def test_the_content_and_not_the_suffix_says_what_a_file_is(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "image.jpg", "PNG")
    assert np.array_equal(decode(tmp_path / "image.jpg"), pixels)


def test_names_outside_ascii_are_read(tmp_path, pixels):
    path = tmp_path / "Übung 图像.png"
    Image.fromarray(pixels).save(path)
    assert np.array_equal(decode(str(path)), pixels)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
@pytest.mark.parametrize("kept", [0, 3, 0.3, 0.7, 0.95, -1])
def test_a_file_cut_short_is_unreadable_and_says_so_only_in_the_exception(tmp_path, pixels, suffix, kept, capfd):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if 0 < kept < 1 else kept])
    with pytest.raises(UnreadableImage, match=path.name):
        decode(path)
    assert capfd.readouterr().err == ""


def test_the_end_of_a_thumbnail_is_not_the_end_of_a_jpeg(tmp_path, pixels):
    thumbnail = encoded(Image.fromarray(pixels).resize((8, 8)), "JPEG")
    application = b"\xff\xe5" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    whole = encoded(Image.fromarray(pixels), "JPEG")
    data = whole[:2] + application + whole[2:]
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[:-20])
    assert decode(tmp_path / "whole.jpg").shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(UnreadableImage, match="cut short"):
        decode(tmp_path / "cut.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_bytes_after_the_end_of_an_image_do_no_harm(tmp_path, pixels, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).save(path)
    expected = decode(path)
    path.write_bytes(path.read_bytes() + bytes(50))
    assert np.array_equal(decode(path), expected)


def test_a_damaged_png_is_unreadable_and_says_so_only_in_the_exception(tmp_path, pixels, capfd):
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9"])
def test_what_is_no_image_is_unreadable(tmp_path, content):
    (tmp_path / "image.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"image\.jpg"):
        decode(tmp_path / "image.jpg")


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path):
    for path in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(UnreadableImage, match=path.name):
            decode(path)


def test_resizing_averages_where_it_shrinks_and_keeps_flat_colours_where_it_grows():
    stripes = np.zeros((4, 4, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize(stripes, 2, 2) == 100).all()
    assert (resize(np.full((2, 8, 3), 9, np.uint8), 16, 4) == 9).all()
    assert resize(stripes, 3, 7).shape == (3, 7, 3)


def test_a_lack_of_memory_or_of_file_handles_is_not_the_images_fault(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    for error in (MemoryError(), OSError(errno.EMFILE, "Too many open files")):
        with monkeypatch.context() as patch, pytest.raises(type(error)):
            patch.setattr(decoding, "read_file", partial(_raise, error))
            decode(path)


def _raise(error: Exception, _: object) -> NoReturn:
    raise error
