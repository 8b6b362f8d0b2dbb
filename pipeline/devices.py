"""The one device switch."""

import torch

from competition.errors import UserError


def choose_device(wish: str) -> torch.device:
    """``auto`` takes a GPU that works; ``cpu`` and ``cuda`` are orders.

    A GPU can be there and yet fail at its first kernel, when this build of PyTorch no longer knows it: so a
    real operation is run. Raises UserError where ``cuda`` was ordered and does not work.
    """
    if wish == "cpu":
        return torch.device("cpu")
    fault = _fault_of_cuda()
    if fault is None:
        return torch.device("cuda")
    if wish == "cuda":
        raise UserError(f"--device cuda: {fault}; use --device cpu, or another machine")
    if torch.cuda.is_available():
        print(f"the GPU does not work ({fault}): going on with the CPU")
    return torch.device("cpu")


def _fault_of_cuda() -> str | None:
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    try:
        images = torch.ones(1, 3, 8, 8, device="cuda", dtype=torch.float16)
        torch.nn.functional.conv2d(images, images).sum().item()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None
