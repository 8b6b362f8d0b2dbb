"""The benchmark of prediction: both plain passes answer what ours answers, and their line says how fast."""

import re

import pytest
import torch

from benchmarks.prediction import Case, compare

LINE = re.compile(
    r"sprint +32 pixels, 2 views; ours [\d,]+ images/s; "
    r"plain in float32 [\d,]+ images/s, ratio \d+\.\d\d, probabilities within (\d\.\d{4}); "
    r"plain, tuned [\d,]+ images/s, ratio \d+\.\d\d, probabilities within (\d\.\d{4})\n"
)


@pytest.mark.parametrize("images", [1, 40])
def test_a_case_is_one_line_whose_sides_give_the_same_answers(images, capsys):
    compare(Case("sprint", 8, 32, "mirror", images), rounds=2, device=torch.device("cpu"))
    line = LINE.fullmatch(capsys.readouterr().out)
    assert max(map(float, line.groups())) < 0.02  # another view changes them by more
