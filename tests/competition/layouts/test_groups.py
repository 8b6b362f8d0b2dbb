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


def test_a_csv_gives_each_image_its_group_and_what_it_does_not_name_is_a_group_of_its_own(contest):
    contest.train(["a", "b", "a", "b"]).sample("a")
    contest.table("elsewhere/groups.csv", ["split", "id", "group"], [("train", "0.png", "p"), ("train", "2.png", "p")])
    loaded = contest.load(group_column=str(contest.folder / "elsewhere/groups.csv"))
    assert loaded.train.groups == ("p", "1.png", "p", "3.png")
    assert "images with the same 'group' in groups.csv stay on one side of every split" in loaded.found


def test_a_csv_without_groups_of_the_images_is_refused(contest, tmp_path):
    contest.train(["a", "b", "a", "b"]).sample("a")
    of_others = tmp_path / "others.csv"
    of_others.write_text("id,group\nx.png,p\n")
    assert "none of the ids in the column 'id' is that of a labelled image" in contest.refusal(
        group_column=str(of_others)
    )
    of_others.write_text("id,patient\n0.png,p\n")
    assert "others.csv: no column 'group'" in contest.refusal(group_column=str(of_others))


def test_an_empty_cell_of_a_csv_is_no_group_and_an_image_has_one_group_only(contest):
    contest.train(["a", "b", "a", "b"]).sample("a")
    rows = [("0.png", "p"), ("1.png", ""), ("2.png", "p"), ("3.png", "")]
    contest.table("elsewhere/groups.csv", ["id", "group"], rows)
    path = str(contest.folder / "elsewhere/groups.csv")
    assert contest.load(group_column=path).train.groups == ("p", "1.png", "p", "3.png")
    contest.table("elsewhere/groups.csv", ["id", "group"], [*rows, ("2.png", "q")])
    assert "groups.csv: id '2.png' has several groups; give each id one group" in contest.refusal(group_column=path)


def test_groups_of_a_csv_that_are_in_train_and_in_val_are_told(contest):
    contest.train(["a", "b", "a", "b"]).sample("a")
    contest.table("val.csv", ["id", "label"], [("0.png", "a")])
    contest.table("elsewhere/groups.csv", ["id", "group"], [("0.png", "p"), ("2.png", "p")])
    told = contest.load(group_column=str(contest.folder / "elsewhere/groups.csv")).found[-1]
    assert told == "groups.csv: val has images of 1 group of train; --folds 5 keeps each on one side"


def test_columns_of_groups_are_found_in_upper_and_lower_case(contest, tmp_path):
    loaded = contest.train(PATIENTS, ["id", "Patient", "label"]).sample("a").load(group_column="patient")
    assert loaded.train.groups == ("p", "p", "q", "q", "r", "r")
    groups = tmp_path / "groups.csv"
    groups.write_text("ID,Group\n0.png,p\n1.png,p\n")
    assert contest.load(group_column=str(groups)).train.groups[:3] == ("p", "p", "2.png")


def test_a_column_that_says_nothing_of_what_images_share_is_refused(contest):
    contest.train(PATIENTS, ["id", "patient", "label"]).sample("a")
    told = contest.refusal(group_column="Label")
    assert "train.csv: column 'label' is that of the labels, whose images would all be on one side" in told
    assert "column 'id' has the ids, which no two images share; give a column" in contest.refusal(group_column="id")
