"""The labelled images: which of them are for validation."""

import numpy as np
import pytest

from competition.errors import UserError
from competition.sources import open_competition
from competition.spec import Split
from pipeline.data.training_data import labelled_images, open_training_data
from pipeline.settings import train_settings


@pytest.fixture
def opened(tmp_path, make_competition):
    """A function that opens the images of a small competition with options of train.py."""

    def opened(*options: str, with_val: bool = False):
        folder = make_competition(tmp_path / f"insects-{with_val}", train=60, val=20, with_val=with_val)
        settings = train_settings(["--competition", str(folder), "--work", str(tmp_path), *options])
        competition = open_competition(**settings.source)
        return competition, open_training_data(competition, settings)

    return opened


def test_a_validation_table_decides(opened):
    competition, data = opened(with_val=True)
    (train, validation), *more = data.splits
    assert more == []
    assert (data.split.ids[: len(train)], data.split.ids[len(train) :]) == (competition.train.ids, competition.val.ids)
    assert validation.tolist() == list(range(60, 80))


@pytest.mark.parametrize("options", [(), ("--folds", "3")], ids=["hold-out", "folds"])
def test_runs_of_all_seeds_are_measured_on_the_same_images(opened, options):
    (_, first), (_, second) = opened(*options), opened(*options, "--seed", "7")
    for ours, theirs in zip(first.splits, second.splits, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_without_a_validation_table_a_tenth_is_held_out(opened):
    _, data = opened()
    assert len(data.validated) == 6
    np.testing.assert_array_equal(data.labels, data.split.labels)


def test_the_labelled_images_are_train_then_val(opened):
    competition, _ = opened(with_val=True)
    split = labelled_images(competition)
    assert split.ids == competition.train.ids + competition.val.ids
    np.testing.assert_array_equal(split.labels, np.append(competition.train.labels, competition.val.labels))


def test_labels_that_are_withheld_are_an_error():
    with pytest.raises(UserError, match="the images of test have no labels"):
        _ = Split("test", (), ()).known_labels
