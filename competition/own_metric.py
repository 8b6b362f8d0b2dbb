"""Own metrics: a function in a Python file, called as the metric notebooks of Kaggle are.

``score(solution, submission, row_id_column_name)`` takes two frames with the columns of a submission and returns a
number. Probabilities are made such frames of, in the form of the competition's submission.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from competition.cells import answers_form, cells_of, one_hot
from competition.errors import UserError
from competition.form import Form, FormKind
from competition.metrics import Metric
from competition.remembered import remembered
from competition.task import Kind, Task
from competition.wording import did_you_mean, fault_in, printable

Score = Callable[[pd.DataFrame, pd.DataFrame, str], float]
TRIALS = 200  # images of the answers that tell whether greater is better


@dataclass(frozen=True)
class OwnFunction:
    """A function of a Python file, which each process loads at its first call."""

    path: Path
    name: str
    task: Task
    form: Form

    def __call__(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The value for labels and a model's output, as a ``Metric`` takes them."""
        return self._value(self._answers(labels), self._frame(self.form, probabilities))

    def is_better_if_greater(self) -> bool:
        """Found by scoring answers against themselves and shuffled. Raises UserError if both have the same value."""
        generator = np.random.default_rng(0)
        labels = _drawn_labels(self.task, generator)
        right = self._answers(labels)
        answered = self._frame(self.form, one_hot(self.task, labels))
        astray = self._frame(self.form, one_hot(self.task, generator.permutation(labels)))
        best, chance = (self._value(right, frame) for frame in (answered, astray))
        if best == chance or not np.isfinite([best, chance]).all():
            fault = f"{self.name} gives {best:g} for right answers and {chance:g} for shuffled ones"
            raise fault_in(self.path, fault, "return a number that tells them apart")
        return best > chance

    def _value(self, solution: pd.DataFrame, submission: pd.DataFrame) -> float:
        return value_of(f"{self.path}:{self.name}", solution, submission, self._row_id)

    @cached_property
    def _row_id(self) -> str:
        return self.form.header[self.form.id_at] if self.form.header and self.form.ids else "row_id"

    def _answers(self, labels: np.ndarray) -> pd.DataFrame:
        form = answers_form(self.form)
        if self.task.kind == "continuous":
            return self._laid_out(form, self.task.true_numbers(labels))
        return self._frame(form, one_hot(self.task, labels))

    def _frame(self, form: Form, probabilities: np.ndarray) -> pd.DataFrame:
        return self._laid_out(form, cells_of(form, self.task).decide(probabilities))

    def _laid_out(self, form: Form, decided: np.ndarray) -> pd.DataFrame:
        """A row for each image, or for each image and target in long form."""
        names = [str(row) for row in range(len(decided))]
        if form.row_targets is not None:
            targets = self.task.targets or tuple(map(str, self.task.classes))
            form = replace(form, row_targets=np.tile(np.arange(len(targets)), len(decided)))
            names = [f"{name}_{target}" for name in names for target in targets]
            decided = np.repeat(decided, len(targets), axis=0)
        columns = cells_of(form, self.task).columns(decided)
        header = [name for name in form.header if name != self._row_id] or [str(at) for at in range(len(columns))]
        return pd.DataFrame({self._row_id: names} | dict(zip(header, columns, strict=True)))


def own_metric(name: str) -> Metric:
    """The metric that ``FILE.py:function`` names. Raises UserError if there is no such file or function."""
    place, _, function = name.rpartition(":")
    path = Path(place).expanduser().resolve()
    _loaded(path, function)
    return Metric(f"{path}:{function}", function, _unbound, True, "frames", kinds=get_args(Kind))


def value_of(metric: str, solution: pd.DataFrame, submission: pd.DataFrame, row_id: str) -> float:
    """The value of an own metric, by name, for two frames. Raises UserError with its own words if it fails."""
    place, _, name = metric.rpartition(":")
    try:
        return float(_loaded(Path(place), name)(solution.copy(), submission.copy(), row_id))
    except Exception as error:
        fault = f"{name} failed ({type(error).__name__}: {printable(error, most=200)})"
        columns = printable(", ".join(map(str, submission.columns[:6])))
        raise fault_in(Path(place), fault, f"correct it; it was called with the columns {columns}") from error


def bound(metric: Metric, task: Task, form: Form | None) -> Metric:
    """The own metric for a task. form: of the submissions; None for the simplest that fits the task."""
    path, _, name = metric.name.rpartition(":")
    function = OwnFunction(Path(path), name, task, form or _simplest(task))
    return replace(metric, task=task, function=function, greater_is_better=function.is_better_if_greater())


def _unbound(labels: np.ndarray, probabilities: np.ndarray) -> float:
    raise UserError("an own metric measures the predictions of a competition; open one with --metric FILE.py:function")


@remembered
def _loaded(path: Path, name: str) -> Score:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise fault_in(path, "no such file", "give the metric as FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise fault_in(path, f"cannot be run ({printable(error, most=200)})", "correct the file") from error
    if not callable(found := getattr(module, name, None)):
        functions = [each for each, value in vars(module).items() if callable(value)]
        raise fault_in(path, f"no function '{name}'{did_you_mean(name, functions)}", "name one as FILE.py:function")
    return found


def _simplest(task: Task) -> Form:
    kinds: dict[str, FormKind] = {"multilabel": "columns", "continuous": "columns"}
    kind = kinds.get(task.kind, "class")
    values = tuple(map(str, task.classes)) if kind == "columns" else task.targets or ("target",)
    return Form(kind, ("row_id", *values), (), ())


def _drawn_labels(task: Task, generator: np.random.Generator) -> np.ndarray:
    """Labels of every choice, as a ``Split`` has them."""
    shape = (TRIALS,) if task.kind == "multiclass" else (TRIALS, task.target_count)
    drawn = generator.integers(0, task.choices, shape)
    return task.true_numbers(drawn) if task.kind == "continuous" else drawn
