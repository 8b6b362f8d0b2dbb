"""Labelled pictures from elsewhere: a folder for each class or a CSV, with the labels of the competition's task."""

from pathlib import Path

import pytest

from competition.errors import UserError
from competition.layouts import read_extra
from competition.spec import Competition
from tests.drawing import Contest

CLASSES = ["ant", "bee", "ant", "bee"] * 3
SEVERAL = ["scab", "rust", "scab rust", "healthy"] * 6


@pytest.fixture
def elsewhere(tmp_path) -> Contest:
    return Contest(tmp_path / "elsewhere")


def of_classes(contest: Contest) -> Competition:
    return contest.train(CLASSES).sample("ant").load()


def of_labels(contest: Contest) -> Competition:
    return contest.train(SEVERAL, header=("image", "labels")).sample("scab", header=("image", "labels")).load()


def fault(path: Path, competition: Competition) -> str:
    with pytest.raises(UserError) as error:
        read_extra(path, competition)
    return str(error.value)


def test_a_folder_for_each_class_gives_its_images(contest, elsewhere):
    elsewhere.images("bee/1.png", "bee/far/bee/2.png", "ant/1.png")
    extra = read_extra(elsewhere.folder, of_classes(contest))
    assert extra.ids == ("extra/ant/1.png", "extra/bee/1.png", "extra/bee/far/bee/2.png")
    assert extra.labels.tolist() == [0, 1, 1]
    assert extra.paths[0] == elsewhere.folder / "ant" / "1.png"


def test_a_csv_gives_the_images_beside_it_whatever_its_columns_are_called(contest, elsewhere):
    elsewhere.images("pictures/a.png", "pictures/b.png").table(
        "more.csv", ("site", "file", "kind"), [("x", "a.png", "bee"), ("y", "b.png", "ant")]
    )
    extra = read_extra(elsewhere.folder / "more.csv", of_classes(contest))
    assert (extra.ids, extra.labels.tolist()) == (("extra/a.png", "extra/b.png"), [1, 0])


def test_several_labels_are_read_from_a_cell_from_columns_of_0_and_1_and_from_folders(contest, elsewhere):
    competition = of_labels(contest)
    elsewhere.images("a.png", "b.png", "rust/c.png")
    elsewhere.table("joined.csv", ("image", "labels"), [("a.png", "rust,scab"), ("b.png", "healthy")])
    elsewhere.table("flags.csv", ("image", "scab", "rust", "healthy"), [("a.png", 1, 1, 0), ("b.png", 0, 0, 1)])
    assert competition.classes == ("healthy", "rust", "scab")
    for name in ("joined.csv", "flags.csv"):
        assert read_extra(elsewhere.folder / name, competition).labels.tolist() == [[0, 1, 1], [1, 0, 0]]
    (elsewhere.folder / "a.png").unlink(), (elsewhere.folder / "b.png").unlink()
    assert read_extra(elsewhere.folder, competition).labels.tolist() == [[0, 1, 0]]


def test_numbers_come_from_the_columns_of_the_same_names(contest, elsewhere):
    competition = contest.train([row + 0.5 for row in range(30)]).sample(1.5).load()
    elsewhere.images("a.png").table("more.csv", ("id", "label"), [("a.png", "7.25")])
    assert read_extra(elsewhere.folder / "more.csv", competition).labels.tolist() == [[7.25]]
    elsewhere.table("odd.csv", ("id", "label"), [("a.png", "many")])
    assert "no such number (column 'label') in 1 row (row 2)" in fault(elsewhere.folder / "odd.csv", competition)
    elsewhere.table("none.csv", ("id", "size"), [("a.png", "3")])
    assert "no column 'label'" in fault(elsewhere.folder / "none.csv", competition)


def test_an_unknown_class_is_an_error_with_the_nearest_one(contest, elsewhere):
    competition = of_classes(contest)
    elsewhere.images("bees/1.png", "ant/1.png").table(
        "more.csv", ("id", "label"), [("1.png", "bee"), ("1.png", "beee")]
    )
    told = fault(elsewhere.folder, competition)
    assert "folders that are no class of the competition (bees) (did you mean 'bee'?); its classes are ant, bee" in told
    told = fault(elsewhere.folder / "more.csv", competition)
    assert "no class of the competition (beee) (did you mean 'bee'?) in 1 row (row 3)" in told


def test_images_that_are_missing_or_in_no_folder_are_an_error(contest, elsewhere):
    competition = of_classes(contest)
    assert "no images there" in fault(elsewhere.folder, competition)
    elsewhere.images("ant/1.png", "2.png").table("more.csv", ("id", "label"), [("9.png", "bee")])
    assert "images that are in no class's folder; make a folder of images for each class" in fault(
        elsewhere.folder, competition
    )
    assert "no image in" in fault(elsewhere.folder / "more.csv", competition)
