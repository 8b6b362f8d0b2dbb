"""Tables that lie between images and what is asked: the photos of each shop, or the rows of a submission."""

import numpy as np
import pytest


@pytest.fixture
def shops(contest):
    """Three shops with labels, two shops to predict, and their photos; photo 7 is of both."""
    contest.images(*(f"train_photos/{photo}.png" for photo in (1, 2, 3, 4)), "test_photos/7.png", "test_photos/8.png")
    contest.table("train.csv", ["shop", "labels"], [["s1", "0 2"], ["s2", "1"], ["s3", ""]])
    contest.table("train_photo_to_shop.csv", ["photo", "shop"], [[1, "s2"], [2, "s1"], [3, "s1"], [4, "s3"]])
    contest.table("test_photo_to_shop.csv", ["photo", "shop"], [[7, "t1"], [8, "t2"], [7, "t2"]])
    return contest.table("sample_submission.csv", ["shop", "labels"], [["t2", "1 2"], ["t1", "1 2"]])


def test_photos_have_the_labels_of_their_shop_and_stay_together(shops):
    loaded = shops.load()
    assert [path.stem for path in loaded.train.paths] == ["1", "2", "3", "4"]
    assert loaded.train.labels.tolist() == [[0, 1, 0], [1, 0, 1], [1, 0, 1], [0, 0, 0]]
    assert loaded.train.groups == ("s2", "s1", "s1", "s3")
    assert "train.csv has the labels of 3 shops, train_photo_to_shop.csv their images" in loaded.found


def test_a_photo_may_be_of_several_shops_that_are_asked_about(shops):
    loaded = shops.load()
    assert (loaded.form.kind, loaded.form.ids) == ("labels", ("t2", "t1"))
    assert sorted(zip(loaded.test.cases, (path.stem for path in loaded.test.paths), strict=True)) == [
        ("t1", "7"),
        ("t2", "7"),
        ("t2", "8"),
    ]
    assert len(set(loaded.test.ids)) == 3


def test_a_lookup_table_says_which_number_of_which_image_a_row_asks_for(contest):
    cells = [" ".join(map(str, row)) for row in np.random.default_rng(0).integers(0, 256, (6, 64))]
    contest.table(
        "training.csv", ["eye_x", "eye_y", "Image"], [[1.5, 2.5, cells[0]], [3.5, "", cells[1]], [4, 5, cells[2]]]
    )
    contest.table("test.csv", ["ImageId", "Image"], [[1, cells[3]], [2, cells[4]]])
    contest.table(
        "IdLookupTable.csv", ["RowId", "ImageId", "Feature"], [[1, 1, "eye_y"], [2, 2, "eye_x"], [3, 2, "eye_y"]]
    )
    loaded = contest.table("SampleSubmission.csv", ["RowId", "Location"], [[3, 0], [1, 0], [2, 0]]).load()
    assert (loaded.form.kind, loaded.metric.name, loaded.form.ids) == ("number", "rmse", ("3", "1", "2"))
    assert (loaded.form.cases, loaded.form.row_targets.tolist()) == (("2", "1", "2"), [1, 1, 0])
    assert loaded.train.labels.tolist() == [[1.5, 2.5], [4, 5]]
    assert "training.csv: 1 row passed over, some of the 2 numbers are missing" in loaded.found
