"""Every metric on the rehearsal, in a form that fits it: the whole way from train.py to a score on the test images.

    python benchmarks/metrics.py [--images N] [--models RECIPE ...]

Prints a table in Markdown: for each metric the score of a constant answer, the class frequencies of the training images
as scikit-learn's DummyClassifier(strategy="prior") predicts them (of numbers the mean), and the score of what
predict.py writes. Both are written in the form of the contest and scored on its test images.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.dummy import DummyClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from competition.metrics import find_metric
from competition.rehearsal import draw_rehearsal
from competition.scoring import score_submission
from competition.sources import open_competition
from competition.spec import Competition
from competition.storage import ROOT
from competition.submission import write_submission
from pipeline.data.predictions import Predictions
from pipeline.ensemble.decisions import plain_decision

FORMS = {  # the forms in which the metrics are tried
    "probabilities": (
        *("log-loss", "balanced-log-loss", "auc", "weighted-auc", "partial-auc", "average-precision"),
        *("f1-binary", "f1-probabilistic"),
    ),
    "folders": ("accuracy", "error", "balanced-accuracy", "f1-macro", "f1-micro"),
    "grades": ("kappa",),
    "targets": ("weighted-recall",),
    "several-labels": ("weighted-log-loss",),
    "lists": ("f1-samples", "f2-samples"),
    "rankings": ("map@5", "top-5"),
    "confidences": ("gap",),
    "numbers": ("rmse", "mcrmse", "mae"),
}


def main() -> None:
    options = parse_options()
    print("| `--metric` | rehearsal drawn as `--form` | constant | ours |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for form, metrics in FORMS.items():
            folder, answers = Path(place, form), Path(place, "answers", f"{form}.csv")
            draw_rehearsal(folder, answers, options.images, form=form)
            for metric in metrics:
                scores = measured(folder, answers, metric, options.models, Path(place, "work", metric))
                print(f"| `{metric}` | `{form}` | {scores[0]:z.3f} | {scores[1]:z.3f} |", flush=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1200, metavar="N", help="images in all splits together")
    parser.add_argument("--models", nargs="+", default=["dhc-gaussian-nb", "dhc-knn-sweep"], metavar="RECIPE")
    return parser.parse_args()


def measured(folder: Path, answers: Path, metric: str, models: list[str], work: Path) -> list[float]:
    """The scores, on all test images, of a constant and of what the pipeline answers."""
    source = ["--competition", str(folder), "--work", str(work), "--metric", metric]
    run("train", *source, "--models", *models)
    run("predict", *source, "--no-report")
    constant = work / "constant.csv"
    competition = open_competition(str(folder), None, work, metric=metric)
    write_submission(competition, plain_decision().cells(competition, constant_of(competition)), constant)
    submissions = constant, work / "submissions" / folder.name / "submission.csv"
    return [score_submission(each, answers, metric=find_metric(metric)).overall for each in submissions]


def run(command: str, *arguments: str) -> None:
    script = ROOT / "pipeline" / f"{command}.py"
    subprocess.run([sys.executable, str(script), *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)


def constant_of(competition: Competition) -> Predictions:
    """The frequencies of each target's classes among the training images, for every test image."""
    task = competition.task
    labels = task.encode(competition.train.known_labels).reshape(len(competition.train), -1)
    nothing = np.zeros((len(labels), 1))
    row = np.zeros((labels.shape[1], task.choices))
    for target, truth in enumerate(labels.T):
        dummy = DummyClassifier(strategy="prior").fit(nothing, truth)
        row[target, dummy.classes_] = dummy.predict_proba(nothing[:1])
    return Predictions(competition.test.ids, np.repeat(row.reshape(1, -1), len(competition.test), axis=0))


if __name__ == "__main__":
    main()
