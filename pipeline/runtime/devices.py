"""The one device switch."""

import ctypes
import os
from contextlib import suppress
from functools import cache
from typing import cast

import torch
from torch import nn

from competition.errors import UserError
from pipeline.runtime import distributed

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def choose_device(wish: str) -> torch.device:
    """``auto`` takes a GPU that works; ``cpu`` and ``cuda`` are orders.

    A GPU can be there and yet fail at its first kernel, when this build of PyTorch no longer knows it: so a
    real operation is run. Of several ranks each has a GPU of its own, or none has.
    Raises UserError where ``cuda`` was ordered and does not work.
    """
    _keep_freed_memory()
    if wish == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", distributed.local_rank())
    fault = next(filter(None, distributed.from_each(_fault_of_cuda(device))), None)
    if fault is None:
        torch.cuda.set_device(device)
        return device
    if wish == "cuda":
        raise UserError(f"--device cuda: {fault}; use --device cpu, or another machine")
    if torch.cuda.is_available():
        print(f"the GPU does not work ({fault}): going on with the CPU")
    return torch.device("cpu")


def mixed_precision(device: torch.device) -> torch.autocast:
    """Products in half precision where the device computes them natively, everything else in float32."""
    precision = product_precision(device)
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def product_precision(device: torch.device) -> torch.dtype:
    """float16 on a GPU; bfloat16, about twice as fast as float32, on a processor with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if _native_bfloat16() else torch.float32


@cache
def _native_bfloat16() -> bool:
    abilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch do not tell
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def _keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next step.

    It would hand large activations back to the system and have them mapped anew, page by page, at every step:
    a fifth to a third of the time that sprint takes for 64-pixel images. In pages of 2 MB instead of 4 KB, where
    Linux has them, a step takes another twentieth less.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch reads it when it allocates its first tensor
    with suppress(AttributeError, OSError):  # other C libraries than glibc have no such settings
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def room_for_images(device: torch.device) -> int:
    """How many bytes of training images may lie on the device: a quarter of a GPU's free memory.

    None on a processor, which has the images' cache at hand.
    """
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 0


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """The network, its weights the same ones, as torch.compile makes it; itself where that fails on the device."""
    return network if _compiler_fails(device) else cast(nn.Module, torch.compile(network))


@cache
def _compiler_fails(device: torch.device) -> bool:
    """Try the compiler on a small network, and say in one line if it fails."""
    try:
        torch.compile(nn.Linear(8, 8, device=device))(torch.ones(2, 8, device=device)).sum().backward()
    except Exception as error:  # whatever the compiler, or the lack of one, leads it into
        reason = str(error).strip().partition("\n")[0]
        print(f"going on without --compile, as nothing can be compiled here: {reason}")
        return True
    torch._dynamo.config.suppress_errors = True  # what of a network cannot be compiled runs as it is
    return False


def _fault_of_cuda(device: torch.device) -> str | None:
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    if device.index >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} GPUs, and more ranks than that"
    try:
        images = torch.ones(1, 3, 8, 8, device=device, dtype=torch.float16)
        torch.nn.functional.conv2d(images, images).sum().item()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None
