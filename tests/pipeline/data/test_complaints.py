"""JPEGs that are damaged inside are found among intact ones, and what else is printed meanwhile is not lost."""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.cache import open_cache
from pipeline.data.cache_files import FINGERPRINTS
from pipeline.data.complaints import heard
from pipeline.data.faulty_files import warn_of_damaged
from pipeline.data.image_size import Means, choose_sizes
from pipeline.runtime.sealed import read_arrays, write_arrays

ROOT = Path(__file__).resolve().parents[3]


def jpeg(seed: int = 0, side: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def damaged_inside(seed: int = 0) -> bytes:
    """A JPEG whose header and end are whole, with other bytes in the middle of its scan."""
    data = jpeg(seed)
    middle = len(data) // 2
    return data[:middle] + bytes([0x55, 0xAA] * 100) + data[middle + 200 :]


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """Of forty JPEGs, three that are damaged inside."""
    folder = tmp_path / "images"
    folder.mkdir()
    paths = [folder / f"{number:02}.jpg" for number in range(40)]
    for number, path in enumerate(paths):
        path.write_bytes(damaged_inside(number) if number in (3, 17, 39) else jpeg(number))
    return paths


def test_jpegs_that_are_damaged_inside_are_found_and_remembered(images, tmp_path, capfd):
    for _ in ("built", "mapped"):
        cache = open_cache(images, tmp_path / "caches", threads=4)
        assert cache.damaged.tolist() == [3, 17, 39]
        assert len(cache.unreadable) == 0 and cache[3].any()
    assert cache.subset([0, 39, 1]).damaged.tolist() == [1]
    assert "Corrupt JPEG data" not in capfd.readouterr().err


def test_a_reduced_jpeg_is_found_too(images, tmp_path):
    assert open_cache(images, tmp_path / "caches", (8, 8)).damaged.tolist() == [3, 17, 39]


def test_equal_bytes_before_the_end_are_no_damage(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg()[:-2] + bytes(200) + jpeg()[-2:])
    assert open_cache([path], tmp_path / "caches").damaged.tolist() == []


def test_a_cache_of_before_they_were_kept_still_opens(images, tmp_path, capsys):
    cache = open_cache(images, tmp_path / "caches")
    arrays = read_arrays(cache.folder / FINGERPRINTS)
    del arrays["damaged"]
    write_arrays(cache.folder / FINGERPRINTS, arrays)
    assert open_cache(images, tmp_path / "caches").damaged.tolist() == []
    assert "warning" not in capsys.readouterr().out


def test_other_messages_are_printed_afterwards(tmp_path, capfd):
    with heard(tmp_path):
        os.write(2, b"a driver speaks\n")
        os.write(2, b"Corrupt JPEG data: bad Huffman code\n")
        assert capfd.readouterr().err == ""
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "a driver speaks\nlater\n"


def test_choosing_a_size_says_nothing_of_damaged_jpegs(images, capfd):
    choose_sizes([images[3], images[17]], Means(2, None, "cpu", False))
    assert "Corrupt JPEG data" not in capfd.readouterr().err


def test_progress_is_seen_meanwhile():
    """In a process of its own, whose sys.stderr is that of the process."""
    code = """
import os, sys
from pathlib import Path
from pipeline.data.cache_files import FINGERPRINTS
from pipeline.data.complaints import heard
with heard(Path(sys.argv[1])):
    os.write(2, b"Corrupt JPEG data: bad Huffman code\\n")
    print("a bar", file=sys.stderr)
    os.write(2, b"a driver speaks\\n")
print("later", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code, tempfile.gettempdir()], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines() == ["a bar", "a driver speaks", "later"]


def test_one_warning_names_the_first_of_them(images, capsys):
    warn_of_damaged(images, np.array([3, 17, 39]), "labelled images")
    line = capsys.readouterr().out
    assert (
        line.startswith("warning: JPEGs damaged inside, parts of which are grey or shifted: 3 of 40 labelled images (")
        and line.count("\n") == 1
    )
    assert str(images[17]) in line
    warn_of_damaged(images[:3], np.array([3, 17, 39]), "labelled images")
    assert capsys.readouterr().out == ""
