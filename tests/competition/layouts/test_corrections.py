"""Corrected labels: what was written to be corrected is read back; mistakes are one line."""

import numpy as np
import pytest

from competition.errors import UserError
from competition.layouts import label_cells, read_corrections
from competition.spec import Competition
from competition.tables import write_table

CLASSES = ["ant", "bee", "ant", "bee"] * 3


def of_classes(contest) -> Competition:
    return contest.train(CLASSES).sample("ant").load()


def corrected(contest, competition, header, *rows):
    contest.table("../corrected.csv", header, rows)
    return read_corrections(contest.folder.parent / "corrected.csv", competition)


def fault(contest, competition, header, *rows) -> str:
    with pytest.raises(UserError) as error:
        corrected(contest, competition, header, *rows)
    return str(error.value)


def test_a_label_replaces_that_of_the_table_and_an_empty_one_leaves_the_image_out(contest):
    rows = [("0.png", "bee", "x"), ("1.png", "bee", "y"), ("2.png", " ", "z")]
    found = corrected(contest, of_classes(contest), ("id", "label", "why"), *rows)
    assert found == {"0.png": 1, "2.png": None}  # 1.png is a bee in the table, too


def test_the_columns_may_be_called_as_in_the_training_table(contest):
    header = ("Image", "Class")
    competition = contest.train(CLASSES, header=header).sample("ant", header=header).load()
    assert corrected(contest, competition, header, ("0.png", "bee")) == {"0.png": 1}


def several_labels(contest):
    labels = ["scab", "rust", "scab rust", "healthy"] * 6
    return contest.train(labels, header=("image", "labels")).sample("scab", header=("image", "labels")).load()


def numbers(contest):
    return (
        contest.train([(row + 0.5, 2 * row) for row in range(30)], header=("id", "x", "y"))
        .sample(1.5, 2, header=("id", "x", "y"))
        .load()
    )


def classes_each(contest):
    rows = [(("dog", "cat")[row % 2], ("red", "blue")[row // 2 % 2]) for row in range(12)]
    header = ("id", "animal", "colour")
    return contest.train(rows, header=header).sample("dog", "red", header=header).load()


@pytest.mark.parametrize("load", [of_classes, several_labels, numbers, classes_each])
def test_labels_of_every_kind_are_read_back_as_they_were_written(contest, load, tmp_path):
    competition = load(contest)
    labels = competition.train.known_labels[::-1].copy()
    if competition.task.kind == "multilabel":
        labels[0] = 0  # none of the labels, which is not an image to be left out
    path = tmp_path / "corrected.csv"
    write_table(path, {"id": competition.train.ids} | label_cells(competition.task, labels))
    found = read_corrections(path, competition)
    rows = [row for row, name in enumerate(competition.train.ids) if name in found]
    assert len(rows) >= 6
    np.testing.assert_array_equal([found[competition.train.ids[row]] for row in rows], labels[rows])


def test_mistakes_are_one_line_that_names_the_rows(contest):
    competition, header = of_classes(contest), ("id", "label")
    told = fault(contest, competition, header, ("0.png", "bee"), ("99.png", "bee"))
    assert "no labelled image of the competition (99.png) (did you mean '9.png'?) in 1 row (row 3); correct" in told
    told = fault(contest, competition, header, ("0.png", "beee"), ("1.png", ""))
    assert "no class of the competition (beee) (did you mean 'bee'?) in 1 row (row 2)" in told
    told = fault(contest, competition, header, ("0.png", "bee"), ("0.png", "ant"))
    assert "an id more than once (0.png) in 2 rows (row 2, 3); keep one row for each image" in told
    told = fault(contest, competition, ("id", "lable"), ("0.png", "bee"))
    assert "no column 'label' (did you mean 'lable'?), only id, lable; it needs the columns id, label" in told
    told = fault(contest, competition, header, ("0.png", "ant"))
    assert "no label in it differs from that of the tables; correct its column 'label', or empty it" in told


def test_every_missing_column_of_several_targets_is_named(contest):
    told = fault(contest, classes_each(contest), ("picture", "animal"), ("0.png", "dog"))
    assert "no column 'id', 'colour', only picture, animal; it needs the columns id, animal, colour" in told


def test_columns_are_found_in_upper_and_lower_case(contest):
    assert corrected(contest, of_classes(contest), ("ID", "Label "), ("0.png", "bee")) == {"0.png": 1}
    assert corrected(contest, classes_each(contest), ("Id", "ANIMAL", "Colour"), ("0.png", "cat", "red")).keys() == {
        "0.png"
    }


def test_of_two_columns_that_differ_in_case_alone_the_right_one_counts(contest):
    header = ("ID", "id", "label")
    assert corrected(contest, of_classes(contest), header, ("7", "0.png", "bee")) == {"0.png": 1}
    told = fault(contest, of_classes(contest), ("ID", "Id", "label"), ("7", "0.png", "bee"))
    assert "no column 'id'" in told


def test_numbers_far_outside_those_of_the_tables_are_told(contest, capsys):
    competition, header = numbers(contest), ("id", "x", "y")
    assert len(corrected(contest, competition, header, ("0.png", 40, 1), ("1.png", 350, 2), ("2.png", -90, 2))) == 3
    told = capsys.readouterr().out
    assert "column 'x' has 2 numbers far outside those of the tables, 0.5 to 29.5 (350 of 1.png, -90 of 2.png)" in told
    assert "column 'y'" not in told and told.count("\n") == 1


def test_a_number_too_large_for_a_number_is_refused(contest):
    told = fault(contest, numbers(contest), ("id", "x", "y"), ("0.png", "1e999", 1))
    assert "no such number (column 'x') in 1 row (row 2)" in told
