"""Images are decoded once, whole or not at all, whoever asks and however often."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from competition.errors import UserError
from competition.storage import MACHINE
from pipeline.data.cache import contents_of, known_contents, open_cache
from pipeline.data.decode import content_hash

ROOT = Path(__file__).resolve().parents[3]
OPEN_CACHE = """
import resource, sys
from pathlib import Path
from pipeline.data.cache import open_cache
images = sorted(Path(sys.argv[1]).iterdir()) * int(sys.argv[3])
cache = open_cache(images, Path(sys.argv[2]), threads=2)
unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kilobytes elsewhere
print(len(cache), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


def draw(folder: Path, count: int = 6, height: int = 12, width: int = 16, seed: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{seed}-{number:05}.png" for number in range(count)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return paths


def rgb(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


def in_another_process(images: Path, caches: Path, repeated: int = 1) -> subprocess.Popen:
    command = [sys.executable, "-c", OPEN_CACHE, str(images), str(caches), str(repeated)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def images(tmp_path) -> list[Path]:
    return draw(tmp_path / "images")


@pytest.fixture
def caches(tmp_path) -> Path:
    return tmp_path / "caches"


def test_rows_are_the_images_in_the_order_of_the_paths(images, caches):
    cache = open_cache(images[::-1], caches)
    assert np.array_equal(cache, np.stack([rgb(path) for path in images[::-1]]))


def test_an_order_of_many_chunks_and_threads_is_kept(tmp_path, caches):
    images = draw(tmp_path / "images", count=2_100, height=16, width=16)
    cache = open_cache(images, caches, threads=5)
    assert np.array_equal(cache, np.stack([rgb(path) for path in images]))


def test_indexing_copies_rows_as_an_array_would(images, caches):
    cache = open_cache(images, caches)
    array = np.asarray(cache)
    assert len(cache) == 6 and cache.shape == array.shape == (6, 12, 16, 3)
    assert cache.dtype == array.dtype == np.uint8 and cache.ndim == array.ndim == 4
    for index in (
        0,
        -1,
        np.int64(3),
        slice(1, 5, 2),
        slice(None),
        np.array([4, 0, 4]),
        [2, 1],
        array[:, 0, 0, 0] > 9,
    ):
        assert np.array_equal(cache[index], array[index])
    cache[2:4][:] = 0
    cache[2][:] = 0
    assert np.array_equal(cache, array)


def test_an_index_past_the_end_is_an_error(images, caches):
    with pytest.raises(IndexError):
        open_cache(images, caches)[6]


def test_a_subset_is_a_cache_of_its_rows(images, caches):
    cache = open_cache(images, caches)
    array = np.asarray(cache)
    subset = cache.subset(np.array([5, 1, 3])).subset([2, 0])
    assert np.array_equal(subset, array[[3, 5]])
    assert np.array_equal(subset[1], array[5])
    assert len(cache.subset(slice(0, 4))) == 4


def test_it_becomes_an_array_of_another_type_and_never_without_a_copy(images, caches):
    cache = open_cache(images, caches)
    assert np.asarray(cache, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copying"):
        np.array(cache, copy=False)


def test_no_images_make_an_empty_cache(caches):
    assert np.asarray(open_cache([], caches)).shape == (0, 64, 64, 3)


def test_without_a_size_the_first_readable_image_decides(tmp_path, caches):
    first, second = draw(tmp_path / "first", 2, 28, 20), draw(tmp_path / "second", 1, 200, 30, seed=1)
    assert open_cache(first + second, caches).shape == (3, 28, 20, 3)
    first[0].write_bytes(b"no image")
    assert open_cache([first[0], *second], caches).shape == (2, 200, 30, 3)


def test_a_size_asked_for_is_used(images, caches):
    cache = open_cache(images, caches, size=(8, 8))
    assert cache.shape == (6, 8, 8, 3)
    assert np.array_equal(cache[0], cv2.resize(rgb(images[0]), (8, 8), interpolation=cv2.INTER_AREA))


def test_the_same_question_maps_the_same_file_again(images, caches):
    open_cache(images, caches)
    (built,) = caches.glob("*/images.npy")
    before = built.stat()
    open_cache(images, caches)
    assert list(caches.glob("*/images.npy")) == [built]
    assert (built.stat().st_mtime_ns, built.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_another_order_size_time_or_content_makes_another_cache(images, caches):
    def number_of_caches(paths: list[Path], size: tuple[int, int] | None = None) -> int:
        open_cache(paths, caches, size)
        return len(list(caches.iterdir()))

    assert number_of_caches(images) == 1
    assert number_of_caches(images[::-1]) == 2
    assert number_of_caches(images, size=(8, 8)) == 3
    os.utime(images[0], ns=(0, 0))
    assert number_of_caches(images) == 4
    draw(images[0].parent, seed=1)[0].rename(images[1])
    assert number_of_caches(images) == 5
    assert np.array_equal(open_cache(images, caches)[1], rgb(images[1]))


def test_unreadable_images_are_rows_of_zeros_reported_by_number(images, caches):
    images[0].write_bytes(b"")
    images[2].write_bytes(images[2].read_bytes()[:-30])
    images[4].unlink()
    for _ in ("built", "mapped"):
        cache = open_cache(images, caches)
        assert cache.unreadable.tolist() == [0, 2, 4]
        assert cache.shape == (6, 12, 16, 3)
        assert not cache[[0, 2, 4]].any() and cache[1].any()
    assert cache.subset([1, 4, 5, 0]).unreadable.tolist() == [1, 3]
    assert open_cache(images[1:2], caches).unreadable.tolist() == []


def test_an_unreadable_image_that_is_mended_is_read_again(images, caches):
    whole = images[3].read_bytes()
    images[3].write_bytes(whole[:50])
    assert open_cache(images, caches).unreadable.tolist() == [3]
    images[3].write_bytes(whole)
    assert open_cache(images, caches).unreadable.tolist() == []


def test_an_exception_while_building_leaves_nothing_and_the_next_call_succeeds(images, caches):
    with pytest.raises(TypeError):
        open_cache([*images, 0.5], caches)
    assert list(caches.glob("*")) == []
    assert len(open_cache(images, caches)) == 6


def contents_by_hand(paths: list[Path]) -> list[int]:
    return [content_hash(path.read_bytes()) for path in paths]


def test_the_hash_of_every_file_is_kept_and_follows_its_row(images, caches):
    for _ in ("built", "read"):
        cache = open_cache(images, caches)
        assert cache.contents.tolist() == contents_by_hand(images)
    assert cache.subset([4, 1]).contents.tolist() == contents_by_hand([images[4], images[1]])
    assert cache.subset([4, 1]).whole.contents.tolist() == contents_by_hand(images)


def test_hashes_are_read_from_a_cache_or_from_the_files(images, caches):
    shapes = [((8, 8), "squash"), ((8, 8), "crop")]
    assert known_contents(images, caches, shapes) is None
    open_cache(images, caches, size=(8, 8), fit="crop")
    assert known_contents(images, caches, shapes).tolist() == contents_by_hand(images)
    assert known_contents(images, caches, shapes[:1]) is None
    images[2].unlink()
    assert known_contents(images, caches, shapes) is None
    assert contents_of(images).tolist() == [*contents_by_hand(images[:2]), 0, *contents_by_hand(images[3:])]


def test_a_file_that_is_replaced_by_one_of_its_size_and_time_is_decoded_again(tmp_path, images, caches):
    (other,) = draw(tmp_path / "others", count=1, seed=7)
    for path in (images[0], other):
        path.write_bytes(path.read_bytes().ljust(2_000, b"\0"))
    shutil.copystat(images[0], other)
    before = open_cache(images, caches)
    other.replace(images[0])
    assert not np.array_equal(open_cache(images, caches)[0], before[0])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """Change one bit of the images or their hashes, or of a number in the JSON file."""
    content = bytearray(path.read_bytes())
    content[{"images.npy": -1, "contents.npz": 140, "fingerprints.npz": 140, "cache.json": -8}[path.name]] ^= 1
    path.write_bytes(content)


def flip_the_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"|u1", b"|i1").replace(b"<u8", b"<i8").replace(b"shape", b"shale"))


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [
    cut, flip, flip_the_header, become_a_folder, Path.unlink, lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"\x80\x04N."),
])  # fmt: skip
@pytest.mark.parametrize("name", ["images.npy", "cache.json", "contents.npz", "fingerprints.npz"])
def test_a_damaged_cache_is_built_again_with_one_line(images, caches, capsys, name, damage):
    sound = np.asarray(open_cache(images, caches))
    (path,) = caches.glob(f"*/{name}")
    damage(path)
    cache = open_cache(images, caches)
    assert np.array_equal(cache, sound) and cache.contents.tolist() == contents_by_hand(images)
    out = capsys.readouterr().out
    fault = f"{name} is missing" if damage == Path.unlink else ""
    assert out.startswith(f"warning: the image cache in {path.parent} cannot be used ({fault}") and out.count("\n") == 1
    open_cache(images, caches)
    assert capsys.readouterr().out == ""
    assert len(list(caches.iterdir())) == 1


def test_a_file_in_the_place_of_a_cache_is_replaced(images, caches, capsys):
    open_cache(images, caches)
    (place,) = caches.iterdir()
    shutil.rmtree(place)
    place.write_text("in the way")
    assert len(open_cache(images, caches)) == 6
    assert "is damaged" in capsys.readouterr().out


def test_building_leaves_cv2s_own_threads_as_they_were(images, caches):
    before = cv2.getNumThreads()
    open_cache(images, caches)
    assert cv2.getNumThreads() == before


def test_a_killed_build_leaves_nothing_to_be_read_and_is_cleared_away(tmp_path, caches):
    images = draw(tmp_path / "images", 50, 64, 64)
    builder = in_another_process(tmp_path / "images", caches, repeated=2_000)
    while not list(caches.glob(".*.draft/images.*")):  # .npy, or .jpegs where the disk has little room
        assert builder.poll() is None
        time.sleep(0.01)
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    (leftover,) = caches.iterdir()
    assert leftover.suffix == ".draft"
    assert np.array_equal(open_cache(images, caches), np.stack([rgb(path) for path in images]))
    assert not leftover.exists()


def test_what_a_running_process_or_another_machine_is_building_is_left_alone(images, caches):
    caches.mkdir()
    running = caches / f".name.{MACHINE}.{os.getppid()}.00000000.draft"
    elsewhere = caches / f".name.elsewhere.{2**30}.00000000.draft"
    ended = caches / f".name.{MACHINE}.{2**30}.00000000.draft"
    for folder in (running, elsewhere, ended):
        folder.mkdir()
    open_cache(images, caches)
    assert [folder.exists() for folder in (running, elsewhere, ended)] == [True, True, False]


def test_two_processes_that_ask_at_once_get_the_same_images(tmp_path, caches):
    images = draw(tmp_path / "images", 1_500, 32, 32)
    builders = [in_another_process(tmp_path / "images", caches) for _ in range(2)]
    assert [builder.communicate()[0].split()[0] for builder in builders] == ["1500", "1500"]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert len(list(caches.iterdir())) == 1
    assert np.array_equal(open_cache(images, caches), np.stack([rgb(path) for path in images]))


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(images, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file: a file is in the place of this folder; move it away"):
        open_cache(images, tmp_path / "file")


def smooth(folder: Path, count: int = 40, height: int = 96, width: int = 128) -> list[Path]:
    """Pictures that JPEG changes little."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:05}.png" for number in range(count)]
    for path in paths:
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (width, height)))
    return paths


def test_images_that_need_more_than_their_room_are_kept_as_jpegs_and_the_rest_in_their_files(tmp_path, caches, capsys):
    images = smooth(tmp_path)
    images[3].write_bytes(b"no image")
    pixels = open_cache(images, caches, (96, 128))
    assert capsys.readouterr().out == ""
    jpegs = open_cache(images, caches / "jpegs", (96, 128), most=40_000)
    out = capsys.readouterr().out
    assert "40 images of 128 x 96 pixels would need 1.5 MB: the cache keeps JPEGs, at most 40.0 kB" in out
    (kept,) = (caches / "jpegs").glob("*/images.jpegs")
    assert 30_000 < kept.stat().st_size <= 40_000 and 0 < jpegs.in_jpegs < 39 and pixels.in_jpegs == 0
    assert jpegs.shape == pixels.shape and jpegs.unreadable.tolist() == [3]
    np.testing.assert_array_equal(jpegs.contents, pixels.contents)
    rows = np.array([39, 3, 0, 0, 12])
    difference = np.abs(jpegs[rows].astype(int) - pixels[rows])
    assert difference[0].max() == difference[1].max() == 0 < difference[2].max() and difference.mean() < 2
    for index in (5, slice(2, 9), [1, 38]):
        np.testing.assert_array_equal(jpegs[index], jpegs[:][index])
    np.testing.assert_array_equal(jpegs.subset([7, 30])[1], jpegs[30])


def test_a_cache_that_is_there_is_used_whatever_room_there_is_now(tmp_path, caches, monkeypatch):
    images = smooth(tmp_path, 5)
    open_cache(images, caches, (96, 128))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2 * 10**4))
    assert open_cache(images, caches, (96, 128)).in_jpegs == 0
    assert open_cache(images, tmp_path / "others", (96, 128)).in_jpegs > 0
    monkeypatch.undo()
    assert open_cache(images, tmp_path / "others", (96, 128)).in_jpegs > 0


def test_a_cache_that_is_larger_than_asked_for_gives_way_to_a_smaller_one(tmp_path, caches):
    images = smooth(tmp_path, 20)
    open_cache(images, caches, (96, 128))
    first = open_cache(images, caches, (96, 128), most=30_000)
    second = open_cache(images, caches, (96, 128), most=10_000)
    assert 0 < second.in_jpegs < first.in_jpegs


def test_without_any_room_every_image_is_read_from_its_file(tmp_path, caches):
    images = smooth(tmp_path, 5)
    cache = open_cache(images, caches, (48, 48), fit="crop", most=0)
    assert cache.in_jpegs == 0
    np.testing.assert_array_equal(cache, open_cache(images, tmp_path / "pixels", (48, 48), fit="crop"))
    images[2].unlink()
    with pytest.raises(UserError, match=r"00002\.png: it cannot be read any more .*; put it back"):
        cache[2]


@pytest.mark.parametrize("name", ["images.jpegs", "starts.npz"])
def test_a_damaged_cache_of_jpegs_is_built_again(tmp_path, caches, capsys, name):
    images = smooth(tmp_path, 10)
    sound = np.asarray(open_cache(images, caches, (96, 128), most=30_000))
    (path,) = caches.glob(f"*/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(open_cache(images, caches, (96, 128), most=30_000), sound)
    assert f"{name} is damaged" in capsys.readouterr().out


@pytest.mark.parametrize(("fit", "expected"), [("squash", 4), ("crop", 3), ("pad", 1)])
def test_images_of_another_ratio_are_squashed_cropped_or_padded(tmp_path, caches, fit, expected):
    """A disc in the middle of a wide picture; three quarters of a side are kept at least, and squashed."""
    picture = np.full((300, 1200, 3), 250, np.uint8)
    cv2.circle(picture, (600, 150), 100, (0, 0, 200), -1)
    cv2.imwrite(str(tmp_path / "wide.png"), picture)
    (image,) = open_cache([tmp_path / "wide.png"], caches, (100, 100), fit=fit)
    disc = image[..., 1] < 100
    height, width = (int(disc.any(axis=axis).sum()) for axis in (1, 0))
    assert height / width == pytest.approx(expected, rel=0.15)
    assert (image[0] > 240).all()


def test_a_full_disk_is_the_users_to_mend_and_leaves_nothing(tmp_path, caches):
    """A limit on the size of a file stands for the disk."""
    draw(tmp_path / "images", 50, 64, 64)
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))\n" + OPEN_CACHE
    command = [sys.executable, "-c", script, str(tmp_path / "images"), str(caches), "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "UserError: cannot write the image cache" in done.stderr
    assert list(caches.iterdir()) == []


def test_memory_stays_flat_however_many_images_there_are(tmp_path, caches):
    draw(tmp_path / "images", 50, 64, 64)
    peaks = []
    for repeated in (1, 200):
        builder = in_another_process(tmp_path / "images", caches, repeated)
        count, peak = builder.communicate()[0].split()
        assert int(count) == 50 * repeated
        peaks.append(int(peak))
    array = 50 * 199 * 64 * 64 * 3
    assert peaks[1] - peaks[0] < array / 4
