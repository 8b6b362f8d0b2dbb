"""Task: what the columns of a model's output mean, and what models learn from the labels of a table."""

import numpy as np

from competition.task import Task, strata

BREEDS = Task(("beagle", "collie", "dingo"))
TAGS = Task(("haze", "road", "water"), kind="multilabel")
SHAPES = Task((0, 1, 2, 3), kind="multioutput", targets=("root", "vowel"))
NUMBERS = Task(("height", "width"), kind="continuous", intervals=((1.0, 2.0, 4.0), (10.0, 20.0, 20.0)))


def test_each_kind_says_how_many_targets_and_choices_it_has():
    sizes = [(task.target_count, task.choices, task.columns) for task in (BREEDS, TAGS, SHAPES, NUMBERS)]
    assert sizes == [(1, 3, 3), (3, 2, 6), (2, 4, 8), (2, 3, 6)]


def test_it_says_in_words_what_is_predicted():
    assert str(BREEDS) == "3 classes"
    assert str(TAGS) == "3 labels, any of which an image may have"
    assert str(SHAPES) == "2 classes each (root, vowel)"
    assert str(NUMBERS) == "2 numbers"


def test_numbers_are_learnt_as_the_nearest_interval_and_read_back_as_the_expected_one():
    labels = np.array([[1.2, 12.0], [3.5, 19.0]])
    chosen = NUMBERS.encode(labels)
    assert chosen[0].tolist() == [0, 0] and chosen[1, 0] == 2
    assert NUMBERS.true_numbers(labels) is labels
    assert NUMBERS.true_numbers(chosen).tolist() == [[1.0, 10.0], [4.0, 20.0]]
    assert NUMBERS.numbers(np.array([[0.5, 0.0, 0.5, 1.0, 0.0, 0.0]])).tolist() == [[2.5, 10.0]]


def test_the_likeliest_labels_and_the_expected_numbers_are_read_from_an_output():
    assert BREEDS.decode(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])).tolist() == [1, 0]
    assert TAGS.decode(np.array([[0.9, 0.1, 0.3, 0.7, 0.4, 0.6]])).tolist() == [[0, 1, 1]]
    assert SHAPES.decode(np.array([[0.1, 0.2, 0.3, 0.4, 0.7, 0.1, 0.1, 0.1]])).tolist() == [[3, 0]]
    assert NUMBERS.decode(np.array([[0.5, 0.0, 0.5, 1.0, 0.0, 0.0]])).tolist() == [[2.5, 10.0]]


def test_labels_have_a_score_each_and_of_two_classes_the_second():
    output = np.array([[0.9, 0.1, 0.3, 0.7, 0.5, 0.5]])
    assert TAGS.scores(output).tolist() == [[0.1, 0.7, 0.5]]
    assert TAGS.truths(np.array([[0, 1, 1]])).tolist() == [[False, True, True]]
    assert Task((0, 1)).scores(np.array([[0.2, 0.8]])).tolist() == [[0.8]]
    assert Task((0, 1)).truths(np.array([1, 0])).tolist() == [[True], [False]]
    assert BREEDS.truths(np.array([2])).tolist() == [[False, False, True]]


def test_the_prior_of_each_target_sums_to_one():
    assert TAGS.prior(np.array([[0, 1, 1], [0, 0, 1]])).tolist() == [1, 0, 0.5, 0.5, 0, 1]
    assert BREEDS.prior(np.array([0, 0, 1, 2])).tolist() == [0.5, 0.25, 0.25]


def test_images_are_split_by_their_rarest_label():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 0, 0]])
    first, second, third, fourth = strata(labels)
    assert second == fourth and len({first, second, third}) == 3
    assert strata(np.array([2, 0, 1])).tolist() == [2, 0, 1]
