"""Checkpoint: the state that an interrupted training goes on from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from competition.errors import UserError
from competition.storage import atomic_write
from pipeline.runtime import distributed


class Resumable(Protocol):
    """What has a state of tensors and plain values; loading that of something else raises one of ``MISFITS``."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


MISFITS = (RuntimeError, LookupError, ValueError, TypeError)


@dataclass(frozen=True)
class Checkpoint:
    """The file that holds the state of a training."""

    path: Path

    def save(self, training: Resumable) -> None:
        with atomic_write(self.path) as path:
            torch.save(training.state_dict(), path)

    def resume(self, training: Resumable) -> None:
        """Load what an interrupted training left, if it left anything: the main rank's state, on all ranks.

        Raises UserError where that was of another network.
        """
        state = distributed.from_main(self._read)
        if state is None:
            return
        try:
            training.load_state_dict(state)
        except MISFITS:
            raise of_another_version(self.path) from None

    def _read(self) -> dict[str, Any] | None:
        return torch.load(self.path, map_location="cpu", weights_only=True) if self.path.is_file() else None


def of_another_version(path: Path) -> UserError:
    """The error for what was left by a pipeline whose networks had another shape."""
    return UserError(f"{path}: another version of the pipeline wrote it; train again with --fresh")
