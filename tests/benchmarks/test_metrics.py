"""The table of metrics: each metric is tried in one form, beside a constant answer."""

import numpy as np

from benchmarks.metrics import FORMS, constant_of
from competition.metrics import METRICS
from competition.rehearsal import draw_rehearsal
from competition.sources import open_competition


def test_every_metric_is_tried_in_one_form():
    assert sorted(METRICS) == sorted(name for names in FORMS.values() for name in names)


def test_the_constant_is_the_mean_of_the_numbers_and_the_frequencies_of_the_labels(tmp_path):
    for form in ("numbers", "several-labels"):
        draw_rehearsal(tmp_path / form, tmp_path / "answers" / f"{form}.csv", 120, form=form)
    numbers, labels = (open_competition(str(tmp_path / form), None, tmp_path) for form in ("numbers", "several-labels"))
    means = numbers.task.numbers(constant_of(numbers).probabilities)
    np.testing.assert_allclose(means, numbers.train.known_labels.mean(), rtol=1e-3)
    shares = labels.task.scores(constant_of(labels).probabilities)
    np.testing.assert_allclose(shares[0], labels.train.known_labels.mean(axis=0), rtol=1e-3)
