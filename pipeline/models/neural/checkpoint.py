"""Checkpoint: the state from which an interrupted training resumes."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from competition.storage import atomic_write, discard
from competition.wording import printable
from pipeline.runtime import distributed
from pipeline.runtime.memory import raise_shortage
from pipeline.runtime.sealed import DamagedFile, seal, sealed_content


class Resumable(Protocol):
    """An object whose state is tensors and plain values; loading a state that does not fit raises a ``MISFITS``."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


MISFITS = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, UnpicklingError)


def packed(training: Resumable) -> bytes:
    """The state of a training, in memory of the CPU."""
    buffer = BytesIO()
    torch.save(training.state_dict(), buffer)
    return buffer.getvalue()


def unpacked(content: bytes) -> dict[str, Any]:
    return torch.load(BytesIO(content), map_location="cpu", weights_only=True)


@dataclass(frozen=True)
class Checkpoint:
    """The file that holds the state of a training.

    fingerprint: of everything that the training depends on; the state of a training with another one is not resumed.
    """

    path: Path
    fingerprint: str = ""

    def save(self, training: Resumable) -> None:
        with atomic_write(self.path) as path:
            torch.save(training.state_dict(), path)
            seal(path, self.fingerprint)

    def resume(self, training: Resumable) -> None:
        """Load the main rank's saved state on all ranks; without a checkpoint file, do nothing.

        A file that is damaged or belongs to another training is removed, and a line says so.
        Raises DamagedFile if another version of the pipeline saved the state.
        """
        state = distributed.from_main(self._read)
        if state is None:
            return
        try:
            training.load_state_dict(state)
        except MISFITS as error:
            raise_shortage(error)
            raise self._of_another_version() from None

    def _read(self) -> dict[str, Any] | None:
        content = sealed_content(self.path, self.fingerprint)
        if content is None:
            self._discard_damaged()
            return None
        try:
            return unpacked(content)
        except MISFITS as error:
            raise_shortage(error)
            raise self._of_another_version() from None

    def _discard_damaged(self) -> None:
        if self.path.exists():
            place = printable(self.path, most=200)
            print(f"warning: {place}: damaged or of another training; this training begins anew")
            discard(self.path)

    def _of_another_version(self) -> DamagedFile:
        return DamagedFile(self.path, "another version of the pipeline wrote this file", "train again with --fresh")
