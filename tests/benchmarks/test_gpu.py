"""The benchmark for a GPU, tried on the CPU."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def one_test(folder: Path, body: str) -> Path:
    """A folder with one test marked ``gpu`` and one that is not."""
    lines = ["import pytest", "@pytest.mark.gpu", f"def test_marked(): {body}", "def test_other(): assert False"]
    (folder / "test_one.py").write_text("\n".join(lines))
    return folder


def test_the_whole_script_writes_the_table_that_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "LAST_START", math.inf)
    monkeypatch.setattr(gpu, "run_tests", lambda folder: "1 passed")
    monkeypatch.setattr(gpu, "run_command", lambda device, folder: "2 ranks train together")
    monkeypatch.setattr(gpu, "compiled", lambda network, device: network)
    gpu.main(["--device", "cpu", "--output", str(tmp_path / "gpu.md")])
    table = capsys.readouterr().out
    assert (tmp_path / "gpu.md").read_text(encoding="utf-8") == table
    assert "failed" not in table and table.count("images/s") == 17  # five or six speeds of each network
    assert table.count("largest difference 0.0000, 100.0% of the labels equal") == 3
    assert re.search(r"seconds to 90% \| (\d+\.\d s|not reached); 0\.\d+ after \d+\.\d s \|", table)
    assert "| 4 of the 4 images of a batch fit |" in table


def test_without_cuda_one_line_says_so_and_the_exit_status_is_2():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = subprocess.run([sys.executable, "benchmarks/gpu.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == ("error: --device cuda: PyTorch finds no CUDA device; use --device cpu, or another machine\n")


def test_a_measurement_that_fails_is_one_line_and_the_others_go_on(tmp_path):
    (case, *_) = gpu.cases(small=True)
    (tmp_path / case.recipe.name).write_text("in the way of the run's folder")
    table = gpu.Table(math.inf)
    gpu.measure(table, case, CPU, tmp_path / case.recipe.name)
    failed = [result for _, result in table.rows if result.startswith("failed: ")]
    assert len(failed) == 3 and not any("\n" in result for result in failed)
    assert "images/s" in dict(table.rows)["sprint: bare steps of the same network"]


def test_a_measurement_for_which_no_time_is_left_is_left_out():
    table = gpu.Table(-math.inf)
    table.add("sprint", lambda: "fast")
    assert table.rows == [("sprint", "left out: no time is left")]


@pytest.mark.slow
def test_a_command_on_two_devices_trains_two_networks(tmp_path):
    assert re.fullmatch(
        r"2 ranks train together; threads of each: 1; 2 networks in \d+ s", gpu.run_command(CPU, tmp_path / "command")
    )


def test_only_the_marked_tests_run(tmp_path):
    assert gpu.run_tests(one_test(tmp_path, "pass")).startswith("1 passed, 1 deselected")


def test_a_marked_test_that_fails_is_a_failed_measurement(tmp_path):
    table = gpu.Table(math.inf)
    table.add("tests", lambda: gpu.run_tests(one_test(tmp_path, "assert False")))
    ((what, result),) = table.rows
    assert what == "tests" and result.startswith("failed: RuntimeError: 1 failed, 1 deselected")
