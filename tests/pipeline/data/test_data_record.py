"""The record of labelled images: what it notices in another one, and what makes no difference."""

import numpy as np
import pytest

from pipeline.data.data_record import DataRecord

IDS = ("a.png", "b.png", "c.png")
LABELS = np.array([0, 1, 2])
CONTENTS = np.array([5, 6, 7], np.uint64)


def record(ids=IDS, labels=LABELS, contents=CONTENTS) -> DataRecord:
    return DataRecord.of(ids, np.asarray(labels), np.asarray(contents, np.uint64))


def test_the_order_of_the_rows_makes_no_difference():
    assert record().change_in(record(IDS[::-1], LABELS[::-1], CONTENTS[::-1])) is None


def test_it_comes_back_as_it_was_saved(tmp_path):
    record().save(tmp_path / "data.npz")
    loaded = DataRecord.load(tmp_path / "data.npz")
    assert len(loaded) == 3 and loaded.change_in(record()) is None and record().is_within(loaded)


@pytest.mark.parametrize(
    ("other", "change"),
    [
        (record(labels=[0, 1, 1]), "the labels of their images have changed in the tables"),
        (record(contents=[5, 6, 8]), "their images have changed"),
        (record(contents=[5, 6, 0]), None),  # not known
        (record((*IDS, "d.png"), [0, 1, 2, 0], [5, 6, 7, 8]), None),
        (record(IDS[:2], [0, 1], [5, 6]), None),
    ],
)
def test_what_has_changed_in_the_images_of_both_is_said(other, change):
    assert record().change_in(other) == change


def test_images_that_are_missing_are_noticed():
    assert record(IDS[:2], [0, 1], [5, 6]).is_within(record())
    assert not record().is_within(record(IDS[:2], [0, 1], [5, 6]))


def test_of_an_id_that_is_in_both_tables_the_last_row_counts():
    twice = record((*IDS, "a.png"), [0, 1, 2, 1], [5, 6, 7, 9])
    assert len(twice) == 3 and twice.change_in(record(labels=[1, 1, 2], contents=[9, 6, 7])) is None
