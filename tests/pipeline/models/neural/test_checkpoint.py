"""Checkpoint: what was saved is resumed, and what does not fit is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch

from competition.errors import UserError
from pipeline.models.neural.checkpoint import Checkpoint


class Counter:
    """Something with a state."""

    def __init__(self, name: str = "count") -> None:
        self.name, self.values = name, torch.zeros(3)

    def state_dict(self) -> dict[str, Any]:
        return {self.name: self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = state[self.name]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoint.pt")


def test_what_was_saved_is_resumed(checkpoint):
    first, second = Counter(), Counter()
    first.values = torch.arange(3)
    checkpoint.save(first)
    checkpoint.resume(second)
    assert second.values.tolist() == [0, 1, 2]


def test_without_a_file_there_is_nothing_to_resume(checkpoint):
    counter = Counter()
    checkpoint.resume(counter)
    assert counter.values.tolist() == [0, 0, 0]


def test_the_state_of_something_else_is_refused_in_one_line(checkpoint):
    checkpoint.save(Counter("other"))
    with pytest.raises(UserError, match=r"checkpoint\.pt: another version .*--fresh") as refusal:
        checkpoint.resume(Counter())
    assert "\n" not in str(refusal.value)
