"""Classes are counted, and those with too few images are told."""

from dataclasses import replace

import numpy as np

from competition.spec import Split
from competition.task import Task
from pipeline.findings.classes import class_counts
from tests.contest import contest


def labelled(name: str, labels: np.ndarray) -> Split:
    return Split(name, tuple(map(str, range(len(labels)))), (), labels)


def test_each_class_is_counted_in_train_and_val_and_small_ones_are_told():
    competition = replace(
        contest(("ant", "bee", "cat")),
        train=labelled("train", np.array([0] * 9 + [1] * 3)),
        val=labelled("val", np.array([0, 1, 2])),
    )
    (counts,) = class_counts(competition)
    assert counts.table.to_numpy().tolist() == [["ant", 9, 1], ["bee", 3, 1], ["cat", 0, 1]]
    assert counts.told.startswith("2 classes with fewer than 5 labelled images (cat: 1, bee: 4): ")


def test_enough_of_each_class_is_nothing_to_tell():
    (counts,) = class_counts(replace(contest(("ant", "bee")), train=labelled("train", np.arange(20) % 2)))
    assert counts.told == ""


def test_of_several_labels_each_is_counted():
    task = Task(("a", "b", "c"), "multilabel")
    train = np.array([[1, 0, 1]] * 6 + [[0, 0, 1]] * 2)
    competition = replace(contest(), task=task, train=labelled("train", train), val=labelled("val", train[:0]))
    (counts,) = class_counts(competition)
    assert counts.table["train"].tolist() == [6, 0, 8]
    assert counts.told.startswith("1 label with fewer than 5 labelled images (b: 0)")


def test_of_several_targets_only_the_classes_that_a_target_has_are_told():
    task = Task((0, 1, 2), "multioutput", ("root", "vowel"))
    train = np.array([[0, 2]] * 8 + [[1, 2]])
    competition = replace(contest(), task=task, train=labelled("train", train), val=labelled("val", train[:0]))
    (counts,) = class_counts(competition)
    assert dict(zip(counts.table["class"], counts.table["train"], strict=True))["vowel: 2"] == 9
    assert counts.told.startswith("1 class with fewer than 5 labelled images (root: 1: 1)")


def test_numbers_have_no_classes():
    task = Task(("age",), "continuous", intervals=((1.0, 2.0),))
    assert class_counts(replace(contest(), task=task, train=labelled("train", np.zeros((3, 1))))) == []
