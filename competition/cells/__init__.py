"""Cells: what stands in a row of a submission besides its id; one class for each kind of form.

``decide`` makes of a model's output what is answered for each case, in an array whose shape depends on the kind:

    class        int64 ``[N]``, or ``[N, T]`` with several targets: the choice
    probability  float ``[N, L]``, with the columns of ``Task.scores``
    columns      float ``[N, C]``: a probability a class or label, or the numbers; ``[N, T, K]`` with several targets
    number       float ``[N, T]``
    labels       bool ``[N, L]``
    ranking      int64 ``[N, k]``: the likeliest labels, best first
    confidence   float64 ``[N, 2]``: the likeliest label and its probability
"""

from collections.abc import Callable
from dataclasses import replace

from competition.cells.base import Cells, Column, cells_at, one_hot, same_spelled
from competition.cells.joined import ConfidenceCells, LabelCells, RankingCells
from competition.cells.single import ClassCells, NumberCells
from competition.form import Form, FormKind
from competition.task import Task

__all__ = ["Cells", "Column", "answers_form", "cells_at", "cells_of", "one_hot", "same_spelled", "spelled"]

_KINDS: dict[FormKind, Callable[[Form, Task], Cells]] = {
    "class": ClassCells,
    "probability": NumberCells,
    "columns": NumberCells,
    "number": NumberCells,
    "labels": LabelCells,
    "ranking": RankingCells,
    "confidence": ConfidenceCells,
}


def cells_of(form: Form, task: Task) -> Cells:
    """The cells of submissions in that form."""
    return _KINDS[form.kind](form, task)


def answers_form(form: Form) -> Form:
    """The form of the right answers: of a ranking or a label with its confidence, the true labels alone."""
    return replace(form, kind="labels") if form.kind in ("ranking", "confidence") else form


def spelled(column: Column) -> list[str]:
    """The cells as text: nine digits of a number tell any two float32 apart."""
    if column.dtype.kind == "f":
        return [f"{number:.9g}" for number in column.tolist()]
    return [str(cell) for cell in column.tolist()]
