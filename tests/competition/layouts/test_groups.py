"""Groups: what images have in common that must not be on both sides of a split."""

PATIENTS = [("p", "a"), ("p", "a"), ("q", "b"), ("q", "b"), ("r", "a"), ("r", "a")]


def test_the_group_column_gives_each_image_its_group(contest):
    loaded = contest.train(PATIENTS, ["id", "patient", "label"]).sample("a").load(group_column="patient")
    assert loaded.train.groups == ("p", "p", "q", "q", "r", "r")
    assert "images with the same 'patient' stay on one side of every split" in loaded.found


def test_a_column_of_groups_is_hinted_at(contest):
    found = contest.train(PATIENTS, ["id", "patient", "label"]).sample("a").load().found
    assert found[-1].endswith("images share a label; --group-column patient keeps them on one side of a split")


def test_columns_that_are_no_groups_are_not(contest):
    header = ["id", "number", "site", "kind", "label"]
    rows = [(row, "ab"[row % 2], label * 2, label) for row, (_, label) in enumerate(PATIENTS)]
    assert not any("--group-column" in line for line in contest.train(rows, header).sample("a").load().found)


def test_a_group_column_that_is_not_there_is_refused(contest):
    message = contest.train(PATIENTS, ["id", "patient", "label"]).sample("a").refusal(group_column="patent")
    assert "train.csv: no column 'patent' (did you mean 'patient'?)" in message
