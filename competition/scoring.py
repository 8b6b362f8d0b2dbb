"""Scores of a submission as a leaderboard would show them: accuracy on the public and private test images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.tables import Table, read_table
from competition.wording import counted, fault_in, listed, printable

USAGES = ("Public", "Private")


@dataclass(frozen=True)
class Scores:
    """Accuracy, 0 to 1, on the public rows, on the private rows and on all rows."""

    public: float
    private: float
    overall: float


def score_submission(submission: Path, answers: Path) -> Scores:
    """Score a CSV of predicted classes against a solution file.

    submission: one row for each id, in any order, with the first two columns of ``answers``: id and class.
    answers: the same two columns and ``Usage``, which is Public or Private.

    Raises UserError if a header is wrong, a cell is blank, or an id is missing, unknown or a duplicate.
    """
    solution, given = read_table(answers), read_table(submission)
    _check_solution(solution)
    _check_header(given, solution.columns[:2])
    ids, labels, usages = map(solution.column, solution.columns)
    _check_ids(given, ids)
    _check_labels(given, labels)
    predicted = dict(zip(*map(given.column, given.columns), strict=True))
    right = np.array([predicted[name] == label for name, label in zip(ids, labels, strict=True)])
    is_public = np.array(usages) == "Public"
    return Scores(float(right[is_public].mean()), float(right[~is_public].mean()), float(right.mean()))


def _check_solution(solution: Table) -> None:
    if len(solution.columns) != 3 or solution.columns[2] != "Usage":
        fault = f"the header {_joined(solution.columns)} is not that of a solution file"
        raise fault_in(solution.path, fault, "use columns for id, class and Usage, e.g. Image,Class,Usage")
    ids, labels, usages = zip(*solution.rows, strict=True)
    _refuse_twice(solution, ids)
    solution.refuse([not label.strip() for label in labels], "no class", "give each id a class")
    fault, remedy = "Usage is neither Public nor Private", "write one of the two"
    solution.refuse([usage not in USAGES for usage in usages], fault, remedy)
    if absent := [usage for usage in USAGES if usage not in usages]:
        raise fault_in(solution.path, f"no row is {absent[0]}", "mark some rows Public and some Private")


def _check_header(given: Table, expected: tuple[str, ...]) -> None:
    if given.columns != expected:
        fault = f"the header is {_joined(given.columns)} but must be {_joined(expected)}"
        raise fault_in(given.path, fault, "rename, drop or add columns")


def _check_ids(given: Table, expected: Sequence[str]) -> None:
    ids, known = given.column(given.columns[0]), set(expected)
    given.refuse([not name.strip() for name in ids], "empty id", "fill it in from test.csv")
    unknown = listed(dict.fromkeys(name for name in ids if name not in known))
    fault = f"id not in the test set ({unknown})"
    given.refuse([name not in known for name in ids], fault, "write the ids as in test.csv")
    _refuse_twice(given, ids)
    there = set(ids)
    if missing := [name for name in expected if name not in there]:
        fault = f"{counted(len(missing), 'id')} of {len(known)} missing ({listed(missing)})"
        raise fault_in(given.path, fault, "add a row for each")


def _check_labels(given: Table, true_labels: Sequence[str]) -> None:
    labels = given.column(given.columns[1])
    given.refuse([not label.strip() for label in labels], "no prediction", "give each id a class")
    if all(map(_is_integer, true_labels)):
        # 38.0 would never equal 38 and would silently count as wrong.
        strange = [not _is_integer(label) for label in labels]
        fault = "class is not an integer"
        given.refuse(strange, fault, f"write the classes as in train.csv, e.g. {true_labels[0]}")


def _refuse_twice(table: Table, ids: Sequence[str]) -> None:
    counts = Counter(ids)
    twice = listed(name for name, count in counts.items() if count > 1)
    table.refuse([counts[name] > 1 for name in ids], f"duplicate id ({twice})", "keep one row of each")


def _is_integer(label: str) -> bool:
    return label.removeprefix("-").isdecimal()


def _joined(columns: Sequence[str]) -> str:
    return printable(",".join(columns))
