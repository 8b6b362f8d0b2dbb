"""The scaling benchmark: what grows, how growth is told, and each measure in a process of its own."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.scaling import MEASURES, Cost, Sample, Size, cells, exponent, growing, in_own_process, measure, tables
from competition.errors import UserError

SCRIPT = Path(scaling.__file__)
AXES = {"images": [100, 200, 400], "side": [16, 32], "classes": [3, 10]}


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_that_power(power):
    sizes = np.array([1_000, 2_000, 4_000, 8_000])
    assert exponent(sizes, 0.3 * sizes**power) == pytest.approx(power, abs=1e-9)


def test_what_does_not_grow_lowers_the_exponent():
    sizes = np.array([1.0, 2.0, 4.0])
    assert 0 < exponent(sizes, 5 + sizes) < 0.5


def test_one_value_grows_while_the_others_stay_at_their_second():
    assert growing(AXES, "images") == [Size(100, 32, 10), Size(200, 32, 10), Size(400, 32, 10)]
    assert growing(AXES, "classes") == [Size(200, 32, 3), Size(200, 32, 10)]


def test_a_row_ends_with_its_exponent_over_what_is_known():
    assert cells([1, 2, 4], [1.0, 4.0, 16.0], "{:.1f}") == ["1.0", "4.0", "16.0", "2.00"]
    assert cells([1, 2, 4], [1.0, 2.0, None], "{:.1f}") == ["1.0", "2.0", "-", "1.00"]
    assert cells([1, 2], [1.0, None], "{:.1f}") == ["1.0", "-", "-"]


def test_growth_with_the_side_is_told_by_the_pixels():
    sizes = growing(AXES, "side")
    costs = {size: dict.fromkeys(MEASURES, Cost(size.side**2 / 100, size.side)) for size in sizes}
    seconds, megabytes = (table.splitlines()[1].split() for table in tables("side", sizes, costs).split("\n\n"))
    assert seconds == ["caching", "2.56", "10.24", "1.00"]
    assert megabytes == ["caching", "16", "32", "0.50"]


def test_one_value_is_refused_as_it_shows_no_growth():
    with pytest.raises(UserError, match="one value of classes shows no growth; give two or more"):
        scaling.parse(["--classes", "3"])


def test_a_process_of_its_own_returns_its_result_and_its_error_however_it_is_started(monkeypatch):
    for method in ("spawn", scaling.START_METHOD):
        monkeypatch.setattr(scaling, "START_METHOD", method)
        assert in_own_process(os.getppid) == os.getpid()
        with pytest.raises(ZeroDivisionError):
            in_own_process(partial(divmod, 1, 0))


def test_the_drawn_images_show_their_labels_and_a_tenth_of_them_validates(tmp_path):
    sample = Sample(tmp_path / "sample", Size(60, 16, 3))
    sample.draw()
    train, train_labels, validation, validation_labels = sample.parts()
    assert train.shape == (54, 16, 16, 3) and validation.shape == (6, 16, 16, 3)
    assert (np.append(train_labels, validation_labels) == sample.labels()).all()
    assert set(sample.labels()) == {0, 1, 2}


def test_what_would_hold_too_much_memory_has_no_cost(monkeypatch, tmp_path):
    monkeypatch.setitem(MEASURES, "hoarding", lambda sample: partial(np.empty, scaling.MOST_MEMORY, np.uint8))
    monkeypatch.setitem(MEASURES, "modest", lambda sample: partial(np.empty, 1 << 20, np.uint8))
    sample = Sample(tmp_path, Size(1, 1, 1))
    assert in_own_process(measure, "hoarding", sample) is None
    assert in_own_process(measure, "modest", sample).megabytes >= 1


@pytest.mark.slow
def test_every_measure_stands_in_every_table():
    command = [sys.executable, SCRIPT, "--images", "30", "60", "--sides", "16", "20", "--classes", "2", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = [table.splitlines() for table in done.stdout.strip().split("\n\n")]
    headings = [f"{kind} by {axis}" for axis in AXES for kind in ("seconds", "megabytes")]
    assert [lines[0].split("  ")[0] for lines in printed] == headings
    assert all([line.split("  ")[0] for line in lines[1:]] == list(MEASURES) for lines in printed)
