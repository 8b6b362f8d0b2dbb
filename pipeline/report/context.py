"""What a report tells of: all that predict.py knows once the submission is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from competition.metrics import Metric
from competition.spec import Competition, Split
from competition.wording import printable
from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import Blend
from pipeline.report.evaluation import Evaluation
from pipeline.report.run_record import RunRecord
from pipeline.training.runs import Run, RunFolder
from pipeline.training.scores import Score, score_by

BLEND = "blend"


@dataclass(frozen=True, eq=False)
class ReportContext:
    """All that a report tells of.

    runs: the models by name; runs_folder: where their folders lie.
    validated: each model's predictions, for the ids of ``validation`` at least.
    train: the labelled images that are not in ``validation``; empty where folds validated all of them.
    submitted: the predictions for the test images; submission: the CSV that was made of them.
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

    @property
    def ranked(self) -> list[Run]:
        """The best first."""
        return sorted(self.runs.values(), key=lambda run: -self.scores[run.name].rank)

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Of every model by the competition's metric, whatever it was trained by."""
        return {name: self._score(name, run) for name, run in self.runs.items()}

    def _score(self, name: str, run: Run) -> Score:
        predictions = self.validated[name].aligned_to(self.validation.ids)
        return score_by(self.metric, run.score, predictions.probabilities, self.validation.known_labels)

    @property
    def metric(self) -> Metric:
        return self.competition.metric

    @property
    def has_folds(self) -> bool:
        return any(len(run.fold_folders) > 1 for run in self.runs.values())

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """Of the blend, then of every model, the best first."""
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
        """For the page; those that the figures' font cannot draw come with the number that stands for them."""
        from pipeline.report.figures import can_draw

        names = [printable(label, most=60) for label in self.competition.classes]
        return [name if can_draw(name) else f"no. {number}: {name}" for number, name in enumerate(names)]

    @cached_property
    def drawn_names(self) -> list[str]:
        """For the figures."""
        from pipeline.report.figures import can_draw

        return [name if can_draw(name) else f"no. {number}" for number, name in enumerate(self.class_names)]
