"""Scores of a submission as a leaderboard would show them: on the public and the private test images."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition.cells import Cells, answers_form, cells_at, cells_of
from competition.checked_toml import CheckedModel, read_checked_toml
from competition.form import Form, FormKind
from competition.metrics import Metric, find_metric
from competition.own_metric import value_of
from competition.submission import check_cells, read_submission, value_places
from competition.tables import Table, read_table
from competition.task import Kind, Label, Task
from competition.wording import counted, fault_in, listed, printable

Value = Callable[[np.ndarray], float]  # of the rows that are marked, bool ``[R]``

USAGES = ("Public", "Private")


class ScoringRule(CheckedModel):
    """What ``<answers>.toml``, beside the answers, says of them.

    metric, form: how they are measured, and what the cells hold. separator: between labels in a cell.
    targets: if there are several for each case, their names; the id of a row is then ``<case>_<target>``.
    """

    metric: str = "accuracy"
    form: FormKind = "class"
    separator: str = " "
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scores:
    """The value of the metric on the public rows, on the private rows and on all rows."""

    public: float
    private: float
    overall: float


def write_rule(answers: Path, rule: ScoringRule) -> None:
    """Write what is not the default beside the answers."""
    given = rule.model_dump(exclude_defaults=True)
    if given:
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())
        answers.with_suffix(".toml").write_text(text, encoding="utf-8")


def rule_of(answers: Path) -> ScoringRule:
    """How these answers are scored: accuracy of classes, unless a file beside them says otherwise."""
    path = answers.with_suffix(".toml")
    return read_checked_toml(path, ScoringRule) if path.is_file() else ScoringRule()


def score_submission(submission: Path, answers: Path, form: Form | None = None, metric: Metric | None = None) -> Scores:
    """Score a CSV against a solution file.

    submission: one row for each id, in any order, with the columns of ``answers`` but the last.
    answers: the columns of a submission and ``Usage``, which is Public or Private.
    form, metric: of the competition; by default as ``rule_of`` the answers says, with the ids in the first column.
        In long form the metric must know its task.

    Raises UserError if a header is wrong, a cell is blank or not of the form's kind, or an id is missing, unknown or a
    duplicate.
    """
    rule = rule_of(answers)
    metric = metric or find_metric(rule.metric)
    solution = read_table(answers)
    _check_solution(solution)
    form = _with_rows(form, solution) if form else _form(rule, metric, solution)
    given = read_submission(form, submission)
    _check_given(form, given)
    pair = Table(solution.path, solution.frame.iloc[:, :-1]), _aligned(form, given)
    if form.kind == "class":
        _check_classes(*pair, value_places(form, given))
    if metric.needs == "frames":
        value = _own_value(metric, form, *pair)
    else:
        value = _value(metric.of(metric.task or _task(rule.targets, form, metric, *pair)).at_half, form, *pair)
    is_public = (solution.frame["Usage"] == "Public").to_numpy()
    return Scores(*map(value, (is_public, ~is_public, np.ones(len(is_public), bool))))


def _form(rule: ScoringRule, metric: Metric, solution: Table) -> Form:
    """The form of submissions that are scored by the rule; numbers where the metric measures them."""
    ids = _ids(solution, 0)
    are_numbers = rule.form == "class" and metric.needs == "numbers"
    form = Form("number" if are_numbers else rule.form, solution.columns[:-1], ids, ids, separator=rule.separator)
    if not rule.targets:
        return form
    parts = [name.rpartition("_") for name in ids]
    solution.refuse([part[2] not in rule.targets for part in parts], "id without a target", f"add _{rule.targets[0]}")
    targets = np.array([rule.targets.index(part[2]) for part in parts])
    return replace(form, cases=tuple(part[0] for part in parts), row_targets=targets)


def _with_rows(form: Form, solution: Table) -> Form:
    """The form with the rows of the solution, in its order."""
    if not form.ids:
        return form
    ids, places = _ids(solution, form.id_at), {name: row for row, name in enumerate(form.ids)}
    solution.refuse([name not in places for name in ids], "unknown id", f"take the ids from {form.source}")
    rows = [places[name] for name in ids]
    targets = None if form.row_targets is None else form.row_targets[rows]
    return replace(form, ids=ids, cases=tuple(form.cases[row] for row in rows), row_targets=targets)


def _ids(solution: Table, at: int) -> tuple[str, ...]:
    ids = tuple(cells_at(solution, at))
    _refuse_twice(solution, ids)
    return ids


def _aligned(form: Form, given: Table) -> Table:
    """The submission with its rows in the order of the solution."""
    if not form.ids:
        return given
    places = {name: row for row, name in enumerate(cells_at(given, form.id_at))}
    return Table(given.path, given.frame.iloc[[places[name] for name in form.ids]])


def _own_value(metric: Metric, form: Form, solution: Table, given: Table) -> Value:
    """The value of an own metric on some rows: it gets the frames as pandas reads them."""
    frames = [pd.read_csv(io.StringIO(each.frame.to_csv(index=False))) for each in (solution, given)]
    row_id = form.header[form.id_at] if form.ids else ""

    def value(rows: np.ndarray) -> float:
        right, answered = (frame[rows].reset_index(drop=True) for frame in frames)
        return value_of(metric.name, right, answered, row_id)

    return value


def _value(metric: Metric, form: Form, solution: Table, given: Table) -> Value:
    """The value of a metric, which knows its task, on some rows of the form."""
    assert metric.task is not None
    cells, of_answers = cells_of(form, metric.task), cells_of(answers_form(form), metric.task)
    check_cells(of_answers, solution)
    check_cells(cells, given)
    truth, decided = (_by_case(each, table) for each, table in ((of_answers, solution), (cells, given)))
    case_of_row = pd.factorize(np.array(form.cases))[0] if form.row_targets is not None else np.arange(len(truth))

    def value(rows: np.ndarray) -> float:
        chosen = np.unique(case_of_row[rows])
        return _measured(metric, cells, decided[chosen], of_answers, truth[chosen])

    return value


def _measured(metric: Metric, cells: Cells, decided: np.ndarray, of_answers: Cells, truth: np.ndarray) -> float:
    if metric.needs == "numbers" or (metric.needs == "labels" and truth.dtype.kind == "i" and truth.ndim == 1):
        return metric.measured(truth, decided)
    task = cells.task
    labels = task.by_target(of_answers.output(truth)).argmax(axis=2)
    given = task.by_target(cells.output(decided))
    if metric.needs == "probabilities":  # as Kaggle does where a row does not sum to 1
        given = given / np.maximum(given.sum(axis=2, keepdims=True), np.finfo(np.float32).tiny)
    return metric(given.reshape(len(given), -1), labels[:, 0] if task.kind == "multiclass" else labels)


def _by_case(cells: Cells, table: Table) -> np.ndarray:
    """What the table says of each case, in the order in which they first come."""
    form = cells.form
    found = cells.read([cells_at(table, at) for at in value_places(form, table)])
    if form.row_targets is None:
        return found
    cases, names = pd.factorize(np.array(form.cases))
    by_case = np.zeros((len(names), cells.task.target_count, *found.shape[1:]), found.dtype)
    by_case[cases, form.row_targets] = found
    return by_case


def _task(targets: tuple[str, ...], form: Form, metric: Metric, solution: Table, given: Table) -> Task:
    """The task of which these are the answers and a submission."""
    names = tuple(solution.columns[at] for at in value_places(form, solution))
    if form.kind == "number" or metric.needs == "numbers":
        return Task(names, "continuous", intervals=((0.0, 1.0),) * len(names))
    if form.kind == "probability":
        return Task((0, 1))
    if form.kind == "columns":
        values = solution.frame.iloc[:, value_places(form, solution)].astype(float).to_numpy()
        is_one = metric.fits(Task(names)) and (values.sum(axis=1) == 1).all()
        return Task(names, "multiclass" if is_one else "multilabel")
    cells = [cell for table in (solution, given) for cell in cells_at(table, value_places(form, table)[0])]
    if form.kind == "confidence":
        cells = [cell.strip().rpartition(form.separator)[0] or cell for cell in cells]
    if form.kind in ("labels", "ranking"):
        cells = [part for cell in set(cells) for part in cell.split(form.separator)]
    kind: Kind = "multioutput" if targets else "multilabel" if form.kind == "labels" else "multiclass"
    return Task(_classes(filter(str.strip, cells)), kind, targets)


def _classes(cells: Iterable[str]) -> tuple[Label, ...]:
    labels = set(cells)
    are_numbers = all(_is_integer(label) and str(int(label)) == label for label in labels)
    return tuple(sorted(map(int, labels) if are_numbers else labels))


def _check_solution(solution: Table) -> None:
    if len(solution.columns) < 2 or solution.columns[-1] != "Usage":
        fault = f"the header {_joined(solution.columns)} is not that of a solution file"
        raise fault_in(solution.path, fault, "use the columns of a submission and Usage, e.g. Image,Class,Usage")
    usages = solution.column("Usage")
    fault, remedy = "Usage is neither Public nor Private", "write one of the two"
    solution.refuse([usage not in USAGES for usage in usages], fault, remedy)
    if absent := [usage for usage in USAGES if usage not in usages]:
        raise fault_in(solution.path, f"no row is {absent[0]}", "mark some rows Public and some Private")


def _check_given(form: Form, given: Table) -> None:
    if form.header and given.columns != form.header:
        fault = f"the header is {_joined(given.columns)} but must be {_joined(form.header)}"
        raise fault_in(given.path, fault, "rename, drop or add columns")
    if form.ids:
        _check_ids(given, form)


def _check_ids(given: Table, form: Form) -> None:
    ids, known = cells_at(given, form.id_at), set(form.ids)
    given.refuse([not name.strip() for name in ids], "empty id", f"fill it in from {form.source}")
    unknown = listed(dict.fromkeys(name for name in ids if name not in known))
    fault = f"id not in the test set ({unknown})"
    given.refuse([name not in known for name in ids], fault, f"write the ids as in {form.source}")
    _refuse_twice(given, ids)
    there = set(ids)
    if missing := [name for name in form.ids if name not in there]:
        fault = f"{counted(len(missing), 'id')} of {len(known)} missing ({listed(missing)})"
        raise fault_in(given.path, fault, "add a row for each")


def _check_classes(solution: Table, given: Table, places: Sequence[int]) -> None:
    for at in places:
        right, labels = cells_at(solution, at), cells_at(given, at)
        solution.refuse([not label.strip() for label in right], "no class", "give each id a class")
        given.refuse([not label.strip() for label in labels], "no prediction", "give each id a class")
        if all(map(_is_integer, right)):
            # 38.0 would never equal 38 and would silently count as wrong.
            strange = [not _is_integer(label) for label in labels]
            fault = "class is not an integer"
            given.refuse(strange, fault, f"write the classes as in train.csv, e.g. {right[0]}")


def _refuse_twice(table: Table, ids: Sequence[str]) -> None:
    counts = Counter(ids)
    twice = listed(name for name, count in counts.items() if count > 1)
    table.refuse([counts[name] > 1 for name in ids], f"duplicate id ({twice})", "keep one row of each")


def _is_integer(label: str) -> bool:
    return label.removeprefix("-").isdecimal()


def _joined(columns: Sequence[str]) -> str:
    return printable(",".join(columns))
