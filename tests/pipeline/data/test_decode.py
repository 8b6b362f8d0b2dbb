"""Every kind of image file comes out as the RGB that a viewer would show."""

import errno
import importlib.util
import io
import struct
import sys
import zlib
from functools import partial
from typing import NoReturn

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.data import decode as decoding
from pipeline.data import decoders, png
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


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as shades of grey from black at ``low`` to white at ``high``."""
    return np.clip((values.astype(np.float64) - low) * 255 / (high - low), 0, 255)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("low", "high"), [(0, 2**16 - 1), (900, 4095), (40, 300)])
def test_sixteen_bits_are_scaled_by_the_pictures_own_range(tmp_path, channels, suffix, low, high):
    samples = np.random.default_rng(0).integers(low, high, (HEIGHT, WIDTH, channels), dtype=np.uint16, endpoint=True)
    path = tmp_path / f"image.{suffix}"
    cv2.imwrite(str(path), samples)
    expected = scaled(samples[..., ::-1], samples.min(), samples.max())
    assert np.abs(decode(path) - expected).max() <= 0.51


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_that_hold_values_of_eight_are_not_black(tmp_path, channels, suffix):
    samples = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    samples[..., 3:] = 2**16 - 1
    path = tmp_path / f"image.{suffix}"
    cv2.imwrite(str(path), samples)
    assert np.array_equal(decode(path), np.broadcast_to(samples[..., 2::-1], (HEIGHT, WIDTH, 3)))


def test_sixteen_bit_grey_with_a_transparent_shade_is_not_clipped(tmp_path):
    plain = encoded(Image.fromarray(np.full((4, 4), 30_000, np.uint16)), "PNG")
    header = plain.index(b"IDAT") - 4
    path = tmp_path / "image.png"
    path.write_bytes(plain[:header] + png_chunk(b"tRNS", struct.pack(">H", 7)) + plain[header:])
    assert (decode(path) == 30_000 >> 8).all()


@pytest.mark.parametrize("suffix", ["webp", "gif", "tif"])
def test_an_animation_or_a_book_gives_its_first_page(tmp_path, suffix):
    first, second = (Image.new("L", (8, 4), shade) for shade in (40, 200))
    first.save(tmp_path / f"image.{suffix}", save_all=True, append_images=[second], lossless=True)
    assert (decode(tmp_path / f"image.{suffix}") == 40).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK"])
def test_tiffs_equal_pillows_conversion(tmp_path, pixels, compression, mode):
    path = tmp_path / "image.tif"
    if (compression, mode) != ("jpeg", "P"):  # which Pillow cannot write
        Image.fromarray(pixels).convert(mode).save(path, compression=compression)
        assert np.array_equal(decode(path), as_viewed(path))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_tiff_of_numbers_is_scaled_by_its_percentiles_and_one_of_0_to_1_by_these(tmp_path, channels, kind):
    values = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH, channels)).astype(kind)
    cv2.imwrite(str(tmp_path / "image.tif"), values)
    expected = scaled(values[..., ::-1], *np.percentile(values, (0.5, 99.5)))
    assert np.abs(decode(tmp_path / "image.tif") - expected).max() <= 0.51
    cv2.imwrite(str(tmp_path / "image.tif"), np.full((4, 4, channels), 0.2, kind))
    assert (decode(tmp_path / "image.tif") == 51).all()


def tiff_of_bands(values: np.ndarray) -> bytes:
    """An uncompressed TIFF of ``[H, W, bands]``, uint8 or uint16."""
    height, width, bands = values.shape
    bits, content = 8 * values.itemsize, values.tobytes()
    place = 8 + len(content)
    tags = [(256, 1, width), (257, 1, height), (258, bands, place), (259, 1, 1), (262, 1, 2), (273, 1, 8)]
    tags += [(277, 1, bands), (278, 1, height), (279, 1, len(content)), (338, bands - 3, place + 2 * bands)]
    shorts = struct.pack(f"<{2 * bands - 3}H", *[bits] * bands, *[0] * (bands - 3))
    entries = b"".join(struct.pack("<HHII", tag, 3 if count > 1 else 4, count, value) for tag, count, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, place + len(shorts)) + content + shorts + directory


def test_of_many_bands_the_first_three_are_taken(tmp_path, pixels, monkeypatch):
    bands = np.dstack([pixels, pixels[..., :2] // 2])
    (tmp_path / "image.tif").write_bytes(tiff_of_bands(bands))
    if importlib.util.find_spec("tifffile"):
        assert np.array_equal(decode(tmp_path / "image.tif"), pixels)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UnreadableImage, match=r"image\.tif: TIFF files of many bands need .* pip install tifffile"):
        decode(tmp_path / "image.tif")


@pytest.mark.parametrize(
    ("shape", "seen"),
    [((6, 8), (6, 8)), ((6, 8, 3), (6, 8)), ((3, 6, 8), (6, 8)), ((1, 6, 8, 1), (6, 8)), ((6, 5, 8), (30, 8))],
)
@pytest.mark.parametrize("kind", ["uint8", "int64", "float16", "float32"])
def test_an_array_is_an_image_of_one_or_three_channels_or_frames_below_each_other(tmp_path, shape, seen, kind):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    np.save(tmp_path / "image.npy", values)
    if shape[0] == 3:
        values = np.moveaxis(values, 0, -1)
    expected = values if shape[-1] == 3 or shape[0] == 3 else values.reshape(*seen, 1)
    assert np.array_equal(decode(tmp_path / "image.npy"), np.broadcast_to(expected, (*seen, 3)))


def test_up_to_three_long_signals_are_channels_folded_into_lines(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (3, 600)).astype("uint8")
    np.save(tmp_path / "image.npy", values)
    assert np.array_equal(decode(tmp_path / "image.npy"), np.moveaxis(values.reshape(3, 24, 25), 0, -1))


def test_an_array_of_other_numbers_is_scaled_by_its_percentiles(tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float16)
    values[0, 0], values[0, 1] = np.nan, 60_000
    np.save(tmp_path / "image.npy", values)
    expected = scaled(np.nan_to_num(values), *np.percentile(np.nan_to_num(values.astype(np.float32)), (0.5, 99.5)))
    assert np.abs(decode(tmp_path / "image.npy")[..., 0] - expected).max() <= 0.51


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros((2, 3, 4, 5)), np.array([["a"]]), np.array([[None]])])
def test_an_array_that_is_no_image_is_unreadable(tmp_path, values):
    np.save(tmp_path / "image.npy", values)
    with pytest.raises(UnreadableImage, match=r"image\.npy"):
        decode(tmp_path / "image.npy")


def dicom(path, values: np.ndarray, **elements) -> None:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = elements.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    file.Rows, file.Columns = values.shape[:2]
    file.SamplesPerPixel = 3 if values.ndim == 3 else 1
    file.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    file.PlanarConfiguration = 0
    file.BitsAllocated = file.BitsStored = 8 * values.itemsize
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, 0
    file.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(file, name, value)
    pydicom.dcmwrite(path, file, enforce_file_format=True)


@pytest.fixture
def scan() -> np.ndarray:
    return np.random.default_rng(0).integers(300, 3000, (HEIGHT, WIDTH), dtype=np.uint16)


def test_a_dicom_is_shown_through_its_window_in_its_own_units(tmp_path, scan):
    path = tmp_path / "image.dcm"
    dicom(
        path, scan, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter=["1000", "50"], WindowWidth=["2001", "9"]
    )
    expected = scaled(scan * 2.0 - 1000, 999.5 - 1000, 999.5 + 1000)
    assert np.abs(decode(path) - expected[..., np.newaxis]).max() <= 0.51


def test_a_dicom_without_a_window_is_scaled_by_its_percentiles(tmp_path, scan):
    dicom(tmp_path / "image.dcm", scan)
    expected = scaled(scan, *np.percentile(scan, (0.5, 99.5)))[..., np.newaxis]
    assert np.abs(decode(tmp_path / "image.dcm") - expected).max() <= 0.51


def test_a_dicom_of_inverted_grey_is_turned_and_one_of_colours_is_as_it_is(tmp_path, scan, pixels):
    dicom(tmp_path / "grey.dcm", scan)
    dicom(tmp_path / "inverted.dcm", scan, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(decode(tmp_path / "inverted.dcm"), 255 - decode(tmp_path / "grey.dcm"))
    dicom(tmp_path / "colours.dcm", pixels)
    assert np.array_equal(decode(tmp_path / "colours.dcm"), pixels)


def test_a_dicom_whose_compression_cannot_be_read_names_it(tmp_path, scan):
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.encaps.encapsulate([b"\xff\xd8 lossless \xff\xd9"])
    dicom(tmp_path / "image.dcm", scan, syntax=pydicom.uid.JPEGLSLossless, PixelData=data)
    with pytest.raises(UnreadableImage, match=r"compressed as JPEG-LS Lossless.*; run: pip install pylibjpeg"):
        decode(tmp_path / "image.dcm")


def test_a_dicom_without_its_package_names_the_package(tmp_path, scan, monkeypatch):
    dicom(tmp_path / "image.dcm", scan)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableImage, match="DICOM files need the package pydicom; run: pip install pydicom"):
        decode(tmp_path / "image.dcm")


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *(("jpg", "RGB"), ("jpg", "L"), ("tif", "RGB"), ("tif", "L"), ("webp", "RGB"), ("webp", "RGBA")),
        *(("png", mode) for mode in ("RGB", "L", "P", "RGBA", "I;16")),
    ],
)
def test_a_picture_of_very_many_pixels_is_read_reduced(tmp_path, pixels, suffix, mode, monkeypatch):
    path = tmp_path / f"image.{suffix}"
    image = Image.fromarray(pixels).resize((402, 247))
    (image.convert("L").convert("I;16") if mode == "I;16" else image.convert(mode)).save(path)
    whole = decode(path)
    monkeypatch.setattr(decoders, "LARGE", 101 * 62)
    monkeypatch.setattr(png, "STRIP", 402 * 4 * 5)
    monkeypatch.setattr(decoding, "SMALL_JPEG", 0)
    reduced = decode(path)
    assert abs(reduced.shape[0] - 62) <= 1 and abs(reduced.shape[1] - 100) <= 1
    assert np.abs(reduced.astype(int) - resize(whole, *reduced.shape[:2])).mean() < 2
    monkeypatch.setattr(decoders, "MOST", 400)
    monkeypatch.setattr(decoding, "MOST_JPEG", 400)
    with pytest.raises(UnreadableImage, match="402 x 247 pixels are more than can be decoded; reduce it first"):
        decode(path)


@pytest.mark.parametrize("size", [(1, 900), (900, 1), (1, 1)])
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif"])
def test_strips_of_one_pixel_are_read_and_resized(tmp_path, size, suffix):
    Image.new("L", size, 90).save(tmp_path / f"image.{suffix}")
    assert (resize(decode(tmp_path / f"image.{suffix}"), 8, 8) == 90).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a pointer of Git LFS, .* git lfs pull"),
        (b"<!DOCTYPE html><title>404</title>", "a web page, not an image"),
        (b"II*\0 and then", "the TIFF is cut short or damaged"),
    ],
)
def test_what_lies_in_the_place_of_an_image_is_named(tmp_path, content, reason):
    (tmp_path / "image.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"image\.jpg: {reason}"):
        decode(tmp_path / "image.jpg")


def test_the_content_and_not_the_suffix_says_what_a_file_is(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "image.jpg", "PNG")
    assert np.array_equal(decode(tmp_path / "image.jpg"), pixels)


def test_names_outside_ascii_are_read(tmp_path, pixels):
    path = tmp_path / "Übung 图像.png"
    Image.fromarray(pixels).save(path)
    assert np.array_equal(decode(str(path)), pixels)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "npy", "dcm", "jp2"])
@pytest.mark.parametrize("kept", [0, 3, 0.3, 0.7, 0.95, -1])
def test_a_file_cut_short_is_unreadable_and_says_so_only_in_the_exception(tmp_path, pixels, suffix, kept, capfd):
    path = tmp_path / f"image.{suffix}"
    if suffix == "npy":
        np.save(path, pixels)
    elif suffix == "dcm":
        dicom(path, pixels)
    else:
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


@pytest.mark.parametrize(("least", "seen"), [
    ((60, 80), (75, 100)), ((75, 100), (75, 100)), ((76, 9), (150, 200)), ((30, 40), (38, 50)), ((400, 1), (300, 400)),
])  # fmt: skip
def test_a_jpeg_of_which_less_is_enough_is_decoded_reduced_and_no_smaller_than_that(pixels, least, seen):
    whole = cv2.resize(pixels, (400, 300))
    data = cv2.imencode(".jpg", whole[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    found = decoding.decode_bytes(data, least)
    assert found.shape == (*seen, 3)
    assert np.abs(found.astype(int) - resize(whole, *seen)).mean() < 3


def test_a_jpeg_that_exif_turns_is_large_enough_both_ways():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(Image.new("RGB", (800, 200)), "JPEG", exif=exif)
    assert decoding.decode_bytes(data, (100, 100)).shape == (400, 100, 3)
    assert decoding.decode_bytes(data, (50, 400)).shape == (800, 200, 3)
    assert decoding.decode_bytes(data, (400, 50)).shape == (800, 200, 3)
