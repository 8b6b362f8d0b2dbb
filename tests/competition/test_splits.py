"""Stratified parts: how many of each class they hold, and that a seed fixes them."""

from pathlib import Path

import numpy as np
import pytest

from competition.errors import UserError
from competition.form import Form
from competition.spec import Competition, Split
from competition.splits import limit_train, stratified_folds, stratified_holdout, stratified_rows
from competition.task import Task


def competition_of(*counts: int) -> Competition:
    """Class ``i`` has ``counts[i]`` training images."""
    labels = np.repeat(np.arange(len(counts)), counts)
    ids = tuple(f"{number}.png" for number in range(len(labels)))
    empty = Split("val", (), (), np.zeros(0, np.int64))
    return Competition(
        name="zoo",
        image_column="Image",
        label_column="Class",
        task=Task(tuple(range(len(counts)))),
        train=Split("train", ids, tuple(map(Path, ids)), labels),
        val=empty,
        test=Split("test", (), ()),
        form=Form("class", ("Image", "Class"), (), ()),
    )


def counts_of(split: Split, classes: int) -> list[int]:
    return np.bincount(split.labels, minlength=classes).tolist()


def held_out(*counts: int, fraction: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The (train, validation) labels of classes with these counts."""
    labels = np.repeat(np.arange(len(counts)), counts)
    train, validation = stratified_holdout(labels, fraction, seed)
    return labels[train], labels[validation]


def test_a_holdout_takes_its_fraction_of_every_class():
    train, validation = held_out(100, 200, 50)
    assert np.bincount(validation).tolist() == [10, 20, 5]
    assert np.bincount(train).tolist() == [90, 180, 45]


def test_a_holdout_parts_the_rows():
    train, validation = stratified_holdout(np.repeat([0, 1], [20, 30]), 0.1, seed=1)
    assert sorted([*train, *validation]) == list(range(50))


def test_a_class_of_one_image_stays_in_train():
    train, validation = held_out(1, 1, 40, fraction=0.5)
    assert np.bincount(train).tolist()[:2] == [1, 1]
    assert set(validation) == {2}


def test_a_large_fraction_leaves_every_class_an_image():
    train, _ = held_out(2, 3, 4, fraction=1.0)
    assert train.tolist() == [0, 1, 2]


def test_few_images_still_give_one_for_validation():
    assert len(held_out(2, 2)[1]) == 1


def test_nothing_can_be_held_out_where_no_class_has_two_images():
    with pytest.raises(UserError, match=r"no class has two training images.*val\.csv"):
        held_out(1, 1, 1)


def test_a_seed_fixes_the_holdout_and_another_changes_it():
    labels = np.repeat([0, 1], 100)
    first, same, other = (stratified_holdout(labels, 0.1, seed)[1].tolist() for seed in (3, 3, 4))
    assert first == same != other


def test_a_limit_keeps_the_proportions():
    assert counts_of(limit_train(competition_of(100, 200, 300), 60, seed=0).train, 3) == [10, 20, 30]


def test_a_limit_keeps_one_image_of_every_class_and_all_classes():
    limited = limit_train(competition_of(1, 1, 998), 10, seed=0)
    assert counts_of(limited.train, 3) == [1, 1, 8]
    assert limited.classes == (0, 1, 2)


def test_a_limit_below_the_number_of_classes_is_kept_and_so_are_the_classes():
    limited = limit_train(competition_of(5, 5, 5, 5), 3, seed=0)
    assert len(limited.train) == 3
    assert limited.classes == (0, 1, 2, 3)


def test_a_limit_above_the_number_of_images_keeps_them_all():
    whole = competition_of(5, 5)
    assert limit_train(whole, 11, seed=0).train.ids == whole.train.ids


def test_a_seed_fixes_the_limit():
    whole = competition_of(100, 100)
    ids = [limit_train(whole, 20, seed).train.ids for seed in (3, 3, 4)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("images", [0, -5])
def test_a_limit_of_nothing_is_refused(images):
    with pytest.raises(UserError, match=f"--limit {images} leaves no training image"):
        limit_train(competition_of(5, 5), images, seed=0)


def test_folds_hold_every_row_once_and_every_class_evenly():
    labels = np.repeat([0, 1, 2], [10, 11, 30])
    folds = stratified_folds(labels, 5, seed=0)
    assert sorted(np.concatenate([val for _, val in folds])) == list(range(51))
    for train, val in folds:
        assert sorted([*train, *val]) == list(range(51))
        counts = np.bincount(labels[val], minlength=3)
        assert counts[0] == 2 and counts[1] in (2, 3) and counts[2] == 6


def test_a_seed_fixes_the_folds():
    labels = np.repeat([0, 1], 50)
    first, same, other = (stratified_folds(labels, 4, seed)[0][1].tolist() for seed in (0, 0, 1))
    assert first == same != other


@pytest.mark.parametrize("folds", [-1, 0, 1, 5])
def test_a_number_of_folds_that_does_not_suit_is_refused(folds):
    with pytest.raises(UserError, match=f"--folds {folds} is not possible with 4 images; give 2 to 4"):
        stratified_folds(np.array([0, 0, 1, 1]), folds, seed=0)


def test_stratified_rows_share_out_a_total_by_largest_remainder():
    labels = np.repeat([0, 1, 2], [5, 5, 10])
    rows = stratified_rows(labels, 5, seed=0)
    assert len(rows) == 5
    assert sorted(np.bincount(labels[rows], minlength=3).tolist()[:2]) in ([1, 1], [1, 2])


# --- groups

GROUPS = tuple(f"patient {number // 3}" for number in range(60))
GRADES = np.repeat([0, 1, 0, 2], 15)


def groups_of(rows: np.ndarray) -> set[str]:
    return {GROUPS[row] for row in rows}


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_both_sides_of_a_split(seed):
    folds = stratified_folds(GRADES, 4, seed, GROUPS)
    for train, val in (*folds, stratified_holdout(GRADES, 0.1, seed, GROUPS)):
        assert not groups_of(train) & groups_of(val)
        assert sorted([*train, *val]) == list(range(60))
        assert set(GRADES[train]) == {0, 1, 2}
    assert sorted(row for _, val in folds for row in val) == list(range(60))


def test_a_grouped_hold_out_is_about_as_large_as_asked_for():
    _, val = stratified_holdout(GRADES, 0.25, 0, GROUPS)
    assert 9 <= len(val) <= 21


def test_more_folds_than_groups_are_refused_and_a_single_group_cannot_be_split():
    with pytest.raises(UserError, match="--folds 2 is not possible: all images are of one group; leave out"):
        stratified_folds(np.zeros(20, int), 2, 0, ["one"] * 20)
    with pytest.raises(UserError, match="--folds 21 is not possible with 20 groups; give 2 to 20"):
        stratified_folds(GRADES, 21, 0, GROUPS)
    with pytest.raises(UserError, match="all images are of one group"):
        stratified_holdout(GRADES, 0.1, 0, ("a",) * 60)
