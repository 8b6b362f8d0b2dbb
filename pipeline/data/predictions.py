"""Predictions: probabilities together with the image ids, always joined by id and never by position."""

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.errors import UserError
from competition.wording import listed, printable
from pipeline.runtime.memory import row_blocks
from pipeline.runtime.sealed import DamagedFile, read_arrays, write_arrays


@dataclass(frozen=True, eq=False)
class Predictions:
    """One model's probabilities for some images.

    ids: one unique id for each row.
    probabilities: float32 ``[N, C]``, finite and not negative, with the columns of ``Task``.
    targets: the labels as in ``Split.labels``; None if they are not known, as for test images.
    fingerprint: of the run whose model made them; empty if there is none.

    Raises UserError if these do not fit together.
    """

    ids: tuple[str, ...]
    probabilities: np.ndarray
    targets: np.ndarray | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(str(name) for name in self.ids))
        object.__setattr__(self, "probabilities", np.asarray(self.probabilities, dtype=np.float32))
        if self.targets is not None:
            targets = np.asarray(self.targets)
            object.__setattr__(self, "targets", targets.astype(np.float64 if targets.dtype.kind == "f" else np.int64))
        self._check_shape()
        self._check_values()
        self._check_targets()

    def _check_shape(self) -> None:
        shape = self.probabilities.shape
        if len(shape) != 2 or shape[0] != len(self.ids) or shape[1] == 0:
            raise UserError(f"probabilities of shape {shape} for {len(self.ids):,} ids; expected [ids, classes]")
        twice = [name for name, times in Counter(self.ids).items() if times > 1]
        if twice:
            raise UserError(f"{len(twice):,} ids predicted more than once: {listed(twice)}; remove the duplicates")

    def _check_values(self) -> None:
        lowest, highest = self.probabilities.min(axis=1), self.probabilities.max(axis=1)  # nan if any is nan
        sound = (lowest >= 0) & (highest < np.inf)
        if not sound.all():
            broken = [self.ids[row] for row in np.flatnonzero(~sound)]
            raise UserError(
                f"{len(broken):,} of {len(self):,} predictions are negative or not finite: {listed(broken)}; "
                "train this model again, with a lower learning rate if training diverged"
            )

    def _check_targets(self) -> None:
        if self.targets is None:
            return
        if len(self.targets) != len(self):
            raise UserError(f"targets of shape {self.targets.shape} for {len(self):,} ids; expected one for each id")
        columns, is_choice = self.probabilities.shape[1], self.targets.dtype.kind != "f"
        if is_choice and ((self.targets < 0) | (self.targets >= columns)).any():
            raise UserError(f"targets outside the {columns} columns; expected numbers from 0 to {columns - 1}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known_targets(self) -> np.ndarray:
        """The targets. Raises UserError if they are not known."""
        if self.targets is None:
            raise UserError("the predictions have no targets; run pipeline/train.py again with --fresh")
        return self.targets

    @property
    def predicted_labels(self) -> np.ndarray:
        """The most probable class of each row: int64 ``[N]``, the first in a tie."""
        return self.probabilities.argmax(axis=1)

    def aligned_to(self, ids: Sequence[str]) -> "Predictions":
        """The predictions for ``ids``, in that order. Raises UserError if some ids were not predicted."""
        if tuple(ids) == self.ids:
            return self
        wanted = self.rows_of(ids)
        targets = None if self.targets is None else self.targets[wanted]
        return Predictions(tuple(ids), self.probabilities[wanted], targets, self.fingerprint)

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """The rows of these ids, int64 ``[N]``. Raises UserError if some ids were not predicted."""
        rows = {name: row for row, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in rows]
        if missing:
            raise UserError(
                f"no prediction for {len(missing):,} of {len(ids):,} ids: {listed(missing)}; "
                "predict them with this model"
            )
        return np.array([rows[name] for name in ids], dtype=np.int64)

    def save(self, path: Path) -> None:
        """Write an .npz without pickle: ``ids`` and ``fingerprint`` (unicode), ``probabilities`` (float32), and
        ``targets`` (int64) if they are known, with a hash of them all.
        """
        arrays = {
            "ids": np.array(self.ids, dtype=np.str_),
            "probabilities": self.probabilities,
            "fingerprint": np.array(self.fingerprint, dtype=np.str_),
        }
        write_arrays(path, arrays if self.targets is None else arrays | {"targets": self.targets})

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read a file that ``save`` wrote. Raises UserError if it is missing, damaged or of another kind."""
        try:
            arrays = read_arrays(path)
            fingerprint = str(arrays["fingerprint"])
            return cls(tuple(arrays["ids"].tolist()), arrays["probabilities"], arrays.get("targets"), fingerprint)
        except FileNotFoundError:
            raise UserError(f"no predictions at {printable(path, most=200)}; run pipeline/train.py first") from None
        except KeyError:
            raise DamagedFile(path, "not a file of predictions") from None
        except DamagedFile:
            raise
        except UserError as error:
            raise UserError(f"{printable(path, most=200)}: {error}") from error


def stored_blocks(path: Path) -> Iterator[Predictions]:
    """The predictions that ``save`` wrote to ``path``, without targets, in blocks of rows that need little memory."""
    with zipfile.ZipFile(path) as archive, archive.open("ids.npy") as file:
        ids = np.lib.format.read_array(file).tolist()
    with zipfile.ZipFile(path) as archive, archive.open("probabilities.npy") as file:
        np.lib.format.read_magic(file)
        (rows, columns), _, kind = np.lib.format.read_array_header_1_0(file)
        for block in row_blocks(rows, columns):
            values = np.frombuffer(file.read((block.stop - block.start) * columns * kind.itemsize), kind)
            yield Predictions(tuple(ids[block]), values.reshape(-1, columns))
