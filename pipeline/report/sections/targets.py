"""Several classes an image: how each target is answered, the worst first."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score, recall_score

from competition.wording import printable
from pipeline.report import figures
from pipeline.report.context import BLEND, ReportContext
from pipeline.report.evaluation import MOST_SHOWN, Evaluation
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.section import Section

MOST_DRAWN = 4  # targets with a matrix of their own


@dataclass(frozen=True, eq=False)
class TargetResult:
    """How one target is answered. truth, said: int64 ``[N]``."""

    name: str
    truth: np.ndarray
    said: np.ndarray

    @property
    def accuracy(self) -> float:
        return float((self.truth == self.said).mean())

    @property
    def recall(self) -> float:
        """The mean over the classes that occur."""
        return float(recall_score(self.truth, self.said, labels=np.unique(self.truth), average="macro"))

    @property
    def f1(self) -> float:
        """The mean over the classes that occur or are said."""
        return float(f1_score(self.truth, self.said, average="macro", zero_division=0))


def section(context: ReportContext, figure_folder: FigureFolder) -> Section | None:
    if context.competition.task.kind != "multioutput":
        return None
    results = sorted(target_results(context), key=lambda each: each.accuracy)
    drawn = [_figure(place, each, context, figure_folder) for place, each in enumerate(results[:MOST_DRAWN])]
    return Section("targets", "Target by target", "targets.html.j2", {"results": results, "figures": drawn})


def target_results(context: ReportContext) -> list[TargetResult]:
    """The blend's answers as they are submitted, target by target."""
    task, labels = context.competition.task, context.validation.known_labels
    said = task.by_target(context.decision.decided(context.evaluations[BLEND].probabilities)).argmax(axis=2)
    columns = zip(task.targets, labels.reshape(len(labels), -1).T, said.T, strict=True)
    return [TargetResult(printable(name), truth, answers) for name, truth, answers in columns]


def _figure(place: int, result: TargetResult, context: ReportContext, folder: FigureFolder) -> EmbeddedImage:
    """The confusion matrix of the classes that the target has; of many that of the worst ones."""
    there = np.union1d(result.truth, result.said)
    truth, said = np.searchsorted(there, result.truth), np.searchsorted(there, result.said)
    evaluation = Evaluation(np.eye(len(there))[said], truth)
    shown = np.sort(evaluation.worst_classes(MOST_SHOWN))
    names = [context.drawn_names[label] for label in there[shown]]
    figure = figures.confusion(evaluation.confusion(shown), names, result.name)
    alt = f"Confusion matrix of {result.name}: {result.accuracy:.1%} of the images are right"
    return folder.add(f"target-{place + 1}", figure, alt)
