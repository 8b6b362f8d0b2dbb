"""Contexts of reports on drawn images with made-up predictions, for every kind of task."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from competition.form import Form
from competition.metrics import Metric, find_metric
from competition.spec import Competition, Split
from competition.task import Kind, Task
from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import select_blend
from pipeline.ensemble.decisions import fit_decision
from pipeline.models.recipe import RECIPES, load_recipe
from pipeline.report.context import ReportContext
from pipeline.training.planning import ModelPlan
from pipeline.training.runs import Run
from pipeline.training.scores import score

NOW = datetime(2026, 5, 4, tzinfo=UTC)
FORMS = {"multiclass": "class", "multilabel": "labels", "multioutput": "columns", "continuous": "number"}


def task_of(kind: Kind, classes: int) -> Task:
    names = tuple(range(classes)) if kind == "multiclass" else tuple(f"name {number}" for number in range(classes))
    if kind == "multioutput":
        return Task(tuple(range(classes)), kind, targets=("root", "vowel"))
    intervals = (tuple(np.linspace(0, 10, 21).tolist()),) * classes if kind == "continuous" else ()
    return Task(names, kind, intervals=intervals)


def drawn_labels(task: Task, images: int, generator: np.random.Generator) -> np.ndarray:
    """As ``Split.labels`` has them."""
    if task.kind == "multiclass":
        return generator.integers(len(task.classes), size=images)
    if task.kind == "multilabel":
        return (generator.random((images, len(task.classes))) < 0.4).astype(np.int64)
    if task.kind == "multioutput":
        return generator.integers(len(task.classes), size=(images, 2))
    return 10 * generator.random((images, len(task.classes)))


def output_for(task: Task, labels: np.ndarray, noise: float, generator: np.random.Generator) -> np.ndarray:
    """A model's output that is right more often the less noise there is."""
    choices = task.encode(labels).reshape(len(labels), -1)
    scores = 3 * np.eye(task.choices)[choices] + noise * generator.normal(size=(*choices.shape, task.choices))
    if task.kind == "continuous":
        places = np.arange(task.choices)
        centres = choices + noise * generator.normal(size=choices.shape)
        scores = -(((places - centres[:, :, None]) / 2) ** 2)
    odds = np.exp(scores)
    return (odds / odds.sum(axis=2, keepdims=True)).reshape(len(labels), -1).astype(np.float32)


def drawn_split(name: str, folder: Path, labels: np.ndarray, generator: np.random.Generator) -> Split:
    """Images of a few colours with noise; the same few files stand for all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(8):
        colour = np.full((16, 16, 3), 30 * number, np.uint8)
        files.append(folder / f"{number}.png")
        files[-1].write_bytes(
            cv2.imencode(".png", colour + generator.integers(20, size=(16, 16, 3), dtype=np.uint8))[1]
        )
    ids = tuple(f"{name}-{number:05d}.png" for number in range(len(labels)))
    return Split(name, ids, tuple(files[number % 8] for number in range(len(labels))), labels)


def made_run(name: str, shipped: str, task: Task, output: np.ndarray, labels: np.ndarray, metric: Metric) -> Run:
    recipe = load_recipe(RECIPES / f"{shipped}.toml").model_copy(update={"name": name})
    return Run(
        options={},
        fingerprint="",
        task=task,
        image_shape=(16, 16),
        fold_folders=(".",),
        model_files=(),
        score=score(output, labels, metric),
        seconds=12.0,
        parameters=1_234,
        plan=ModelPlan(recipe),
        finished_at=NOW,
        requested_at=NOW,
    )


def made_context(
    folder: Path, kind: Kind, classes: int = 4, metric: str = "accuracy", images: int = 60, noise: float = 2.0
) -> ReportContext:
    """Two classical models that have seen ``images`` validation images."""
    generator, task = np.random.default_rng(0), task_of(kind, classes)
    splits = {name: drawn_labels(task, images, generator) for name in ("train", "val", "test")}
    train, val, test = (drawn_split(name, folder / name, labels, generator) for name, labels in splits.items())
    measured = find_metric(metric).of(task)
    form = Form(FORMS[kind], ("id", "answer"), test.ids, test.ids)
    competition = Competition("drawn", "id", "answer", task, train, val, replace(test, labels=None), form, measured)
    outputs = {
        name: output_for(task, splits["val"], noise * more, generator) for name, more in (("one", 1), ("two", 1.2))
    }
    validated = {name: Predictions(val.ids, output, val.labels) for name, output in outputs.items()}
    runs = {
        name: made_run(name, "dhc-gaussian-nb", task, output, splits["val"], measured)
        for name, output in outputs.items()
    }
    blend = select_blend(validated, val.ids, val.known_labels, measured)
    blended = blend.apply(validated).probabilities
    return ReportContext(
        competition=competition,
        runs=runs,
        runs_folder=folder / "runs",
        validated=validated,
        train=train,
        validation=val,
        blend=blend,
        submitted=Predictions(test.ids, output_for(task, splits["test"], noise, generator)),
        submission=folder / "submission" / "submission.csv",
        decision=fit_decision(blended, val.known_labels, measured, form),
    )
