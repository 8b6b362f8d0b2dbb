"""The device switch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from competition.errors import UserError
from pipeline.runtime import devices
from pipeline.runtime.devices import choose_device, mixed_precision
from pipeline.runtime.memory import is_out_of_memory
from tests.commands import succeed

CPU = torch.device("cpu")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_cpu_is_an_order():
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(), reason="no huge pages here")
def test_large_tensors_lie_in_huge_pages():
    code = (
        "import torch; from pipeline.runtime.devices import choose_device; choose_device('cpu'); "
        "kept = torch.ones(2**24); print(open('/proc/self/smaps_rollup').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": "."}, capture_output=True)
    (kilobytes,) = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith(b"AnonHugePages:")]
    assert kilobytes > 2**15  # half of the tensor


@needs_no_gpu
def test_auto_takes_the_cpu_where_there_is_no_gpu():
    assert choose_device("auto") == torch.device("cpu")


@needs_no_gpu
def test_a_gpu_that_is_ordered_and_not_there_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"--device cuda: .*; use --device cpu"):
        choose_device("cuda")


@needs_no_gpu
def test_an_apple_gpu_that_is_ordered_and_not_there_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"--device mps: PyTorch finds no Apple GPU; use --device cpu"):
        choose_device("mps")


@pytest.fixture
def apple(monkeypatch) -> torch.device:
    """A machine with an Apple GPU; the returned device of the processor stands in for it."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(devices, "MPS", torch.device("cpu", 0))
    return devices.MPS


@needs_no_gpu
@pytest.mark.parametrize("wish", ["auto", "mps"])
def test_an_apple_gpu_is_taken_where_there_is_no_other(apple, wish):
    assert choose_device(wish) == apple != torch.device("cpu")


@needs_no_gpu
def test_an_apple_gpu_that_fails_is_not_taken(apple, monkeypatch):
    monkeypatch.setattr(devices, "_fault_of_first_steps", lambda device: "it is broken")
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="--device mps: it is broken; use --device cpu"):
        choose_device("mps")


@needs_no_gpu
def test_a_command_trains_and_predicts_on_an_apple_gpu(apple, make_competition, tmp_path):
    options = ("--competition", make_competition(tmp_path / "insects"), "--work", tmp_path, "--device", "mps")
    succeed("train", *options, "--epochs", 1, "--models", "cifar-cnn-base")
    assert succeed("predict", *options, "--no-report").strip().endswith("submission.csv")


def test_an_apple_gpu_computes_in_float32_and_holds_no_images_besides_their_cache():
    assert devices.product_precision(devices.MPS) == torch.float32
    assert not devices.gradient_scaler(devices.MPS).is_enabled()
    assert devices.room_for_images(devices.MPS) == 0
    with mixed_precision(devices.MPS):
        assert not torch.is_autocast_enabled("mps")


def test_beside_a_gpu_all_cores_but_one_prepare_images_and_each_rank_has_its_share(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    cuda = torch.device("cuda")
    assert (devices.loading_threads(CPU), devices.loading_threads(cuda)) == (1, 7)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert devices.loading_threads(cuda) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert devices.loading_threads(cuda) == 1


def test_images_are_pinned_only_for_a_gpu_that_reads_them_itself():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    assert devices.pinned(images, CPU) is images and devices.pinned(images, devices.MPS) is images


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((6, 0), torch.float16), ((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
    ids=["Pascal", "Turing", "Ampere", "Hopper"],
)
def test_products_on_a_gpu_are_in_bfloat16_from_ampere_on(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.product_precision(torch.device("cuda")) == precision


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float32])
def test_the_loss_is_scaled_only_in_float16(monkeypatch, precision):
    monkeypatch.setattr(devices, "product_precision", lambda device: precision)
    assert devices.gradient_scaler(torch.device("cpu")).is_enabled() == (precision == torch.float16)


@pytest.mark.parametrize(("native", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_products_are_in_half_precision_only_where_the_processor_computes_it(native_bfloat16, native, precision):
    native_bfloat16(native)
    with mixed_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == precision


def test_a_processor_holds_no_images_besides_their_cache():
    assert devices.room_for_images(torch.device("cpu")) == 0


def test_where_nothing_can_be_compiled_one_line_says_so_and_the_network_stays_what_it_is(tmp_path):
    code = (
        "import torch; from pipeline.runtime.devices import compiled; network = torch.nn.Linear(2, 2); "
        "print(compiled(network, torch.device('cpu')) is network)"
    )
    broken = {"CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | broken, capture_output=True, text=True)
    line, unchanged = done.stdout.splitlines()
    assert line.startswith("warning: --compile is ignored") and unchanged == "True"


@pytest.mark.gpu
def test_auto_takes_the_gpu_that_works(cuda):
    assert choose_device("auto") == cuda


@pytest.mark.gpu
def test_products_on_a_gpu_are_in_half_precision(cuda):
    with mixed_precision(cuda):
        product = torch.ones(2, 2, device=cuda) @ torch.ones(2, 2, device=cuda)
    assert product.dtype == devices.product_precision(cuda) != torch.float32


@pytest.mark.gpu
def test_a_gpu_holds_images_in_a_part_of_its_free_memory(cuda):
    assert 0 < devices.room_for_images(cuda) < torch.cuda.mem_get_info(cuda)[0]


@pytest.mark.gpu
def test_pinned_images_arrive_on_the_gpu_as_they_are(cuda):
    images = np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3)
    held = devices.pinned(images, cuda)
    assert held.is_pinned()
    assert (devices.moved(held, cuda).cpu().numpy() == images).all()


@pytest.mark.gpu
def test_memory_that_runs_out_on_the_gpu_is_known_as_such(cuda):
    with pytest.raises(RuntimeError) as fault:
        torch.empty(2**50, dtype=torch.uint8, device=cuda)
    assert is_out_of_memory(fault.value)
