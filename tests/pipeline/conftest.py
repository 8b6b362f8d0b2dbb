"""What the tests of the pipeline share."""

from collections.abc import Callable

import pytest

from pipeline.runtime import devices


@pytest.fixture
def native_bfloat16(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A function that makes this processor one that computes bfloat16 natively, or one that does not."""
    return lambda native: monkeypatch.setattr(devices, "_native_bfloat16", lambda: native)
