"""What the cells of label columns mean: classes, several labels, numbers; and unusual classes stay classes."""

import numpy as np
import pytest

from competition.layouts.labels import estimated, several_in_a_cell

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


SEPARATORS = {"numbers": None, "bars": "|", "commas": ",", "lists": ",", "combinations of few words": None}


def are_several(labels, fewest: int = 2) -> bool:
    return bool(several_in_a_cell(sorted(set(labels)), fewest)[1])


@pytest.mark.parametrize("labels", CLASSES.values(), ids=CLASSES)
def test_unusual_classes_are_classes(labels):
    assert not are_several(labels)
    assert not estimated(set(labels), len(labels))


@pytest.mark.parametrize("labels", SEVERAL.values(), ids=SEVERAL)
def test_several_labels_in_a_cell_are_told(labels):
    assert are_several(labels, fewest=1)


@pytest.mark.parametrize("kind", SEPARATORS)
def test_the_separator_of_several_labels_is_told(kind):
    assert several_in_a_cell(sorted(set(SEVERAL[kind])))[0] == SEPARATORS[kind]


def test_only_the_cells_with_several_labels_count():
    assert several_in_a_cell(sorted(SEVERAL["parts that are labels"]), 1)[1] == ["rust scab"]
    assert several_in_a_cell(["rot", "rot scab", "rust", "rust scab", "scab"])[1] == ["rot scab", "rust scab"]


@pytest.mark.parametrize("labels", NUMBERS.values(), ids=NUMBERS)
def test_numbers_to_estimate_are_told(labels):
    assert estimated(set(labels), len(labels))


# --- a class an image


def test_blanks_around_labels_and_ids_do_not_count(contest):
    contest.images("train/a.png", "train/b.png", "train/c.png")
    contest.table("train.csv", ["id", "label"], [["a.png ", "cat"], [" b.png", "dog "], ["c.png", " cat"]])
    loaded = contest.sample("cat").load()
    assert (loaded.classes, loaded.train.labels.tolist()) == (("cat", "dog"), [0, 1, 0])
    assert [path.name for path in loaded.train.paths] == ["a.png", "b.png", "c.png"]


def test_quotes_after_a_blank_are_quotes(contest):
    contest.images("train/a.png", "train/b.png").text(
        "train.csv", '"id", "label"\n"a.png", "cat, black"\n"b.png", "dog"\n'
    )
    assert contest.sample("dog").load().classes == ("cat, black", "dog")


def test_whole_numbers_with_decimals_are_read_as_the_sample_spells_them(contest):
    loaded = contest.train(["0.0", "10.0", "2.0"]).sample(0).load()
    assert (loaded.classes, loaded.form.spelled) == ((0, 2, 10), {})
    loaded = contest.train([0, 10, 2]).sample("0.0").load()
    assert (loaded.classes, loaded.form.spelled) == ((0, 2, 10), {"0": "0.0", "2": "2.0", "10": "10.0"})


def test_one_number_spelled_in_two_ways_is_one_class(contest):
    assert contest.train(["0.0", "1", "0", "1.0"]).sample(0).load().classes == (0, 1)


def test_a_validation_table_may_spell_numbers_with_decimals(contest):
    contest.train([0, 1, 1]).images("val/v.png").table("val.csv", ["id", "label"], [["v.png", "1.0"]])
    assert contest.sample(0).load().val.labels.tolist() == [1]


def test_zeros_at_the_front_are_kept(contest):
    assert contest.train(["007", "042", "100"]).sample("007").load().classes == ("007", "042", "100")


def test_words_for_nothing_are_names_of_classes_and_this_is_said(contest):
    loaded = contest.train(["nan", "None", "NA", "cat", "nan"]).sample("cat").load()
    assert loaded.classes == ("NA", "None", "cat", "nan")
    assert "train.csv: 'nan', in 2 rows, is read as the name of a class" in loaded.found


def test_the_sample_may_spell_classes_in_another_case(contest):
    assert contest.train(["cat", "dog"]).sample("Cat").load().form.spelled == {"cat": "Cat"}


# --- columns of 0 and 1


def test_one_hot_columns_are_a_class_an_image(contest):
    header = ["id", "scab", "rust", "healthy"]
    contest.train([(0, 1, 0), (1, 0, 0), (0, 0, 1)], header)
    loaded = contest.sample(0.3, 0.3, 0.4, header=header).load()
    assert (loaded.task.kind, loaded.classes) == ("multiclass", ("healthy", "rust", "scab"))
    assert loaded.train.labels.tolist() == [1, 2, 0]
    assert (loaded.form.kind, loaded.form.order) == ("columns", (2, 1, 0))
    assert "train.csv: 3 columns of 0 and 1, one of them 1 in each row: a class an image" in loaded.found


def test_other_columns_of_0_and_1_are_several_labels(contest):
    header = ["id", "left", "right"]
    loaded = contest.train([(0, 1), (1, 1), (0, 0)], header).sample(0, 0, header=header).load()
    assert (loaded.task.kind, loaded.classes) == ("multilabel", ("left", "right"))
    assert loaded.train.labels.tolist() == [[0, 1], [1, 1], [0, 0]]
    assert (loaded.form.kind, loaded.form.order, loaded.metric.name) == ("columns", (0, 1), "log-loss")


def test_without_a_sample_the_submission_has_the_columns_of_train(contest):
    contest.train([(0, 1), (1, 1)], ["id", "left", "right"]).images("test/t.png").table("test.csv", ["id"], [["t.png"]])
    form = contest.load().form
    assert (form.kind, form.header) == ("columns", ("id", "left", "right"))


def test_one_of_the_columns_may_be_asked_for(contest):
    contest.train([(0, 1), (1, 1)], ["id", "left", "right"]).images("test/t.png").table("test.csv", ["id"], [["t.png"]])
    assert contest.load(label_column="left").classes == (0, 1)


# --- several labels in a cell


def test_cells_of_several_labels_are_several_labels_an_image(contest):
    loaded = contest.train(["rust scab", "rust", "scab", ""], ["image", "labels"]).sample("rust scab").load()
    assert (loaded.task.kind, loaded.classes) == ("multilabel", ("rust", "scab"))
    assert loaded.train.labels.tolist() == [[1, 1], [1, 0], [0, 1], [0, 0]]
    assert (loaded.form.kind, loaded.form.separator, loaded.metric.name) == ("labels", " ", "f1-samples")
    said = "train.csv: 1 of 4 cells of column 'labels' hold several labels (rust scab): several labels an image"
    assert said in loaded.found


@pytest.mark.parametrize("separator", [", ", "|", ";"])
def test_labels_may_be_parted_by_other_signs(contest, separator):
    joined = separator.join(("no finding", "mass"))
    loaded = contest.train([joined, "mass", "no finding"]).sample(joined).load()
    assert loaded.classes == ("mass", "no finding")
    assert loaded.form.separator == separator


def test_numbers_of_labels_are_sorted_as_numbers(contest):
    loaded = contest.train(["16 0", "2", "0 2 16"]).sample(0, header=["id", "Predicted"]).load()
    assert (loaded.classes, loaded.form.kind) == ((0, 2, 16), "labels")
    assert loaded.train.labels.tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 1]]


def test_a_label_that_train_never_shows_is_refused_in_validation(contest):
    header = ["id", "tags"]
    contest.train(["a b", "a", "b"], header).images("val/v.png").table("val.csv", header, [["v.png", "a c"]])
    assert (
        "val.csv: label that train.csv never shows (c) in 1 row (row 2)" in contest.sample("a", header=header).refusal()
    )


# --- numbers


def test_numbers_are_estimated_by_intervals_with_the_means_of_train(contest):
    values = [round(float(value), 3) for value in np.random.default_rng(0).normal(40, 10, 400)]
    loaded = contest.train(values, ["id", "age"]).sample(55.5, header=["id", "age"]).load()
    (means,) = loaded.task.intervals
    assert (loaded.task.kind, loaded.classes, loaded.form.kind, loaded.metric.name) == (
        "continuous",
        ("age",),
        "number",
        "rmse",
    )
    assert loaded.train.labels.tolist() == [[value] for value in values]
    assert len(means) == 20 and list(means) == sorted(set(means))
    chosen = np.array(means)[loaded.task.encode(loaded.train.labels).ravel()]
    assert abs(chosen - values).mean() < 1


def test_a_sample_with_decimals_makes_whole_numbers_numbers(contest):
    assert contest.train([1, 2, 3, 1, 2, 3]).sample(1.7).load().task.kind == "continuous"
    assert contest.train([1, 2, 3, 1, 2, 3]).sample(2).load().task.kind == "multiclass"


def test_many_whole_numbers_are_classes_where_the_sample_ranks_them(contest):
    numbers = [number**2 for number in range(40)]
    assert contest.train(numbers).sample("1 4 9").load().task.kind == "multiclass"
    assert contest.train(numbers).sample(4).load().task.kind == "continuous"


def test_what_many_numbers_are_read_as_is_said(contest):
    said = "train.csv: the 40 different numbers of column 'label' are read as names of classes"
    with_gaps = [5 * (number // 3) for number in range(120)]
    assert said in contest.train(with_gaps).sample(5).load().found
    assert contest.train([number // 3 for number in range(120)]).sample(4).load().found[1:] == ()


def test_several_columns_of_numbers_have_as_many_intervals_each(contest):
    header = ["id", "x", "y"]
    loaded = contest.train([(0.5, 1), (1.5, 1), (2.5, 2)], header).sample(0, 0, header=header).load()
    assert loaded.task.intervals == ((0.5, 1.5, 2.5), (1.0, 2.0, 2.0))
    assert (loaded.form.kind, loaded.form.order) == ("columns", (0, 1))


def test_a_cell_that_is_no_number_is_refused(contest):
    header = ["id", "a", "b"]
    contest.train([(0.5, 1), ("x", 1), (2.5, 3)], header).sample(0.5, 0.5, header=header)
    assert "train.csv: no number (column 'a') in 1 row (row 3)" in contest.refusal()
