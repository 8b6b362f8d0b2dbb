"""Several labels an image: how each label is answered, the worst first."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import multilabel_confusion_matrix, roc_auc_score

from pipeline.report import plots
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

MOST_DRAWN = 12  # labels with a matrix of their own


@dataclass(frozen=True, eq=False)
class LabelResult:
    """How one label is answered. counts: int64 ``[2, 2]``, rows: whether images have it, columns: whether it is said.

    Values are in 0-1, and nan where undefined.
    """

    name: str
    counts: np.ndarray
    auc: float

    @property
    def images(self) -> int:
        return int(self.counts[1].sum())

    @property
    def precision(self) -> float:
        return _share(self.counts[1, 1], self.counts[:, 1].sum())

    @property
    def recall(self) -> float:
        return _share(self.counts[1, 1], self.counts[1].sum())

    @property
    def f1(self) -> float:
        hits, misses = self.counts[1, 1], self.counts[0, 1] + self.counts[1, 0]
        return _share(2 * hits, 2 * hits + misses)


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if context.competition.task.kind != "multilabel":
        return None
    results = sorted(label_results(context), key=lambda each: (np.nan_to_num(each.f1, nan=2.0), -each.images))
    figure = _figure(results[:MOST_DRAWN], len(results), figure_folder)
    return Section("labels", "Label by label", "labels.html.j2", {"results": results, "figure": figure})


def label_results(context: ReportContext) -> list[LabelResult]:
    """The blend's answers as they are submitted, label by label."""
    task, output = context.competition.task, context.evaluations[BLEND].probabilities
    truths = task.truths(context.validation.known_labels)
    said, scores = task.scores(context.decision.decided(output)) > 0.5, task.scores(output)
    counts = multilabel_confusion_matrix(truths.astype(int), said.astype(int))
    return [
        LabelResult(name, counts[label], _auc(truths[:, label], scores[:, label]))
        for label, name in enumerate(context.drawn_names)
    ]


def _auc(truths: np.ndarray, scores: np.ndarray) -> float:
    return float(roc_auc_score(truths, scores)) if 0 < truths.sum() < len(truths) else np.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def _figure(results: list[LabelResult], labels: int, figure_folder: FigureFolder) -> EmbeddedImage:
    which = "each label" if len(results) == labels else f"the {len(results)} labels with the lowest F1"
    said = "; ".join(
        f"{each.name}: {each.counts[1, 1]} found, {each.counts[1, 0]} missed, {each.counts[0, 1]} said wrongly"
        for each in results
    )
    counts = np.stack([each.counts for each in results])
    figure = plots.two_by_two(counts, [each.name for each in results], f"Truth and answer of {which}")
    return figure_folder.add("labels", figure, f"A matrix of truth and answer for {which}; {said}")
