"""What the tests of the pipeline share."""

from collections.abc import Callable, Iterator

import pytest
import torch

from pipeline.models.fast import predictor
from pipeline.runtime import devices
from pipeline.training import symmetries

STEPS = symmetries.STEPS


@pytest.fixture(autouse=True, scope="session")
def short_check() -> Iterator[None]:
    """A few steps of the check of symmetries are enough for tests that do not look at its outcome."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(symmetries, "STEPS", 16)
        yield


@pytest.fixture
def full_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check as a command runs it."""
    monkeypatch.setattr(symmetries, "STEPS", STEPS)


@pytest.fixture
def native_bfloat16(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A function that makes this processor one that computes bfloat16 natively, or one that does not."""
    return lambda native: monkeypatch.setattr(devices, "_native_bfloat16", lambda: native)


@pytest.fixture
def in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this processor compute products in float16, as GPUs before Ampere do."""
    for module in (devices, predictor):
        monkeypatch.setattr(module, "product_precision", lambda device: torch.float16)
    monkeypatch.setattr(predictor, "FUSES", False)  # a GPU does not, and most processors cannot in float16


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads for each operation, or for the parts of a batch."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cuda() -> torch.device:
    """The GPU that works; a test that asks for it is skipped where there is none, and is marked ``gpu``."""
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    return devices.choose_device("cuda")
