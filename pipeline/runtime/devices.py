"""Devices: choosing the CPU or a GPU, and what to use on it (precision, memory, torch.compile)."""

import ctypes
import gc
import os
from contextlib import suppress
from functools import cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from competition.errors import UserError
from pipeline.runtime import distributed

MPS = torch.device("mps")  # Apple's GPU
AMPERE = (8, 0)  # the first generation of NVIDIA's GPUs that computes bfloat16 natively
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
DEFAULT_TRIM_THRESHOLD, DEFAULT_MMAP_MAX = 128 * 1024, 65_536


def choose_device(wish: str) -> torch.device:
    """The device for ``cpu``, ``cuda``, ``mps`` or ``auto``: the first of CUDA and MPS that works, otherwise the CPU.

    A GPU that this build of PyTorch no longer supports is listed but fails at its first operation, so one is run as a
    test. Each rank gets its own GPU; if one of them fails, all ranks use the CPU.
    Raises UserError if ``cuda`` or ``mps`` is asked for and does not work.
    """
    _keep_freed_memory()
    for name in ("cuda", "mps") if wish == "auto" else (wish,):
        fault = next(filter(None, distributed.from_each(_fault_of(name))), None)
        if fault is None:
            return _taken(name)
        if name == wish:
            raise UserError(f"--device {wish}: {fault}; use --device cpu, or another machine")
        if name == "cuda" and torch.cuda.is_available():
            print(f"warning: the GPU does not work ({fault}); using the CPU")
    return torch.device("cpu")


def usable_devices(wish: str) -> int:
    """How many devices of this machine a command can share its work among. wish: see ``choose_device``.

    For tests, the variable STAND_IN_DEVICES makes the CPU so many devices.
    """
    if wish in ("auto", "cuda") and _fault_of("cuda") is None:
        return torch.cuda.device_count()
    return int(os.environ.get("STAND_IN_DEVICES", "1")) if wish in ("auto", "cpu") else 1


def _fault_of(name: str) -> str | None:
    """Why this rank's device of that kind does not work; None if it does."""
    if name == "cpu":
        return None
    if name == "mps":
        return _fault_of_first_steps(MPS) if torch.backends.mps.is_available() else "PyTorch finds no Apple GPU"
    device = torch.device("cuda", distributed.local_rank())
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    if device.index >= torch.cuda.device_count():
        return f"there are more ranks than GPUs ({torch.cuda.device_count()})"
    return _fault_of_first_steps(device)


def _fault_of_first_steps(device: torch.device) -> str | None:
    try:
        images = torch.ones(1, 3, 8, 8, device=device, dtype=product_precision(device))
        torch.nn.functional.conv2d(images, images).sum().item()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None


def _taken(name: str) -> torch.device:
    if name != "cuda":
        return MPS if name == "mps" else torch.device("cpu")
    device = torch.device("cuda", distributed.local_rank())
    torch.cuda.set_device(device)
    return device


def mixed_precision(device: torch.device) -> torch.autocast:
    """Autocast: matrix products in half precision if the device supports it natively, everything else in float32."""
    precision = product_precision(device)
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def gradient_scaler(device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss so that small gradients do not vanish in float16; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=product_precision(device) == torch.float16)


def product_precision(device: torch.device) -> torch.dtype:
    """The type for matrix products: the half precision that the device computes natively, otherwise float32.

    That is bfloat16 on NVIDIA's GPUs from Ampere on, and on a CPU with AVX-512 BF16 or AMX, where it is about twice as
    fast as float32; float16 on older GPUs of NVIDIA.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= AMPERE else torch.float16
    return torch.bfloat16 if device.type == "cpu" and _native_bfloat16() else torch.float32


@cache
def _native_bfloat16() -> bool:
    abilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older PyTorch versions lack it
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def _keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next training step.

    By default it returns the memory of large activations to the system and maps it again, page by page, at every step.
    That takes a fifth to a third of the time of sprint on 64-pixel images. Pages of 2 MB instead of 4 KB, if Linux has
    them, save another 5 % of a step.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch reads it when it allocates its first tensor
    with suppress(AttributeError, OSError):  # C libraries other than glibc have no such settings
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def give_back_memory() -> None:
    """Return the memory that a command has freed, of the GPU too, and let the C library do so by itself again."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, DEFAULT_MMAP_MAX)
        libc.mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM_THRESHOLD)
        libc.malloc_trim(0)


def room_for_images(device: torch.device) -> int:
    """How many bytes of training images may be kept on the device: a quarter of a GPU's free memory.

    0 on a CPU, which reads the image cache directly.
    """
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 0


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, with its channels last in memory, which is faster, but for Apple's GPUs."""
    network = network.to(device)
    for tensor in (*network.parameters(), *network.buffers()) if device.type != "mps" else ():
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return network


def loading_threads(device: torch.device) -> int:
    """How many threads prepare images: beside a GPU all cores of this rank but one; a CPU needs its cores itself."""
    if device.type == "cpu":
        return 1
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1)


def pinned(images: np.ndarray | Tensor, device: torch.device) -> np.ndarray | Tensor:
    """The images in memory that a CUDA device reads by itself, while both go on; for other devices, as they are."""
    if device.type != "cuda" or isinstance(images, Tensor):
        return images
    with torch.cuda.device(device):  # also in a thread, which would take the first one
        return torch.from_numpy(np.ascontiguousarray(images)).pin_memory()


def moved(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """The values on the device. A CUDA device copies them while the CPU goes on; Apple's might copy too late."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    return tensor.to(device, non_blocking=device.type == "cuda")


def free_unused(device: torch.device) -> None:
    """Return to the GPU the memory that PyTorch keeps for later tensors, whose sizes will be others."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """The network compiled by torch.compile, with shared weights; the network itself if compiling fails here."""
    return network if _compiler_fails(device) else cast(nn.Module, torch.compile(network))


@cache
def _compiler_fails(device: torch.device) -> bool:
    """Whether torch.compile fails for a small network on this device. If so, print the reason in one line."""
    try:
        torch.compile(nn.Linear(8, 8, device=device))(torch.ones(2, 8, device=device)).sum().backward()
    except Exception as error:  # a broken or missing compiler raises many types
        reason = str(error).strip().partition("\n")[0]
        print(f"warning: --compile is ignored, as torch.compile does not work here: {reason}")
        return True
    torch._dynamo.config.suppress_errors = True  # parts of a network that cannot be compiled run uncompiled
    return False
