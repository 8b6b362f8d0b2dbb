"""All figures of the sections for each kind of task are drawn."""

import pytest
from PIL import Image

from pipeline.report.sections import (
    calibration,
    decision,
    grades,
    labels,
    members,
    mistakes,
    numbers,
    rankings,
    targets,
)
from tests.pipeline.report.contexts import made_context

CASES = [
    ("multiclass", "f1-macro", {"confused-pairs", "surest-mistakes", "least-sure", "decision", "calibration", "cost"}),
    ("multiclass", "kappa", {"grades", "decision"}),
    ("multiclass", "map@5", {"hits", "agreement"}),
    ("multilabel", "f1-samples", {"labels", "decision", "calibration"}),
    ("multioutput", "accuracy", {"target-1", "target-2"}),
    ("continuous", "rmse", {"number-1", "numbers-coverage", "agreement"}),
]


@pytest.mark.parametrize(("kind", "metric", "names"), CASES)
def test_the_figures_of_a_kind_of_task_are_drawn(shown, tmp_path, kind, metric, names):
    context = made_context(tmp_path, kind, metric=metric, images=30)
    for module in (mistakes, labels, targets, numbers, grades, rankings, decision, calibration, members):
        shown(module.section, context, is_drawn=True)
    files = {path.stem: path for path in (tmp_path / "figures").glob("*.png")}
    assert names <= files.keys()
    for path in files.values():
        with Image.open(path) as image:
            assert image.width == pytest.approx(1050, abs=1) and len(set(image.convert("L").tobytes())) > 2
