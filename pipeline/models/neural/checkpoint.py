"""Checkpoint: the state from which an interrupted training resumes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from competition.errors import UserError
from competition.storage import atomic_write
from pipeline.runtime import distributed


class Resumable(Protocol):
    """An object whose state is tensors and plain values; loading a state that does not fit raises a ``MISFITS``."""

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
        """Load the main rank's saved state on all ranks; without a checkpoint file, do nothing.

        Raises UserError if the state is that of another network.
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
    """The error for a file whose weights do not fit the network that this version of the pipeline builds."""
    return UserError(f"{path}: another version of the pipeline wrote this file; train again with --fresh")
