"""What all kinds of cells have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from competition.form import Form
from competition.images_on_disk import IMAGE_SUFFIXES
from competition.tables import Table
from competition.task import Label, Task
from competition.wording import did_you_mean, listed, printable

Column = np.ndarray  # the cells of one column: objects that are labels or text, or floats


@dataclass(frozen=True)
class Cells(ABC):
    """How answers of one kind are decided, laid out, checked and read."""

    form: Form
    task: Task

    @abstractmethod
    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The plain answers. probabilities: a model's output, float ``[N, T * K]``."""

    @abstractmethod
    def columns(self, decided: np.ndarray) -> list[Column]:
        """The columns besides the id. decided: the answer of each row's case, in the order of the rows."""

    @abstractmethod
    def check(self, table: Table, places: Sequence[int]) -> str:
        """What the cells in these columns hold, in words. Raises UserError with the rows of cells that are wrong."""

    @abstractmethod
    def read(self, columns: Sequence[Sequence[str]]) -> np.ndarray:
        """What ``decide`` would have to return for these cells, which ``check`` has passed; in long form of rows."""

    @abstractmethod
    def output(self, decided: np.ndarray) -> np.ndarray:
        """A model's output of which ``decide`` makes these answers, float ``[N, T * K]``."""

    @cached_property
    def names(self) -> list[Label]:
        """How each choice of a target is spelled."""
        labels: Sequence[Label] = (0, 1) if self._is_yes_or_no else self.task.classes
        return [self.form.spelled.get(str(label), label) for label in labels]

    @cached_property
    def places(self) -> dict[str, int]:
        return {str(name): place for place, name in enumerate(self.names)}

    @property
    def _is_yes_or_no(self) -> bool:
        return self.task.kind == "multilabel" and self.form.kind == "class"

    @cached_property
    def _named(self) -> np.ndarray:
        named = np.empty(len(self.names), object)
        named[:] = self.names
        return named

    def _of_row(self, decided: np.ndarray) -> np.ndarray:
        """The answer for each row's target: ``[R, T, ...]`` to ``[R, ...]`` in long form, else as it is."""
        targets = self.form.row_targets
        return decided if targets is None or decided.ndim == 1 else decided[np.arange(len(decided)), targets]

    def _refuse_unknown(self, table: Table, at: int, parts: Callable[[str], Iterable[str]]) -> None:
        """Raises UserError for cells with labels that are none of the names. parts: gives the labels in a cell."""
        labels = dict.fromkeys(chain.from_iterable(map(parts, dict.fromkeys(cells_at(table, at)))))
        unknown = [label for label in labels if label not in self.places]
        if unknown:
            hint = same_spelled(unknown[0], self.places) or did_you_mean(unknown[0], self.places)
            fault = f"class not in train.csv ({listed(unknown)}){hint}"
            remedy = f"write the {len(self.places):,} classes as in train.csv: {listed(self.places)}"
            strange = set(unknown)
            table.refuse([not strange.isdisjoint(parts(cell)) for cell in cells_at(table, at)], fault, remedy)


def one_hot(task: Task, labels: np.ndarray) -> np.ndarray:
    """A model's output that is sure of these labels, float32 ``[N, T * K]``."""
    chosen = task.encode(labels).reshape(len(labels), -1)
    return np.eye(task.choices, dtype=np.float32)[chosen].reshape(len(labels), -1)


def cells_at(table: Table, at: int) -> list[str]:
    """The cells of the column in that place, as a list: to go through a series of strings takes ten times as long."""
    return list(table.frame.iloc[:, at].to_numpy(object))


def same_spelled(name: str, known: Iterable[str]) -> str:
    """`` (did you mean '00017'?)`` if a known name differs only in what tools tend to change; otherwise empty."""
    plain = _plain(name)
    near = next((each for each in known if _plain(each) == plain), None)
    return f" (did you mean '{printable(near)}'?)" if near is not None else ""


def _plain(name: str) -> str:
    """The name without what tools add or lose: spaces, extension, ``.0``, leading zeros and upper case."""
    name = name.strip().casefold()
    for suffix in (*IMAGE_SUFFIXES, ".0"):
        name = name.removesuffix(suffix)
    return name.lstrip("0")
