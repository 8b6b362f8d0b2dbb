"""What the benchmarks share: a clock, memory that is a process' own, classes that can be told apart."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.measuring import draw_images, timed

ROOT = Path(__file__).resolve().parents[2]
OWN_PEAK = "from benchmarks.measuring import peak_memory; {work}; print(peak_memory())"
STARTED_BY_A_LARGER_ONE = """
import subprocess, sys
held = b"x" * 300_000_000
subprocess.run([sys.executable, "-c", {code!r}], check=True)
"""


def printed_by(code: str) -> int:
    command = [sys.executable, "-c", code]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_work_returns_its_result_beside_its_seconds():
    result, seconds = timed(lambda: "result")
    assert result == "result" and seconds >= 0


def test_the_peak_counts_what_was_held_and_let_go():
    little, much = (printed_by(OWN_PEAK.format(work=f"b'x' * {size}_000_000")) for size in (1, 200))
    assert 150 < much - little < 250


def test_the_peak_leaves_out_what_the_starting_process_held():
    assert printed_by(STARTED_BY_A_LARGER_ONE.format(code=OWN_PEAK.format(work="pass"))) < 200


def test_the_same_seed_draws_the_same_images_and_another_one_others():
    images, labels = draw_images(20, 16, 3, seed=1)
    again, other = draw_images(20, 16, 3, seed=1), draw_images(20, 16, 3, seed=2)
    assert images.shape == (20, 16, 16, 3) and images.dtype == np.uint8
    assert (images == again[0]).all() and (labels == again[1]).all()
    assert not (images == other[0]).all()


def test_what_one_seed_draws_helps_to_tell_the_classes_of_another():
    images, labels = draw_images(900, 16, 3, seed=1)
    others, truth = draw_images(900, 16, 3, seed=2)
    means = np.stack([images[labels == label].mean(axis=0) for label in range(3)])
    distances = np.square(others[:, None] - means).sum(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == truth).mean() > 0.4  # by chance a third, give or take 0.016
