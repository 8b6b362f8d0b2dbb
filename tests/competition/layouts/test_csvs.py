"""Contests told by their tables: which one is that of the training images, which columns matter, what is predicted."""

import numpy as np
import pytest

CATS = ["cat", "dog", "cat", "dog"]


@pytest.mark.parametrize(
    "name",
    [
        *("train.csv", "Train.csv", "labels.csv", "train_labels.csv", "trainLabels.csv", "train_v2.csv"),
        *("training_solutions_rev1.csv", "stage_2_train.csv", "train-metadata.csv", "train_cultivar_mapping.csv"),
        *("data/train.csv", "anything.csv"),
    ],
)
def test_the_training_table_is_found_whatever_it_is_called(contest, name):
    loaded = contest.train(CATS, name=name).sample("cat").load()
    assert loaded.classes == ("cat", "dog")
    assert [path.name for path in loaded.train.paths] == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.parametrize(
    "name",
    [
        *("sample_submission.csv", "sampleSubmission.csv", "sample_submission_v2.csv", "kaggle_sample_submission.csv"),
        "submission.csv",
        *(
            "sample_submission_stg1.csv",
            "all_zeros_benchmark.csv",
            "example_submission.csv",
            "sub/sample_submission.csv",
        ),
    ],
)
def test_the_sample_is_found_whatever_it_is_called_and_its_ids_are_predicted_in_its_order(contest, name):
    contest.train(CATS).images("test/a.png", "test/b.png").table(
        name, ["file", "kind"], [["b.png", "cat"], ["a.png", "cat"]]
    )
    loaded = contest.load()
    assert loaded.form.header == ("file", "kind")
    assert loaded.form.ids == loaded.form.cases == loaded.test.ids == ("b.png", "a.png")
    assert loaded.form.source == name.rpartition("/")[2]
    assert [path.name for path in loaded.test.paths] == ["b.png", "a.png"]
    assert f"no table of the test images: the ids of {loaded.form.source} are predicted" in loaded.found


def test_a_test_table_with_a_column_of_labels_is_the_sample(contest):
    contest.train(["07", "03", "07", "03"], ["filename", "category"]).images("test/a.png", "test/b.png")
    form = contest.table("test.csv", ["filename", "category"], [["b.png", "43"], ["a.png", "43"]]).load().form
    assert (form.header, form.ids, form.source) == (("filename", "category"), ("b.png", "a.png"), "test.csv")


def test_a_list_of_corrections_is_not_the_training_table(contest):
    contest.images(*(f"train/{kind}/{kind}{number}.png" for kind in "ab" for number in range(12)))
    contest.table("fixed_labels.csv", ["filename", "old_label", "new_label"], [["a3.png", "b", "a"]])
    loaded = contest.sample(0.5, 0.5, header=["image", "a", "b"]).load()
    assert (len(loaded.train), loaded.classes) == (24, ("a", "b"))


def test_a_table_with_the_columns_of_the_test_table_has_no_labels(contest):
    contest.train([31, 32, 33, 34], ["id", "age"]).train(CATS, name="train_labels.csv")
    contest.table("test.csv", ["id", "age"], [["t0.png", 30]])
    assert contest.sample("cat", header=["id", "prediction"], rows=1).load().classes == ("cat", "dog")


def test_the_last_of_several_versions_of_a_sample_counts(contest):
    contest.train(CATS).images("test/a.png", "test/b.png")
    for version, image in ((1, "a.png"), (2, "b.png")):
        contest.table(f"stage_{version}_sample_submission.csv", ["id", "label"], [[image, "cat"]])
    assert contest.load().form.ids == ("b.png",)


def test_the_ids_may_be_the_second_column_of_the_sample(contest):
    contest.train(CATS).images("test/a.png", "test/b.png")
    contest.table("sample_submission.csv", ["Category", "Id"], [["cat", "a.png"], ["cat", "b.png"]])
    form = contest.load().form
    assert (form.header, form.id_at, form.ids) == (("Category", "Id"), 1, ("a.png", "b.png"))


def test_a_sample_may_have_no_header(contest):
    contest.train([0, 1, 1, 0]).images("test/a.png", "test/b.png").table(
        "sample_submission.csv", [], [["a.png", 0], ["b.png", 0]]
    )
    form = contest.load().form
    assert (form.header, form.ids) == ((), ("a.png", "b.png"))


def test_a_sample_without_ids_counts_by_its_rows(contest):
    contest.train([0, 1, 1, 0]).images("test/a.png", "test/b.png").table("test.csv", ["id"], [["b.png"], ["a.png"]])
    contest.table("example_submission.csv", [], [[0], [0]])
    form = contest.load().form
    assert (form.header, form.ids, form.cases) == ((), (), ("b.png", "a.png"))
    contest.table("example_submission.csv", [], [[0]] * 3)
    assert "example_submission.csv: 3 rows without ids for 2 test images" in contest.refusal()


def test_without_a_sample_and_a_test_table_all_files_of_the_test_folder_are_predicted(contest):
    loaded = contest.train(CATS).images("test/2.png", "test/10.png", "test/a.png").load()
    assert loaded.submission_ids == ("2.png", "10.png", "a.png")
    assert "the 3 files of test are predicted" in loaded.found[0]


def test_side_tables_are_left_alone(contest):
    contest.train(CATS, name="train_labels.csv").sample("cat")
    contest.table("label_names.csv", ["label", "name"], [["cat", "Felis"], ["dog", "Canis"]])
    contest.table("old_data/train_labels_old.csv", ["id", "label"], [["gone.png", "cow"]] * 9)
    contest.table("train_annotations.csv", ["id", "label"], [["0.png", "a box"]])
    contest.json("label_map.json", {"0": "cat"})
    assert contest.load().classes == ("cat", "dog")


def test_the_table_that_is_asked_for_is_read(contest):
    contest.train(CATS).train(["x", "y", "x"], name="other.csv").sample("cat")
    assert contest.load(train_table="other.csv").classes == ("x", "y")
    assert "no table 'others.csv' there (did you mean 'other.csv'?)" in contest.refusal(train_table="others.csv")


def test_exact_duplicates_and_hidden_files_are_passed_over_and_said(contest):
    contest.train([*CATS, ""]).sample("cat")
    table = contest.folder / "train.csv"
    lines = table.read_text().replace("4.png,", ".DS_Store,").splitlines()
    table.write_text("\n".join([*lines, lines[1]]) + "\n")
    loaded = contest.load()
    assert len(loaded.train) == 4
    assert "train.csv: 1 row passed over, no image (.DS_Store)" in loaded.found
    assert "train.csv: 1 row passed over, the same image and label as in an earlier row" in loaded.found


def test_different_labels_of_one_id_are_refused(contest):
    contest.train(CATS * 3).sample("cat")
    with (contest.folder / "train.csv").open("a") as table:
        table.write("0.png,dog\n")
    assert "duplicate id (0.png) in 2 rows (row 2, 14)" in contest.refusal()


def test_several_images_of_an_id_may_be_numbered(contest):
    contest.images(*(f"train_images/{pet}-{number}.png" for pet in ("a7", "b1", "c2") for number in (1, 2, 10)))
    contest.images("test_images/d4-1.png", "test_images/d4-2.png", "test_images/e5-1.png")
    contest.table("train/train.csv", ["age", "pet", "speed"], [[3, "a7", 0], [1, "b1", 1], [2, "c2", 0]])
    contest.table("test/test.csv", ["age", "pet"], [[5, "d4"], [6, "e5"]])
    loaded = contest.table("test/sample_submission.csv", ["pet", "speed"], [["e5", 0], ["d4", 0]]).load()
    assert loaded.train.cases == loaded.train.groups == ("a7",) * 3 + ("b1",) * 3 + ("c2",) * 3
    assert [path.stem for path in loaded.train.paths[:3]] == ["a7-1", "a7-2", "a7-10"]
    assert (loaded.test.cases, loaded.form.ids) == (("d4", "d4", "e5"), ("e5", "d4"))


def test_a_row_for_each_image_and_label_is_several_labels_an_image(contest):
    contest.images(*(f"train/{number}.png" for number in range(4)))
    rows = [["0.png", "red"], ["1.png", "red"], ["0.png", "big fish"], ["2.png", "big fish"], ["3.png", "old"]]
    loaded = contest.table("train.csv", ["id", "tag"], rows).sample("red", header=["id", "tag"]).load()
    assert loaded.classes == ("big fish", "old", "red")
    assert loaded.train.labels.tolist() == [[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert (loaded.form.kind, loaded.form.separator) == ("labels", " ")
    assert "train.csv: images with several labels have a row for each: several labels an image" in loaded.found


def test_the_label_column_is_the_one_that_the_sample_names(contest):
    contest.train([("x", "cat", 7), ("x", "dog", 8), ("y", "cat", 9)], ["id", "site", "species", "age"])
    assert contest.sample("cat", header=["id", "species"]).load().classes == ("cat", "dog")


def test_the_label_column_is_the_one_with_the_labels_that_the_sample_shows(contest):
    contest.train([("x", "w1"), ("x", "w2"), ("y", "w3"), ("y", "w3")], ["image", "species", "individual"])
    loaded = contest.sample("w1 w2 w3", header=["image", "predictions"]).load()
    assert (loaded.classes, loaded.form.kind) == (("w1", "w2", "w3"), "ranking")


def test_the_label_column_is_the_one_with_the_name_most_like_the_samples(contest):
    contest.train([(7, 1), (8, 2), (9, 1)], ["id", "year", "landmark_id"])
    assert contest.sample("5 0.9", header=["id", "landmarks"]).load().classes == (1, 2)


def test_ids_that_the_sample_spells_without_suffix_or_blanks_mean_the_same_images(contest):
    contest.train(CATS).images("test/a.png", "test/b.png").table("test.csv", ["id"], [["a.png"], ["b.png"]])
    contest.table("sample_submission.csv", ["id", "label"], [["b", "cat"], ["a", "cat"]])
    form = contest.load().form
    assert (form.ids, form.cases) == (("b", "a"), ("b.png", "a.png"))


def test_the_ids_of_the_sample_may_be_another_column_of_the_test_table(contest):
    contest.train(CATS, ["file", "label"]).images("test/a.png", "test/b.png")
    contest.table("test.csv", ["file", "number"], [["a.png", 1], ["b.png", 2]])
    contest.table("sample_submission.csv", ["number", "label"], [[2, "cat"], [1, "cat"]])
    loaded = contest.load()
    assert loaded.test.cases == ("1", "2")
    assert loaded.form.cases == ("2", "1")


# --- several images of a case, a row for each target


def test_rows_about_patients_take_all_their_images(contest):
    contest.images(*(f"train/{name}.png" for name in ("p0", "p1", "q0")), "test/r0.png", "test/r1.png", "test/s0.png")
    contest.table("train.csv", ["image", "patient", "label"], [["p0", "p", "a"], ["p1", "p", "a"], ["q0", "q", "b"]])
    contest.table("test.csv", ["image", "patient"], [["r0", "r"], ["r1", "r"], ["s0", "s"]])
    loaded = contest.table("sample_submission.csv", ["patient", "a", "b"], [["r", 0.5, 0.5], ["s", 0.5, 0.5]]).load()
    assert (loaded.form.kind, loaded.form.ids, loaded.form.cases) == ("columns", ("r", "s"), ("r", "s"))
    assert loaded.test.ids == ("r0", "r1", "s0")
    assert loaded.test.cases == ("r", "r", "s")


def test_ids_may_be_folders_of_slices_which_stay_together(contest):
    for patient in ("00001", "00002", "00007"):
        part = "test" if patient == "00007" else "train"
        contest.images(*(f"{part}/{patient}/T1/Image-{slice_}.png" for slice_ in (1, 2, 10)))
    contest.table("train_labels.csv", ["case", "value"], [["00001", 0], ["00002", 1]])
    loaded = contest.table("sample_submission.csv", ["case", "value"], [["00007", 0.5]]).load()
    assert len(loaded.train) == 6 and len(set(loaded.train.ids)) == 6
    assert loaded.train.groups == loaded.train.cases == ("00001",) * 3 + ("00002",) * 3
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [path.name for path in loaded.test.paths] == ["Image-1.png", "Image-2.png", "Image-10.png"]
    assert (loaded.test.cases, loaded.form.cases) == (("00007",) * 3, ("00007",))


def test_a_row_for_each_image_and_label_is_read_as_a_row_for_each_image(contest):
    contest.images("train/i_1.png", "train/i_2.png", "test/i_3.png", "test/i_4.png")
    labels = [("i_1_any", 1), ("i_1_left", 0), ("i_2_any", 1), ("i_2_left", 1), ("i_1_any", 1)]
    contest.table("train.csv", ["ID", "Label"], labels)
    rows = [[f"{image}_{label}", 0.5] for label in ("left", "any") for image in ("i_3", "i_4")]
    loaded = contest.table("sample_submission.csv", ["ID", "Label"], rows).load()
    assert (loaded.task.kind, loaded.classes, loaded.form.kind) == ("multilabel", ("any", "left"), "probability")
    assert loaded.train.labels.tolist() == [[1, 0], [1, 1]]
    assert loaded.test.ids == ("i_3", "i_4")
    assert loaded.form.cases == ("i_3", "i_4", "i_3", "i_4")
    assert loaded.form.row_targets.tolist() == [1, 1, 0, 0]


def test_different_labels_of_one_image_and_label_are_refused(contest):
    contest.images("train/1.png", "train/2.png")
    contest.table("train.csv", ["ID", "Label"], [("1_a", 1), ("1_b", 0), ("2_a", 1), ("2_b", 1), ("2_b", 0)]).sample(
        0.5
    )
    assert "different labels for the same id in 2 rows (row 5, 6)" in contest.refusal()


def test_a_row_for_each_image_and_class_asks_for_the_probability_of_each(contest):
    contest.train(["cat", "dog", "owl"]).images("test/t0.png", "test/t1.png")
    rows = [[f"t{image}_{name}", 0.3] for image in range(2) for name in ("owl", "cat", "dog")]
    loaded = contest.table("sample_submission.csv", ["id", "prob"], rows).load()
    assert (loaded.task.kind, loaded.form.kind, loaded.test.ids) == ("multiclass", "probability", ("t0", "t1"))
    assert loaded.form.row_targets.tolist() == [2, 0, 1] * 2


def test_a_test_table_may_tell_image_and_target_of_each_row(contest):
    contest.images("train/x.png", "train/y.png", "train/z.png", "test/u.png")
    header = ["image", "root", "vowel", "text"]
    contest.table("train.csv", header, [["x", 0, 2, "k"], ["y", 5, 1, "l"], ["z", 5, 2, "m"]])
    contest.table("test.csv", ["row", "image", "part"], [["u_vowel", "u", "vowel"], ["u_root", "u", "root"]])
    loaded = contest.table("sample_submission.csv", ["row", "target"], [["u_root", 0], ["u_vowel", 0]]).load()
    assert (loaded.task.kind, loaded.task.targets, loaded.classes) == ("multioutput", ("root", "vowel"), (0, 1, 2, 5))
    assert loaded.train.labels.tolist() == [[0, 2], [3, 1], [3, 2]]
    assert loaded.test.ids == ("u",)
    assert (loaded.form.kind, loaded.form.cases, loaded.form.row_targets.tolist()) == ("class", ("u", "u"), [0, 1])


# --- what is exchanged when the contest is scored


def test_a_placeholder_of_one_row_is_enough_to_train_and_other_images_are_answered_later(contest):
    contest.train([0, 1, 0, 1]).sample(0.5, rows=1)
    before = contest.load()
    after = contest.sample(0.5, rows=5).load()
    assert len(before.test) == 1 and len(after.test) == len(after.form) == 5
    assert (before.task, before.form.kind) == (after.task, after.form.kind)
    assert np.array_equal(before.train.labels, after.train.labels)


def test_a_submission_in_the_folder_is_not_the_training_table(contest):
    contest.train(CATS).images("test/a.png")
    for name in ("sample_submission.csv", "submission.csv"):
        contest.table(name, ["id", "cat", "dog"], [["a.png", 0.5, 0.5]])
    assert len(contest.load().train) == len(CATS)


def test_train_and_test_may_call_the_column_of_images_otherwise(contest):
    contest.images(*(f"train/{number}.png" for number in range(4)))
    contest.table("train.csv", ["file_name", "label"], [[f"train/{number}.png", number % 2] for number in range(4)])
    contest.table("test.csv", ["id"], [["test/t1.png"], ["test/t0.png"]]).images("test/t0.png", "test/t1.png")
    contest.table("sample_submission.csv", ["id", "label"], [["test/t1.png", 0], ["test/t0.png", 0]])
    loaded = contest.load()
    assert [path.name for path in (*loaded.train.paths[:2], *loaded.test.paths)] == [
        "0.png",
        "1.png",
        "t1.png",
        "t0.png",
    ]
    assert loaded.submission_ids == ("test/t1.png", "test/t0.png")


def test_a_column_may_name_the_target_of_each_row(contest):
    targets, header = ("dry", "green"), ["id", "path", "state", "target", "value"]
    rows = [(f"{n}__{t}", f"train/{n}.png", "Vic", t, n + 0.5 * p) for n in range(30) for p, t in enumerate(targets)]
    contest.images("test/a.png", *(f"train/{number}.png" for number in range(30))).table("train.csv", header, rows)
    contest.table("test.csv", ["id", "path", "target"], [[f"a__{t}", "test/a.png", t] for t in targets])
    contest.table("sample_submission.csv", ["id", "value"], [[f"a__{target}", 0] for target in reversed(targets)])
    loaded = contest.load()
    assert (loaded.task.kind, loaded.classes, loaded.train.labels[3].tolist()) == ("continuous", targets, [3, 3.5])
    assert (loaded.form.kind, loaded.form.ids, loaded.form.cases) == (
        "number",
        ("a__green", "a__dry"),
        ("test/a.png",) * 2,
    )
    assert loaded.form.row_targets.tolist() == [1, 0]


def test_a_list_of_corrections_may_name_images_that_are_gone(contest):
    contest.images(*(f"train/{kind}/{kind}{number}.png" for kind in "ab" for number in range(12)))
    contest.table("fixed_labels.csv", ["filename", "old", "new"], [["a3.png", "b", "a"], ["gone.png", "a", "b"]])
    assert len(contest.sample(0.5, 0.5, header=["image", "a", "b"]).load().train) == 24


@pytest.mark.parametrize("name", ["EncodedPixels", "rle", "rle_mask", "segmentation", "PredictionString"])
def test_a_sample_that_asks_for_parts_of_images_is_refused(contest, name):
    assert f"'{name}' asks for masks or boxes" in contest.train(CATS).sample("1 1", header=["id", name]).refusal()


def test_a_spreadsheet_in_place_of_the_table_is_to_be_saved_as_csv(contest):
    contest.train(["a", "b", "a", "b"]).sample("a")
    (contest.folder / "train.csv").rename(contest.folder / "train.xlsx")
    assert contest.refusal().endswith("; save train.xlsx as CSV")


def test_tables_of_the_splits_may_have_a_name_in_common(contest):
    rows = [["0.png", "cat", 7], ["1.png", "dog", 8], ["2.png", "cat", 8], ["3.png", "dog", 9]]
    contest.images(*(f"images/{number}.png" for number in range(6)))
    contest.table("zoo-Train.csv", ["file", "label", "seenID"], rows[:2])
    contest.table("zoo-Val.csv", ["file", "label", "seenID"], rows[2:])
    contest.table("zoo-Test.csv", ["file", "seenID"], [["4.png", 10], ["5.png", 10]])
    loaded = contest.table("sample_submission.csv", ["seenId", "label"], [["10", "cat"]]).load()
    assert (len(loaded.train), len(loaded.val), loaded.submission_ids) == (2, 2, ("10",))
    assert loaded.test.cases == ("10", "10")


def test_a_contest_whose_images_are_not_in_its_files_is_refused(contest):
    contest.text("train/a.mp4", "video").text("test/b.mp4", "video")
    contest.table("sample_submission.csv", ["filename", "label"], [["b.mp4", 0.5]])
    assert "no images there (nor can 2 .mp4 there be read)" in contest.refusal()


def test_images_of_what_is_asked_about_stay_on_one_side_of_a_split(contest):
    contest.images(*(f"images/{number}.png" for number in range(8)))
    rows = [[f"p{number // 2}", f"{number}.png", "ab"[number // 2 % 2]] for number in range(8)]
    contest.table("train.csv", ["product", "file", "label"], rows[:4])
    contest.table("test.csv", ["product", "file"], [row[:2] for row in rows[4:]])
    loaded = contest.table("sample_submission.csv", ["product", "label"], [["p2", "a"], ["p3", "a"]]).load()
    assert (loaded.train.groups, loaded.test.cases) == (("p0", "p0", "p1", "p1"), ("p2", "p2", "p3", "p3"))
    assert "images with the same 'product' stay on one side of every split" in loaded.found


def test_a_testing_set_lists_the_test_images(contest):
    contest.images("test/a.png", "test/b.png").train(CATS, name="Training_set.csv")
    loaded = contest.table("Testing_set.csv", ["id"], [["b.png"], ["a.png"]]).load()
    assert loaded.submission_ids == ("b.png", "a.png")
