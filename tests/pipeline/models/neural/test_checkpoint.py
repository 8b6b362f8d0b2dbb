"""Checkpoint: what was saved is resumed, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.models.neural.checkpoint import Checkpoint
from pipeline.runtime.sealed import DamagedFile, seal
from tests.damage import SPRUNG, WAYS, damage


class Counter:
    """Something with a state."""

    def __init__(self, name: str = "count") -> None:
        self.name, self.values = name, torch.zeros(3)

    def state_dict(self) -> dict[str, Any]:
        return {self.name: self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = state[self.name]


def counted() -> Counter:
    counter = Counter()
    counter.values = torch.arange(3)
    return counter


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoint.pt", "this run")


def test_what_was_saved_is_resumed(checkpoint):
    counter = Counter()
    checkpoint.save(counted())
    checkpoint.resume(counter)
    assert counter.values.tolist() == [0, 1, 2]


def test_without_a_file_there_is_nothing_to_resume(checkpoint, capsys):
    counter = Counter()
    checkpoint.resume(counter)
    assert counter.values.tolist() == [0, 0, 0]
    assert capsys.readouterr().out == ""


def test_the_state_of_something_else_is_refused_in_one_line(checkpoint):
    checkpoint.save(Counter("other"))
    with pytest.raises(DamagedFile, match=r"checkpoint\.pt: another version .*--fresh") as refusal:
        checkpoint.resume(Counter())
    assert "\n" not in str(refusal.value)


def test_the_state_of_another_training_is_not_resumed(checkpoint, capsys):
    checkpoint.save(counted())
    counter, other = Counter(), Checkpoint(checkpoint.path, "another run")
    other.resume(counter)
    assert counter.values.tolist() == [0, 0, 0]
    assert "damaged or of another training; this training begins anew" in capsys.readouterr().out


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_state_is_not_resumed_and_makes_way_for_a_new_one(checkpoint, capsys, way):
    checkpoint.save(counted())
    damage(checkpoint.path, way)
    counter = Counter()
    checkpoint.resume(counter)
    assert counter.values.tolist() == [0, 0, 0]
    assert capsys.readouterr().out.count("\n") == (way != "missing")
    checkpoint.save(counted())
    checkpoint.resume(counter)
    assert counter.values.tolist() == [0, 1, 2]
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["checkpoint.pt"]


def test_no_flipped_bit_goes_unnoticed(checkpoint):
    checkpoint.save(counted())
    content = checkpoint.path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        checkpoint.path.write_bytes(changed)
        counter = Counter()
        checkpoint.resume(counter)
        assert counter.values.tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_sealed_pickle_is_not_executed(checkpoint, tmp_path):
    """A stranger can compute a hash too."""
    checkpoint.save(counted())
    damage(checkpoint.path, "a pickle")
    seal(checkpoint.path, checkpoint.fingerprint)
    with pytest.raises(DamagedFile):
        checkpoint.resume(Counter())
    assert not (tmp_path / SPRUNG).exists()
