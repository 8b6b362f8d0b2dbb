"""How much memory there is: the machine's, or a container's share of it."""

from pathlib import Path

import pytest

from pipeline.runtime import memory
from pipeline.runtime.memory import is_out_of_memory, row_blocks, total_memory


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


def test_rows_are_cut_into_blocks_that_hold_few_values_and_cover_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "VALUES_AT_ONCE", 10)
    assert list(row_blocks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(row_blocks(2, 99)) == [slice(0, 1), slice(1, 2)]
    assert list(row_blocks(0, 3)) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to ..."
        ),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_errors_that_say_that_memory_ran_out_are_known(error: Exception):
    assert is_out_of_memory(error)


def test_other_errors_are_not_about_memory():
    assert not is_out_of_memory(RuntimeError("Given input size: (4x1x1). Output size is too small"))
