"""The form of a submission and the metric, from the training table and the sample together."""

import pytest

from competition.metrics import METRICS, find_metric

BINARY = [0, 1, 0, 1]
CATS = ["cat", "dog", "owl", "cat"]


def test_a_class_is_asked_for_as_usual(contest):
    loaded = contest.train(CATS).sample("cat").load()
    assert (loaded.form.kind, loaded.metric.name, loaded.found[1:]) == ("class", "accuracy", ())


@pytest.mark.parametrize("cell", ["0.5", "0.3", "0.0", "1e-3"])
def test_a_fraction_asks_for_the_probability_of_1(contest, cell):
    loaded = contest.train(BINARY, ["id", "has_cactus"]).sample(cell, header=["id", "has_cactus"]).load()
    assert (loaded.form.kind, loaded.metric.name) == ("probability", "log-loss")
    assert "each row of the submission has the probability of has_cactus = 1" in loaded.found


def test_0_asks_for_a_class_unless_the_metric_takes_probabilities(contest):
    contest.train(BINARY).sample(0)
    assert contest.load().form.kind == "class"
    assert contest.load("histopathologic-cancer-detection").form.kind == "probability"
    assert contest.load(metric=METRICS["auc"]).form.kind == "probability"
    assert contest.load(metric=METRICS["f1-macro"]).form.kind == "class"


def test_a_fraction_for_several_names_is_refused_with_the_cells(contest):
    message = contest.train(CATS).sample("0.5").refusal()
    assert "sample_submission.csv: asks for a probability or another number in column 'label' (0.5)" in message


@pytest.mark.parametrize("cell", ["cat", "", "some class", "your class here", "1"])
def test_any_other_word_is_a_placeholder_for_a_class(contest, cell):
    assert contest.train(CATS).sample(cell).load().form.kind == "class"


@pytest.mark.parametrize(
    ("labels", "cell", "most"),
    [
        (["w1", "w2", "w3"], "w1 w2 w3", 3),
        (["w1", "w2", "w3"], "new w1 w2 w3", 4),
        ([36363, 53586, 7], "36363 53586 18807 64314 60181", 5),
        (["w1", "w2", "w3"], "w7 w8 w9", 3),
    ],
)
def test_several_labels_where_train_has_one_are_a_ranking(contest, labels, cell, most):
    loaded = contest.train(labels).sample(cell).load()
    assert (loaded.form.kind, loaded.form.most, loaded.metric.name) == ("ranking", most, f"map@{most}")
    assert f"each row of the submission has the {most} likeliest labels" in loaded.found


def test_a_label_and_a_fraction_are_a_label_with_its_confidence(contest):
    loaded = contest.train([1, 7, 113209]).sample("137790 0.98").load()
    assert (loaded.form.kind, loaded.form.separator, loaded.metric.name) == ("confidence", " ", "gap")


@pytest.mark.parametrize(
    "header",
    [["cat", "owl", "dog"], ["class_cat", "class_owl", "class_dog"], ["Cat", "Owl", "Dog"], [" cat", "owl ", "dog"]],
)
def test_a_column_a_class_is_told_by_the_header(contest, header):
    loaded = contest.train(CATS).sample(0.3, 0.3, 0.4, header=["id", *header]).load()
    assert (loaded.task.kind, loaded.classes) == ("multiclass", ("cat", "dog", "owl"))
    assert (loaded.form.kind, loaded.form.order, loaded.form.header) == ("columns", (0, 2, 1), ("id", *header))
    assert loaded.metric.name == "log-loss"


def test_the_header_may_name_classes_that_train_never_shows(contest):
    loaded = contest.train([1, 2, 1]).sample(0.3, 0.3, 0.4, header=["id", "3", "2", "1"]).load()
    assert (loaded.classes, loaded.form.order) == ((1, 2, 3), (2, 1, 0))


def test_several_labels_in_a_cell_may_be_asked_for_in_columns(contest):
    loaded = contest.train(["a b", "b", "c"], ["id", "tags"]).sample(0, 0, 0, header=["id", "c", "b", "a"]).load()
    assert (loaded.task.kind, loaded.form.kind, loaded.form.order) == ("multilabel", "columns", (2, 1, 0))


def test_several_words_in_columns_are_several_targets(contest):
    header = ["id", "colour", "shape"]
    loaded = contest.train([("red", "round"), ("blue", "round")], header).sample("red", "round", header=header).load()
    assert (loaded.task.kind, loaded.task.targets, loaded.form.kind) == ("multioutput", ("colour", "shape"), "class")


def test_columns_of_a_sample_that_mean_nothing_are_refused(contest):
    message = contest.train(CATS).sample("cat", "x", header=["id", "label", "more"]).refusal()
    assert "sample_submission.csv: the columns id, label, more, not an id and a label" in message


def test_a_list_in_brackets_is_refused(contest):
    assert "asks for several values in column 'label'" in contest.train(CATS).sample("['cat', 'dog']").refusal()


def test_lists_of_labels_in_brackets_are_refused(contest):
    contest.train(["cat dog", "dog", "cat", "dog cat"])
    assert "asks for lists in brackets in column 'label'" in contest.sample("['cat', 'dog']").refusal()


def test_a_metric_that_cannot_measure_the_task_is_refused(contest):
    assert "--metric rmse cannot measure" in contest.train(CATS).sample("cat").refusal(metric=METRICS["rmse"])


def test_a_metric_of_numbers_makes_numbers_of_grades(contest):
    loaded = contest.train([0, 1, 2, 3, 4, 0]).sample(0).load(metric=METRICS["rmse"])
    assert (loaded.task.kind, loaded.form.kind) == ("continuous", "number")


def test_a_known_contest_says_how_many_labels_are_ranked_if_its_sample_does_not(contest):
    contest.train(CATS, ["Image", "Id"]).sample("owl", header=["Image", "Id"])
    form = contest.load("humpback-whale-identification").form
    assert (form.kind, form.most) == ("ranking", 5)


@pytest.mark.parametrize("name", ["classes.csv", "classes.json"])
def test_a_side_table_says_which_numbers_stand_for_the_labels(contest, name):
    contest.train(CATS).sample(0)
    numbers = {"owl": 0, "cat": 1, "dog": 2}
    if name == "classes.csv":
        contest.table(name, ["number", "name"], [[number, label] for label, number in numbers.items()])
    else:
        contest.json(name, numbers)
    assert contest.load().form.spelled == {"cat": "1", "dog": "2", "owl": "0"}


def test_a_side_table_says_which_names_stand_for_the_numbers(contest):
    contest.train([0, 1, 2, 0]).sample("cat").json("label_map.json", {"0": "owl", "1": "cat", "2": "dog"})
    assert contest.load().form.spelled == {"0": "owl", "1": "cat", "2": "dog"}


def test_a_side_table_says_which_columns_of_the_sample_stand_for_the_numbers(contest):
    contest.train([0, 1, 2, 0]).sample(0.3, 0.3, 0.3, header=["id", "cat", "dog", "owl"])
    loaded = contest.table("classes.csv", ["number", "name"], [[0, "owl"], [1, "cat"], [2, "dog"]]).load()
    assert (loaded.classes, loaded.train.labels.tolist()) == (("cat", "dog", "owl"), [2, 0, 1, 2])


def test_fractions_ask_for_the_only_column_of_0_and_1(contest):
    contest.train([(30, 0), (40, 1), (50, 0)], ["id", "age", "has_it"]).sample(0.5, header=["id", "prediction"])
    assert "each row of the submission has the probability of has_it = 1" in contest.load().found


def test_labels_with_a_number_each_are_refused(contest):
    message = contest.train(CATS).sample("cat:0.7 dog:0.2 owl:0.1").refusal()
    assert "asks for several labels with a number each in column 'label' (cat:0.7 dog:0.2 owl:0.1)" in message


def test_two_unknown_words_are_a_ranking_if_the_metric_ranks(contest):
    contest.train(["w1", "w2", "w3"]).sample("w8 w9")
    assert contest.load().form.kind == "class"
    form = contest.load(metric=find_metric("map@3")).form
    assert (form.kind, form.most) == ("ranking", 3)


def test_columns_of_train_may_have_an_ending_that_the_sample_lacks(contest):
    header = ["id", "X1_mean", "X3_mean", "X1_sd", "X3_sd"]
    rows = [(0.5 * row, 2.5 * row, 0.1, 0.2) for row in range(4)]
    loaded = contest.train(rows, header).sample(1, 2, header=["id", "X1", "X3"]).load()
    assert (loaded.classes, loaded.form.kind, loaded.form.order) == (("X1", "X3"), "columns", (0, 1))
    assert loaded.train.labels[:, 1].tolist() == [0, 2.5, 5, 7.5]


def test_rows_of_several_targets_may_have_a_column_a_class(contest):
    grades = [("Normal/Mild", "Severe"), ("Moderate", "Normal/Mild"), ("Severe", ""), ("Severe", "Moderate")]
    contest.train(grades, ["id", "left_l1", "right_l1"]).images("test/t0.png")
    header, ids = ["row_id", "normal_mild", "moderate", "severe"], ["t0_right_l1", "t0_left_l1"]
    contest.table("sample_submission.csv", header, [[name, 0.3, 0.3, 0.4] for name in ids])
    loaded = contest.load()
    assert (loaded.task.kind, loaded.task.targets, len(loaded.train)) == ("multioutput", ("left_l1", "right_l1"), 3)
    assert (loaded.form.kind, loaded.form.order, loaded.metric.name) == ("columns", (1, 0, 2), "log-loss")
    assert (loaded.form.row_targets.tolist(), loaded.form.cases) == ([1, 0], ("t0", "t0"))
    assert "train.csv: 1 row passed over, some of the 2 classes are missing" in loaded.found
