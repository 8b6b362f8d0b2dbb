"""The contents of a report: everything that predict.py knows once the submission is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from competition.metrics import Metric
from competition.spec import Competition, Split
from competition.wording import printable
from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import Blend
from pipeline.ensemble.decisions import Decision, plain_decision
from pipeline.findings.finding import Finding
from pipeline.models.base import CPU
from pipeline.report.evaluation import Evaluation
from pipeline.report.run_record import RunRecord
from pipeline.report.sent import Sent
from pipeline.training.runs import TAUGHT, Run, RunFolder, fold_folder
from pipeline.training.scores import Score, score_by
from pipeline.training.sessions import Session

BLEND = "blend"
LEAST_DRAWING, DRAWING_SHARE = 30.0, 0.1
MOST_DETAILED = 8  # models with figures of their own, the best ones: the page is to stay small


@dataclass(frozen=True, eq=False)
class ReportContext:
    """Everything that a report shows.

    runs: the models by name; runs_folder: the folder with one folder for each run.
    validated: each model's predictions, for at least the ids of ``validation``.
    train: the labelled images that are not in ``validation``; empty if folds used all of them for validation.
    submitted: the predictions for the test images; submission: path of the CSV written from them.
    findings: what was found out about the images and labels.
    decision: how the answers in it were made of these predictions.
    device: on which networks are asked what they looked at. weights: searched first for ImageNet weights.
    sessions: the runs of train.py on this competition; sent: what was submitted to it before. Both oldest first.
    """

    competition: Competition
    runs: Mapping[str, Run]
    runs_folder: Path
    validated: Mapping[str, Predictions]
    train: Split
    validation: Split
    blend: Blend
    submitted: Predictions
    submission: Path
    findings: Sequence[Finding] = ()
    decision: Decision = field(default_factory=plain_decision)
    device: torch.device = CPU
    weights: Path | None = None
    sessions: Sequence[Session] = ()
    sent: Sequence[Sent] = ()

    @property
    def drawing_seconds(self) -> float:
        """The seconds that the report may take: a tenth of what the training took, and at least ``LEAST_DRAWING``."""
        trained = sum(session.seconds for session in self.sessions) or sum(run.seconds for run in self.runs.values())
        return max(LEAST_DRAWING, DRAWING_SHARE * trained)

    @property
    def ranked(self) -> list[Run]:
        """The runs, best first."""
        return sorted(self.runs.values(), key=lambda run: -self.scores[run.name].rank)

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The score of every model by the competition's metric, even if it was trained with another one."""
        return {name: self._score(name, run) for name, run in self.runs.items()}

    def _score(self, name: str, run: Run) -> Score:
        predictions = self.validated[name].aligned_to(self.validation.ids)
        known = run.score if len(predictions) == len(self.validated[name]) else None
        return score_by(self.metric, known, predictions.probabilities, self.validation.known_labels)

    @property
    def metric(self) -> Metric:
        return self.competition.metric

    @property
    def taught(self) -> dict[str, list[str]]:
        """The models that were also trained on what earlier ones said: in words on what, and the models' names."""
        return {
            what: names
            for option, what in TAUGHT.items()
            if (names := [run.name for run in self.ranked if option in run.options])
        }

    @property
    def has_classes(self) -> bool:
        """Whether each image has one class, so that there is something to show class by class."""
        return self.competition.task.kind == "multiclass"

    @property
    def has_folds(self) -> bool:
        return any(run.fold_folders != (fold_folder(0, splits=1),) for run in self.runs.values())

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """Evaluations of the blend and of every model: the blend first, then the models from best to worst."""
        members = {name: each.aligned_to(self.validation.ids) for name, each in self.validated.items()}
        predictions = {BLEND: self.blend.apply(members)} | {run.name: members[run.name] for run in self.ranked}
        return {
            name: Evaluation(each.probabilities, self.validation.known_labels) for name, each in predictions.items()
        }

    @cached_property
    def records(self) -> dict[str, RunRecord]:
        return {run.name: RunRecord.read(RunFolder(self.runs_folder / run.name), run) for run in self.ranked}

    @cached_property
    def class_names(self) -> list[str]:
        """Class names for the page. A name that the figures' font cannot draw is preceded by the class's number."""
        from pipeline.report.figures import can_draw

        names = [printable(label, most=60) for label in self.competition.classes]
        return [name if can_draw(name) else f"no. {number}: {name}" for number, name in enumerate(names)]

    @cached_property
    def drawn_names(self) -> list[str]:
        """Class names for the figures. A name that the font cannot draw is replaced by the class's number."""
        from pipeline.report.figures import can_draw

        return [name if can_draw(name) else f"no. {number}" for number, name in enumerate(self.class_names)]
