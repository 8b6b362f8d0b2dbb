"""How much memory there is: the machine's, or a container's share of it."""

from pathlib import Path

import pytest

from pipeline.runtime import memory
from pipeline.runtime.memory import total_memory


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a container's limits stand; there are none yet."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    return tmp_path


def test_where_the_system_cannot_be_asked_it_is_guessed(groups: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(memory.os, "sysconf")
    assert total_memory() == memory.GUESS


def test_without_a_limit_it_is_the_machines(groups: Path):
    assert 2**27 < total_memory() < 2**50


@pytest.mark.parametrize("name", memory.LIMITS)
def test_a_containers_limit_counts_where_it_is_lower(groups: Path, name: str):
    place = groups / name
    place.parent.mkdir(exist_ok=True)
    place.write_text("123456789\n")
    assert total_memory() == 123_456_789


@pytest.mark.parametrize("text", ["max\n", f"{2**63 - 4096}\n"], ids=["none, version 2", "none, version 1"])
def test_a_limit_that_is_none_leaves_the_machines(groups: Path, text: str):
    machine = total_memory()
    (groups / "memory.max").write_text(text)
    assert total_memory() == machine
