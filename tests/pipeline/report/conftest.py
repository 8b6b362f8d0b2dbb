"""A report on a small competition whose classes have awkward names, with made-up runs of two models."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition.layouts import load_competition
from competition.metrics import ACCURACY
from competition.spec import Competition
from competition.task import Task
from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import select_blend
from pipeline.findings.duplicates import LEAKS
from pipeline.findings.finding import Finding
from pipeline.models.persistence import Saved
from pipeline.models.recipe import RECIPES, load_recipe
from pipeline.report.context import ReportContext
from pipeline.report.page import write_report
from pipeline.report.sent import Sent
from pipeline.training.planning import ModelPlan
from pipeline.training.runs import Run
from pipeline.training.scores import score
from pipeline.training.sessions import Session

CLASSES = ("<script>alert('x')</script>", "$x^", 'a & "b"', "猫", "long " * 40)
HISTORY = (
    "epoch,size,batches,learning_rate,loss,accuracy,"
    "validation_loss,validation_accuracy,validation_score,images_per_second,seconds\n"
    "1,16,4,0.1,1.5,0.25,1.25,0.5,0.5,100,2.0\n"
    "2,16,4,0.05,1.0,0.5,1.0,0.625,0.625,100,4.0\n"
)
CURVE = [{"metric": "cosine", "neighbours": k, "score": 0.1 * k} for k in (1, 2, 3, 4, 5)]


FAR_AWAY = "/home/somebody/contests/plants/runs/plant-pathology-2021-fgvc8/audit"  # wider than a phone
SESSION = Session(
    command="python pipeline/train.py --competition odd --budget 1m",
    commit="0123abc",
    machine="a processor, 2 cores, Linux",
    seed=7,
    budget=60.0,
    ended_at=datetime(2026, 5, 4, 12, 30, tzinfo=UTC),
    stages={"start": 5.0, "decoding images": 3.0, "neighbours": 12.0, "plan": 0.125, "network": 36.0},
)


def sent(time: str, validation: float, public: float) -> Sent:
    return Sent(
        time=time,
        file="submission.csv",
        recipes="network 1.00",
        message="",
        status="scored" if public == public else "pending",
        metric="accuracy",
        validation=validation,
        low=validation - 0.05,
        high=validation + 0.05,
        public=public,
        private=float("nan"),
    )


def _findings(competition: Competition) -> list[Finding]:
    """A test image that is a training image too, and a training image that is blank."""
    train, test = competition.train.ids, competition.test.ids
    leak = {"split": ["test"], "id": [test[0]], "other_split": ["train"], "other_id": [train[0]]}
    blank = {"split": ["train"], "id": [train[1]]}
    return [
        Finding(LEAKS, f"1 test image is among the labelled ones: {FAR_AWAY}/leaks.csv", pd.DataFrame(leak)),
        Finding("blank", "", pd.DataFrame(blank)),
    ]


def _predictions(ids: tuple[str, ...], labels: np.ndarray, share_right: float, seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    probabilities = generator.random((len(ids), len(CLASSES)))
    right = generator.random(len(ids)) < share_right
    probabilities[right, labels[right]] += 1
    return Predictions(ids, probabilities / probabilities.sum(axis=1, keepdims=True))


def _run(folder: Path, model: str, shipped: str, predictions: Predictions, labels: np.ndarray) -> Run:
    (folder / model).mkdir(parents=True)
    recipe = load_recipe(RECIPES / f"{shipped}.toml")
    changes = {"name": model, "summary": f"What {model} is", "reported": 0.89}
    return Run(
        options={},
        fingerprint="",
        task=Task(CLASSES),
        image_shape=(16, 16),
        fold_folders=(".",),
        model_files=(),
        score=score(predictions.probabilities, labels, ACCURACY),
        seconds=12.0,
        parameters=1_234,
        plan=ModelPlan(recipe.model_copy(update=changes)),
        finished_at=datetime(2026, 5, 4, tzinfo=UTC),
        requested_at=datetime(2026, 5, 4, tzinfo=UTC),
    )


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory, make_competition) -> ReportContext:
    """Forty validation images, a network with a history, a classifier with a curve, and an older figure."""
    place = tmp_path_factory.mktemp("report")
    competition = load_competition(make_competition(place / "odd", classes=CLASSES, train=45, val=40, test=10))
    val, runs_folder = competition.val, place / "runs"
    validated = {
        "network": _predictions(val.ids, val.labels, 0.8, seed=1),
        "neighbours": _predictions(val.ids, val.labels, 0.4, seed=2),
    }
    runs = {
        "neighbours": _run(runs_folder, "neighbours", "dhc-knn-sweep", validated["neighbours"], val.labels),
        "network": _run(runs_folder, "network", "sprint", validated["network"], val.labels),
    }
    (runs_folder / "network" / "history.csv").write_text(HISTORY)
    saved = Saved("NearestNeighbours", {"grid_scores": CURVE}, {"mean": np.zeros(1)})
    saved.write(runs_folder / "neighbours" / "model.safetensors")
    (place / "submission" / "report").mkdir(parents=True)
    (place / "submission" / "report" / "forgotten.png").touch()
    return ReportContext(
        competition=competition,
        runs=runs,
        runs_folder=runs_folder,
        validated=validated,
        train=competition.train,
        validation=val,
        blend=select_blend(validated, val.ids, val.labels, ACCURACY),
        submitted=_predictions(competition.test.ids, np.zeros(10, dtype=np.int64), 0.5, seed=3),
        submission=place / "submission" / "submission.csv",
        findings=_findings(competition),
        sessions=(SESSION,),
        sent=(sent("2026-05-01T08:00:00", 0.70, 0.72), sent("2026-05-02T08:00:00", 0.80, float("nan"))),
    )


@pytest.fixture(scope="session")
def page(context: ReportContext) -> Path:
    return write_report(context)
