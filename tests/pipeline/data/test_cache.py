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


def test_a_native_size_of_at_most_128_that_all_share_is_kept(tmp_path, caches):
    assert open_cache(draw(tmp_path / "small", 3, 28, 20), caches).shape == (3, 28, 20, 3)
    assert open_cache(draw(tmp_path / "edge", 2, 128, 128), caches).shape == (2, 128, 128, 3)


def test_larger_images_become_64_by_64(tmp_path, caches):
    assert open_cache(draw(tmp_path / "large", 2, 129, 100), caches).shape == (2, 64, 64, 3)


def test_images_of_different_sizes_become_64_by_64_however_late_they_differ(tmp_path, caches):
    images = draw(tmp_path / "a", 3_000, 12, 12) + draw(tmp_path / "b", 1, 13, 12, seed=1)
    cache = open_cache(images, caches)
    assert cache.shape == (3_001, 64, 64, 3)
    expected = cv2.resize(rgb(images[0]), (64, 64), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(cache[0], expected)


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
    assert known_contents(images, caches, [None, (8, 8)]) is None
    open_cache(images, caches, size=(8, 8))
    assert known_contents(images, caches, [None, (8, 8)]).tolist() == contents_by_hand(images)
    images[2].unlink()
    assert known_contents(images, caches, [None, (8, 8)]) is None
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
    content[{"images.npy": -1, "contents.npz": 140, "cache.json": -8}[path.name]] ^= 1
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
@pytest.mark.parametrize("name", ["images.npy", "cache.json", "contents.npz"])
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
    builder = in_another_process(tmp_path / "images", caches, repeated=4_000)
    while not list(caches.glob(".*.draft/images.npy")):
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
    with pytest.raises(UserError, match=r"cannot write the image cache in .*file: .*--work"):
        open_cache(images, tmp_path / "file")


def test_a_cache_that_does_not_fit_on_the_disk_is_refused_before_it_is_written(images, caches, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2 * 10**7))
    with pytest.raises(UserError, match=r"needs 200\.2 MB, but only 20\.0 MB are free in .*; free some space there"):
        open_cache(images[:1] * 5, caches, (3653, 3653))
    assert list(caches.iterdir()) == []


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
