"""The labelled images: which of them are for validation."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition.errors import UserError
from competition.layouts import read_extra
from competition.sources import open_competition
from competition.spec import Competition, Split
from pipeline.command_lines import train_settings
from pipeline.data.training_data import labelled_images, open_training_data


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


def extra_of(competition: Competition, folder: Path) -> Split:
    """Two new pictures, one of the test images and one of the training images, each in a class's folder."""
    (folder / "bee").mkdir(parents=True)
    for number, path in enumerate([competition.test.paths[3], competition.train.paths[5]]):
        shutil.copyfile(path, folder / "bee" / f"copy-{number}.png")
    for number in range(2):
        cv2.imwrite(str(folder / "bee" / f"new-{number}.png"), np.full((16, 16, 3), 90 + number, np.uint8))
    return read_extra(folder, competition)


@pytest.mark.parametrize("options", [(), ("--folds", "3")], ids=["hold-out", "folds"])
def test_pictures_from_elsewhere_are_trained_on_in_every_split_and_never_validate(opened, options, tmp_path, capsys):
    competition, before = opened(*options)
    settings = train_settings(["--work", str(tmp_path), *options])
    with_extra = replace(competition, extra=extra_of(competition, tmp_path / "elsewhere"))
    data = open_training_data(with_extra, settings)
    told = "2 pictures from elsewhere to train on; left out as the competition's own: 1 test image and 1 labelled image"
    assert told in capsys.readouterr().out
    assert data.elsewhere == 2 and data.split.ids[-2:] == ("extra/bee/new-0.png", "extra/bee/new-1.png")
    for (train, validation), (train_before, validation_before) in zip(data.splits, before.splits, strict=True):
        np.testing.assert_array_equal(train, [*train_before, 60, 61])
        np.testing.assert_array_equal(validation, validation_before)
    assert data.labels[-2:].tolist() == [1, 1]
    assert len(data.record) == 60 and data.record.is_within(before.record) and data.fingerprint != before.fingerprint


def test_pictures_that_are_all_the_competitions_own_are_an_error(opened, tmp_path):
    competition, _ = opened()
    extra = extra_of(competition, tmp_path / "elsewhere").take(np.array([0, 1]))
    with pytest.raises(UserError, match=r"--extra: all of its pictures are the competition's own \(1 test image and 1"):
        open_training_data(replace(competition, extra=extra), train_settings(["--work", str(tmp_path)]))


def trained_on(data, split: int = 0) -> dict[str, int]:
    """The label that is learnt of each image."""
    return {data.split.ids[row]: data.labels[row] for row in data.splits[split][0]}


@pytest.mark.parametrize("folds", [1, 3], ids=["hold-out", "folds"])
def test_corrected_labels_are_trained_on_and_validation_keeps_those_of_the_tables(opened, tmp_path, folds):
    options = ("--folds", str(folds)) if folds > 1 else ()
    competition, before = opened(*options)
    (train, validation), ids = before.splits[0], before.split.ids
    wrong, gone, held = ids[train[0]], ids[train[1]], ids[validation[0]]
    labels = {name: (before.labels[row] + 1) % 3 for row, name in enumerate(ids)}
    corrections = {wrong: labels[wrong], gone: None, held: labels[held]}
    data = open_training_data(
        replace(competition, corrections=corrections), train_settings(["--work", str(tmp_path), *options])
    )
    learnt = trained_on(before) | {wrong: labels[wrong]}
    del learnt[gone]
    assert trained_on(data) == learnt
    np.testing.assert_array_equal(data.splits[0][1], validation)
    np.testing.assert_array_equal(data.labels[data.validated], before.labels[before.validated])
    np.testing.assert_array_equal(data.images[data.splits[0][0][0]], before.images[train[0]])
    assert len(data.record) == 60 and data.record.change_in(before.record) is None
    assert data.fingerprint != before.fingerprint
    if folds > 1:
        assert all(trained_on(data, split)[held] == labels[held] for split in (1, 2))


def test_a_set_that_is_split_into_folds_afterwards_keeps_its_corrections_and_its_extra_pictures(opened, tmp_path):
    competition, before = opened()
    corrections = {before.split.ids[7]: (before.labels[7] + 1) % 3, before.split.ids[9]: None}
    extra = extra_of(competition, tmp_path / "elsewhere")
    given = replace(competition, extra=extra, corrections=corrections)
    data = open_training_data(given, train_settings(["--work", str(tmp_path)]))
    for train, validation in (*data.in_folds(3).splits, (data.trainable, [])):
        others = {row for row in range(60) if row not in validation and row not in (7, 9)}
        assert set(train) == others | {61, 62} | ({60} if 7 not in validation else set())


def test_leaving_out_all_images_is_an_error(opened, tmp_path):
    competition, _ = opened()
    nothing = replace(competition, corrections=dict.fromkeys(competition.train.ids))
    with pytest.raises(UserError, match="no image is left to train on; correct some labels of --relabel"):
        open_training_data(nothing, train_settings(["--work", str(tmp_path)]))


def copied(competition: Competition, copies: dict[int, int]) -> None:
    """Put some training images in the place of others."""
    for source, place in copies.items():
        shutil.copyfile(competition.train.paths[source], competition.train.paths[place])


def unequal(labels: np.ndarray) -> int:
    """The row of the first image with another label than that of row 0."""
    return int(np.flatnonzero(labels != labels[0])[0])


def test_images_of_which_an_identical_one_bears_another_label_only_validate(opened, tmp_path, capsys):
    competition, before = opened()
    other, same = unequal(before.labels), int(np.flatnonzero(before.labels == before.labels[5])[-1])
    copied(competition, {0: other, 5: same})
    for options in ((), ("--folds", "3")):
        plain, data = (
            open_training_data(competition, train_settings(["--work", str(tmp_path), *options, *more]))
            for more in ((), ("--drop-conflicts",))
        )
        for (every, validation), (train, validated) in zip(plain.splits, data.splits, strict=True):
            assert set(every) - set(train) == {0, other} - set(validation)
            np.testing.assert_array_equal(validation, validated)
        assert data.fingerprint != plain.fingerprint
    assert "2 images not trained on: an identical one bears another label" in capsys.readouterr().out


def test_labels_that_are_corrected_to_be_equal_do_not_conflict(opened, tmp_path, capsys):
    competition, before = opened()
    other = unequal(before.labels)
    copied(competition, {0: other})
    settings = train_settings(["--work", str(tmp_path), "--folds", "3", "--drop-conflicts"])
    for correction in (before.labels[0], None):
        corrections = {before.split.ids[other]: correction}
        data = open_training_data(replace(competition, corrections=corrections), settings)
        assert 0 in data.trainable
        assert "--drop-conflicts has no effect" in capsys.readouterr().out


def test_labels_that_are_withheld_are_an_error():
    with pytest.raises(UserError, match="the images of test have no labels"):
        _ = Split("test", (), ()).known_labels


def test_a_set_that_is_split_into_folds_afterwards_keeps_its_own_rows_for_validation(opened, tmp_path):
    competition, _ = opened()
    settings = train_settings(["--work", str(tmp_path), "--pseudo-labels"])
    with_extra = replace(competition, extra=extra_of(competition, tmp_path / "elsewhere"))
    data = open_training_data(with_extra, settings)
    assert (data.own, data.elsewhere, data.others) == (60, 2, 12)
    folded = data.in_folds(3)
    assert sorted(folded.validated) == list(range(60))
    assert all(train[-2:].tolist() == [60, 61] and train.max() == 61 for train, _ in folded.splits)
