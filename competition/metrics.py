"""The metrics by name: how predictions are measured, and which of two values is better.

To add a metric, write its function in ``measures.py`` and list it in ``METRICS``. Nothing else changes: model
selection, blending, decisions and reports use the competition's ``Metric``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from competition import measures
from competition.errors import UserError
from competition.form import Form
from competition.task import Kind, Task
from competition.wording import did_you_mean, printable

Function = Callable[..., float]  # the truth and what is predicted, as ``measures.py`` describes them; maybe weights
Interval = tuple[float, float]
Needs = Literal[
    "labels", "probabilities", "scores", "sets", "numbers", "grades", "ranking", "confidence", "frames"
]  # fmt: skip

LEVEL = 0.95  # confidence level of the intervals
RESAMPLES = 200  # bootstrap samples
THRESHOLDS = 1 / (1 + np.exp(-np.arange(-5, 2.25, 0.25)))  # of the probability of a label, 0.007 to 0.88
VALUES = 4_000_000  # probabilities on which a threshold or a rule is fitted at most
CHOICES: tuple[Kind, ...] = ("multiclass", "multilabel", "multioutput")
LABELS: tuple[Kind, ...] = ("multiclass", "multilabel")


@dataclass(frozen=True)
class Metric:
    """One way to measure predictions against labels. Two are equal if their names are.

    name: as in ``--metric`` and ``known/*.toml``; title: as in tables and pages.
    function: takes the truth and what the metric ``needs``, in the shapes that ``measures.py`` describes.
    needs: labels (the likeliest), probabilities (of the true labels), scores (their order within each label), sets
        (each label with a probability above 0.5), numbers, grades (the expected grade, rounded), ranking (the ``most``
        likeliest labels), confidence (the likeliest label and its probability), frames (as an own metric takes them).
    is_proportion: whether the value is a proportion of the images, all with equal weight.
    kinds: of the tasks that it can measure. is_binary: whether the task must have two classes.
    weights: the weights that ``function`` takes as its third argument, by task.
    at_best: whether labels are those above the threshold that is best for the images measured, not above 0.5. A
        threshold is fitted before anything is submitted, so models are compared by what they reach with one.
    task: of the predictions; None for one class an image, whatever the number of classes.
    """

    name: str
    title: str = field(compare=False)
    function: Function = field(compare=False)
    greater_is_better: bool = field(compare=False)
    needs: Needs = field(compare=False)
    is_proportion: bool = field(default=False, compare=False)
    kinds: tuple[Kind, ...] = field(default=CHOICES, compare=False)
    is_binary: bool = field(default=False, compare=False)
    most: int = field(default=1, compare=False)
    weights: Callable[[Task], np.ndarray] | None = field(default=None, compare=False)
    task: Task | None = field(default=None, compare=False, repr=False)
    at_best: bool = field(default=False, compare=False)

    def of(self, task: Task, form: Form | None = None) -> "Metric":
        """The metric of that task. form: of the submissions, which tells an own metric what its frames look like.

        Raises UserError with the metrics that fit if this one does not.
        """
        if not self.fits(task):
            reason = (
                " (it takes two)" if self.is_binary else " (it takes whole numbers)" if self.needs == "grades" else ""
            )
            fitting = [name for name, metric in METRICS.items() if metric.fits(task)]
            fault = f"--metric {self.name} cannot measure {task}{reason if task.kind in self.kinds else ''}"
            raise UserError(f"{fault}; use {', '.join(fitting)}")
        if self.needs == "frames":
            from competition.own_metric import bound

            return bound(self, task, form)
        return replace(self, task=task, at_best=self.name.startswith(("f1", "f2")))

    @property
    def at_half(self) -> "Metric":
        """The same metric with labels above 0.5, as a decision makes them."""
        return replace(self, at_best=False)

    def fits(self, task: Task) -> bool:
        """Whether the metric can measure predictions of the task."""
        if task.kind not in self.kinds or (self.is_binary and len(task.classes) != 2):
            return False
        return self.needs != "grades" or all(isinstance(each, int) for each in task.classes)

    def __call__(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        """The value of the metric.

        probabilities: float ``[N, T * K]``, those of each target summing to 1, N at least 1. In a tie the first choice
            is predicted.
        labels: as in ``Split.labels``, or as ``Task.encode`` gives them.
        """
        return self.measured(*self._measurable(probabilities, labels))

    def measured(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """The value for what ``function`` takes."""
        weights = () if self.weights is None or self.task is None else (self.weights(self.task),)
        return float(self.function(truth, predicted, *weights))

    def rank(self, value: float) -> float:
        """The value, negated if smaller is better, so that a better value always ranks higher."""
        return value if self.greater_is_better else -value

    @property
    def worst(self) -> float:
        """A value worse than any other: plus or minus infinity."""
        return -np.inf if self.greater_is_better else np.inf

    @property
    def column(self) -> str:
        """The name as a column header, e.g. ``log_loss``."""
        return self.title if self.needs == "frames" else re.sub(r"\W", "_", self.name)

    def interval(self, probabilities: np.ndarray, labels: np.ndarray) -> Interval:
        """The 95 % interval of the value: Wilson's interval for a proportion, otherwise a bootstrap interval.

        Arguments as for a call of the metric. The result is deterministic.
        """
        if self.is_proportion and labels.ndim == 1:
            return proportion_interval(round(self(probabilities, labels) * len(labels)), len(labels))
        return self._bootstrap(*self._measurable(probabilities, labels))

    def _measurable(self, probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The truth and the predictions as ``function`` takes them."""
        task = self.task or Task(tuple(range(probabilities.shape[1])))
        if task.kind != "multiclass":
            labels = labels.reshape(len(labels), -1)
        return _FORMS[self.needs](self, task, probabilities, labels)

    def _bootstrap(self, truth: np.ndarray, predicted: np.ndarray) -> Interval:
        """Percentile interval over resampled images (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""
        generator = np.random.default_rng(0)
        draws = (generator.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES))
        values = [self.measured(truth[rows], predicted[rows]) for rows in draws]
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def proportion_interval(right: int, total: int) -> Interval:
    """The 95 % interval of a proportion, within 0-1 (E. B. Wilson, "Probable Inference", JASA 22, 1927)."""
    from scipy.stats import binomtest  # imported here because it is slow to import

    found = binomtest(right, total).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def grades_of(task: Task, probabilities: np.ndarray) -> np.ndarray:
    """The expected grade of each image, float64 ``[N]``, of classes that are numbers."""
    return probabilities @ np.array(task.classes, np.float64)


def nearest_class(task: Task, grades: np.ndarray) -> np.ndarray:
    """The class whose number is nearest to each grade, int64 ``[N]``; of two as near the lower one."""
    numbers = np.array(task.classes, np.float64)
    return np.searchsorted((numbers[1:] + numbers[:-1]) / 2, grades)


def likeliest(probabilities: np.ndarray, most: int) -> np.ndarray:
    """The ``most`` likeliest columns, best first, int64 ``[N, most]``, or all columns if there are fewer."""
    if probabilities.shape[1] > 2 * most:  # sorting all would take minutes with ten thousands of classes
        near = np.sort(np.argpartition(-probabilities, most, axis=1)[:, :most], axis=1)
        order = np.argsort(-np.take_along_axis(probabilities, near, axis=1), axis=1, kind="stable")
        return np.take_along_axis(near, order, axis=1)
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :most]


Pair = tuple[np.ndarray, np.ndarray]


def _labels(metric: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    if task.kind == "multiclass":
        return labels, probabilities.argmax(axis=1)
    if task.kind == "multilabel":
        return _sets(metric, task, probabilities, labels)
    return labels, task.by_target(probabilities).argmax(axis=2)


def _probabilities(_: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    if task.kind == "multiclass":
        return labels, probabilities[np.arange(len(labels)), labels]
    return labels, np.take_along_axis(task.by_target(probabilities), labels[:, :, None], axis=2)[:, :, 0]


def _scores(_: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    columns = task.scores(probabilities).T
    return task.truths(labels), np.stack([np.unique(each, return_inverse=True)[1] for each in columns], axis=1)


def _sets(metric: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    truth, scores = task.truths(labels), task.scores(probabilities)
    return truth, scores > (_best_threshold(metric, truth, scores) if metric.at_best else 0.5)


def _best_threshold(metric: Metric, truth: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the best value on these images, or on the first of them if there are many."""
    some = slice(max(1, VALUES // scores.shape[1]))
    ranks = [metric.rank(metric.measured(truth[some], scores[some] > each)) for each in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(ranks))])


def _numbers(_: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    return task.true_numbers(labels), task.numbers(probabilities)


def _grades(_: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    numbers = np.array(task.classes, np.float64)
    return numbers[labels], numbers[nearest_class(task, grades_of(task, probabilities))]


def _ranking(metric: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    if task.kind == "multilabel":
        return labels.astype(bool), likeliest(task.scores(probabilities), metric.most)
    return labels, likeliest(probabilities, metric.most)


def _confidence(_: Metric, task: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    return labels, np.stack([probabilities.argmax(axis=1), probabilities.max(axis=1)], axis=1, dtype=np.float64)


def _frames(_: Metric, __: Task, probabilities: np.ndarray, labels: np.ndarray) -> Pair:
    return labels, probabilities


_FORMS: dict[Needs, Callable[[Metric, Task, np.ndarray, np.ndarray], Pair]] = {
    "labels": _labels,
    "probabilities": _probabilities,
    "scores": _scores,
    "sets": _sets,
    "numbers": _numbers,
    "grades": _grades,
    "ranking": _ranking,
    "confidence": _confidence,
    "frames": _frames,
}


def _first_counts_double(task: Task) -> np.ndarray:
    """Weights of a multioutput task's targets: the first counts double (Bengali.AI, 2020)."""
    return np.array([2.0] + [1.0] * (task.target_count - 1))


def _any_counts_double(task: Task) -> np.ndarray:
    """Weights of labels: ``any`` counts double, without one the last (RSNA Intracranial Hemorrhage, 2019)."""
    weights = np.ones(task.target_count)
    weights[task.classes.index("any") if "any" in task.classes else -1] = 2
    return weights


def _map_at(most: int) -> Metric:
    function = measures.mean_average_precision
    return Metric(f"map@{most}", f"MAP@{most}", function, True, "ranking", kinds=LABELS, most=most)


def _top(most: int) -> Metric:
    function = measures.top_accuracy
    return Metric(f"top-{most}", f"top-{most} accuracy", function, True, "ranking", most == 1, LABELS, most=most)


ACCURACY = Metric("accuracy", "accuracy", measures.accuracy, True, "labels", is_proportion=True)
LOG_LOSS = Metric("log-loss", "log loss", measures.log_loss, False, "probabilities")
F1_MACRO = Metric("f1-macro", "macro F1", measures.f1_macro, True, "labels")
BALANCED_ACCURACY = Metric("balanced-accuracy", "balanced accuracy", measures.balanced_accuracy, True, "labels")
AUC = Metric("auc", "AUC", measures.auc, True, "scores", kinds=LABELS)
F1_SAMPLES = Metric("f1-samples", "mean F1", measures.f1_samples, True, "sets", kinds=("multilabel",))
KAPPA = Metric("kappa", "quadratic weighted kappa", measures.kappa, True, "grades", kinds=("multiclass",))
RMSE = Metric("rmse", "RMSE", measures.rmse, False, "numbers", kinds=("continuous",))
MAE = Metric("mae", "MAE", measures.mae, False, "numbers", kinds=("continuous",))

METRICS = {
    metric.name: metric
    for metric in (
        ACCURACY,
        LOG_LOSS,
        F1_MACRO,
        BALANCED_ACCURACY,
        Metric("error", "error", measures.error, False, "labels", is_proportion=True),
        Metric(
            "weighted-recall",
            "weighted recall",
            measures.weighted_recall,
            True,
            "labels",
            kinds=("multioutput",),
            weights=_first_counts_double,
        ),
        Metric("balanced-log-loss", "balanced log loss", measures.balanced_log_loss, False, "probabilities"),
        Metric(
            "weighted-log-loss",
            "weighted log loss",
            measures.weighted_log_loss,
            False,
            "probabilities",
            kinds=("multilabel",),
            weights=_any_counts_double,
        ),
        AUC,
        Metric("weighted-auc", "weighted AUC", measures.weighted_auc, True, "scores", kinds=LABELS),
        Metric("partial-auc", "partial AUC", measures.partial_auc, True, "scores", kinds=LABELS),
        Metric("average-precision", "average precision", measures.average_precision, True, "scores", kinds=LABELS),
        Metric("f1-micro", "micro F1", measures.f1_micro, True, "labels"),
        F1_SAMPLES,
        Metric("f2-samples", "mean F2", measures.f2_samples, True, "sets", kinds=("multilabel",)),
        Metric("f1-binary", "F1", measures.f1_macro, True, "sets", kinds=("multiclass",), is_binary=True),
        Metric(
            "f1-probabilistic",
            "probabilistic F1",
            measures.f1_probabilistic,
            True,
            "probabilities",
            kinds=("multiclass",),
            is_binary=True,
        ),
        KAPPA,
        _map_at(5),
        _top(5),
        Metric("gap", "GAP", measures.global_average_precision, True, "confidence", kinds=("multiclass",)),
        RMSE,
        Metric("mcrmse", "mean column RMSE", measures.mean_column_rmse, False, "numbers", kinds=("continuous",)),
        MAE,
    )
}
_OF_ANY_LENGTH = {"map@": _map_at, "top-": _top}


def find_metric(name: str) -> Metric:
    """The metric of that name, e.g. ``log-loss``, ``map@3``; or an own one, ``FILE.py:function``.

    Raises UserError, which suggests the nearest name, if there is none.
    """
    if name in METRICS:
        return METRICS[name]
    if (of_length := re.fullmatch(r"(map@|top-)([1-9]\d{0,2})", name)) is not None:
        return _OF_ANY_LENGTH[of_length[1]](int(of_length[2]))
    if ".py:" in name:
        from competition.own_metric import own_metric

        return own_metric(name)
    alike = [each for each in METRICS if each.startswith(name.lower())]
    hint = f" (did you mean {' or '.join(alike)}?)" if alike and name else did_you_mean(name, METRICS)
    fault = f"no metric is called '{printable(name)}'{hint}"
    if name.endswith(".py"):
        raise UserError(f"{fault}; name the function in it, too: {printable(name)}:FUNCTION")
    raise UserError(f"{fault}; use {', '.join(METRICS)}, or an own one as FILE.py:function")


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """The metrics that are always measured, whichever chooses the models."""
    by_kind: dict[Kind, tuple[Metric, ...]] = {
        "multiclass": (ACCURACY, F1_MACRO, LOG_LOSS),
        "multilabel": (LOG_LOSS, AUC, F1_SAMPLES),
        "multioutput": (ACCURACY, LOG_LOSS),
        "continuous": (RMSE, MAE),
    }
    return tuple(metric.of(task) for metric in by_kind[task.kind])
