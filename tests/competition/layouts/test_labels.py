"""Contests that ask for something else than a class for each image are refused; unusual classes are not."""

import re
from pathlib import Path

import pytest
from competition.unsupported import refuse_label_columns, refuse_labels, refuse_sample, refuse_wide_sample

from competition.errors import UserError
from competition.layouts import load_competition

TABLE = Path("train.csv")


def refusal(refuse, *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        refuse(TABLE, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TAGS = ["clear", "haze road", "clear road", "haze water road", "clear water", "clear road water", "haze", "haze water"]
CLASSES = {
    "two whole numbers": ["0", "1"] * 5,
    "numbers without gaps, an image each": [str(number) for number in range(96)],
    "numbers with gaps, two images each": [str(number**2) for number in range(50)] * 2,
    "floats that are whole": ["0.0", "1.0", "2.0"] * 4,
    "fewer images than numbers could need": ["5", "17", "203"],
    "whales": [f"w_{number:07x}" for number in range(0, 15_000 * 16, 16)],
    "class names with blanks": ["Fat Hen", "Common wheat", "Common Chickweed", "Loose Silky-bent"] * 3,
    "a name that begins with another": ["maple", "maple tree", "birch tree"] * 3,
    "two words in every combination": [f"{colour} {thing}" for colour in "abcdefgh" for thing in "stuvwxyz"],
    "names with commas": ["Paris, France", "Paris, Texas", "Nice, France"],
    "the same word twice": ["bora", "bora bora", "tahiti"],
    "a name made of two others": ["bus", "school", "school bus"] * 3,
    "a name in brackets": ["[none]", "(other)", "cat"],
}
SEVERAL = {
    "parts that are labels": ["rust scab", "rust", "scab"],
    "numbers": ["16 0", "3", "2 16 1"],
    "bars": ["Mass|Nodule", "Mass", "Nodule", "None"],
    "commas": ["cat, dog", "cat", "dog"],
    "combinations of few words": [f"{a} {b}{c}" for a in TAGS[:4] for b in TAGS[4:] for c in ("", " farm")] + TAGS,
    "lists": ["['cat', 'dog']", "['cat']", "['owl']"],
}
NUMBERS = {
    "decimals": ["0.5", "1.25", "3"] * 9,
    "small decimals": ["1e-05", "0.25", ".5"],
    "negative decimals": ["-0.5", "+1.5"],
    "many different": [str(number**2 % 1009) for number in range(200)],
}


@pytest.mark.parametrize("labels", CLASSES.values(), ids=CLASSES)
def test_unusual_classes_are_accepted(labels):
    refuse_labels(TABLE, "Class", labels)


@pytest.mark.parametrize("labels", SEVERAL.values(), ids=SEVERAL)
def test_several_labels_in_a_cell_are_refused_with_such_cells(labels):
    message = refusal(refuse_labels, "tags", labels)
    assert message.startswith("train.csv: column 'tags' has several labels in a cell (")
    assert "this version writes one class for each image" in message
    refuse_labels(TABLE, "tags", [re.sub("[ ,;|]+", "_", label) for label in labels])  # the remedy that it names


def test_the_refusal_shows_only_the_cells_with_several_labels():
    assert "in a cell (rust scab);" in refusal(refuse_labels, "labels", SEVERAL["parts that are labels"] * 3)


def test_two_names_made_of_others_are_several_labels_under_any_header():
    assert "(rot scab, rust scab)" in refusal(
        refuse_labels, "disease", ["rust scab", "rust", "scab", "rot", "rot scab"]
    )


@pytest.mark.parametrize("labels", NUMBERS.values(), ids=NUMBERS)
def test_numbers_to_estimate_are_refused(labels):
    message = refusal(refuse_labels, "age", labels)
    assert f"column 'age' has {len(set(labels)):,} different numbers for {len(labels)} images (" in message


def test_several_columns_of_0_and_1_are_refused_with_a_way_out():
    message = refusal(refuse_label_columns, {"rust": {"0", "1"}, "scab": {"0", "1"}})
    assert "2 columns of 0 and 1 (rust, scab)" in message and "--label-column" in message
    refuse_label_columns(TABLE, {"rust": {"0", "1"}})
    refuse_label_columns(TABLE, {"rust": {"0", "1"}, "camera": {"0", "7"}})


def test_a_sample_with_a_column_of_numbers_for_each_class_is_refused():
    assert "(cat, dog; 0.5)" in refusal(refuse_wide_sample, {"cat": {"0.5"}, "dog": {"0.5"}})
    refuse_wide_sample(TABLE, {"cat": {"0.5"}})
    refuse_wide_sample(TABLE, {"Class": {"cat"}, "Usage": {"0"}})


@pytest.mark.parametrize(
    ("cell", "labels", "asked"),
    [
        ("0.5", ["0", "1"], "a probability or another number"),
        ("0.5", ["cat", "dog"], "a probability or another number"),
        ("0.0", ["0", "1"], "a probability or another number"),
        ("55.12", ["3", "40", "77"], "a probability or another number"),
        ("w_1 w_2 w_3", ["w_1", "w_2", "w_3"], "several values"),
        ("71 108 339", ["71", "108", "340"], "several values"),
        ("137790 0.98", ["1", "7"], "several values"),
        ("['cat', 'dog']", ["cat", "dog"], "several values"),
    ],
)
def test_a_sample_that_asks_for_something_else_is_refused_with_its_cells(cell, labels, asked):
    assert f"asks for {asked} in column 'target' ({cell})" in refusal(refuse_sample, "target", [cell] * 3, labels)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("0", ["0", "1"]),
        ("1", ["cat", "dog"]),
        ("0", ["0.0", "1.0", "2.0"]),
        ("0.0", ["0", "1", "2"]),
        ("0.5", ["0.5", "1.5"]),
        ("Sugar beet", ["Sugar beet", "Sugar", "beet"]),
        ("some class", ["cat", "dog"]),
        ("", ["cat", "dog"]),
    ],
)
def test_a_sample_whose_cells_could_be_a_class_or_a_placeholder_is_accepted(cell, labels):
    refuse_sample(TABLE, "target", [cell], labels)


def rewrite(table: Path, change) -> None:
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *map(change, rows)]) + "\n")


def test_a_contest_that_wants_a_probability_is_refused_when_its_tables_are_read(make_competition, tmp_path):
    folder = make_competition(tmp_path / "cactus", classes=(0, 1))
    assert load_competition(folder).classes == (0, 1)
    rewrite(folder / "sample_submission.csv", lambda row: f"{row.split(',')[0]},0.5")
    with pytest.raises(UserError, match=r"sample_submission.csv: asks for a probability .*\(0\.5\)"):
        load_competition(folder)


def test_a_contest_with_a_column_for_each_class_is_refused_when_its_tables_are_read(make_competition, tmp_path):
    folder = make_competition(tmp_path / "plants", with_val=False, with_sample=False)
    train = folder / "train.csv"
    train.write_text(train.read_text().replace("Class", "rust,scab,rot"))
    rewrite(train, lambda row: row.replace("ant", "1,0,0").replace("bee", "0,1,0").replace("cat", "0,0,1"))
    with pytest.raises(UserError, match=r"train.csv: 3 columns of 0 and 1 \(rust, scab, rot\)"):
        load_competition(folder)
    assert load_competition(folder, label_column="rust").classes == (0, 1)
    sample = "Image,rust,scab,rot\n" + "".join(
        f"{line},0,0,0\n" for line in (folder / "test.csv").read_text().split()[1:]
    )
    (folder / "sample_submission.csv").write_text(sample)
    with pytest.raises(UserError, match=r"sample_submission.csv: asks for numbers .* in 3 columns"):
        load_competition(folder)


def test_a_sample_of_another_cut_is_refused_with_the_missing_and_the_unknown_ids(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo")
    sample = folder / "sample_submission.csv"
    lines = sample.read_text().splitlines()
    sample.write_text("\n".join([*lines[:-2], "gone.png,ant"]) + "\n")
    lost = ", ".join(sorted(line.split(",")[0] for line in lines[-2:]))
    with pytest.raises(UserError, match=f"lacks 2 test ids: {lost} and has 1 id not in test.csv: gone.png;"):
        load_competition(folder)
