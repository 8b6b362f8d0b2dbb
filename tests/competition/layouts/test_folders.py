"""Contests without a table of labels: a folder for each class, or the class in the name of the file."""

import pytest


def test_a_folder_for_each_class_is_read_with_blanks_in_the_names(contest):
    contest.images(*(f"train/{kind}/{number}.png" for kind in ("Fat Hen", "Maize") for number in range(3)))
    loaded = contest.sample("Maize", header=["file", "species"]).load()
    assert loaded.classes == ("Fat Hen", "Maize")
    assert loaded.train.ids[:2] == ("Fat Hen/0.png", "Fat Hen/1.png")
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.form.header == ("file", "species")
    assert "no table of labels: a folder for each class (2 classes: Fat Hen, Maize)" in loaded.found


def test_folders_of_a_split_are_validation(contest):
    for split in ("train", "val"):
        contest.images(*(f"{split}/{kind}/{number}.png" for kind in "ab" for number in range(2)))
    loaded = contest.sample("a").load()
    assert (len(loaded.train), len(loaded.val)) == (4, 4)
    assert loaded.val.labels.tolist() == [0, 0, 1, 1]


def test_the_folder_of_the_test_images_is_named_not_one_in_it(contest):
    contest.images(
        *(f"{split}/{kind}/{split}{number}.png" for split in ("train", "test") for kind in "ab" for number in (1, 2))
    )
    assert "no table of the test images and no sample: the 4 files of test are predicted" in contest.load().found


def test_folders_between_the_split_and_the_classes_do_not_matter(contest):
    contest.images(*(f"data/train/images/{kind}/{number}.png" for kind in "ab" for number in range(2)))
    assert contest.sample("a").load().classes == ("a", "b")


def test_classes_may_be_told_by_an_outer_folder(contest):
    contest.images(*(f"train/{kind}/{number}/x.png" for kind in "ab" for number in range(2)))
    contest.images("test/t.png")
    assert contest.load().classes == ("a", "b")


def test_of_nested_folders_the_sample_shows_which_are_the_classes(contest):
    contest.images(*(f"train/part{part}/{kind}/{number}.png" for part in "12" for kind in "ab" for number in range(2)))
    assert contest.sample("a").load().classes == ("a", "b")


def test_images_of_the_same_name_in_several_class_folders_stay_together(contest):
    contest.images(*(f"train/{kind}/{number}.png" for kind in ("cover", "hidden") for number in range(3)))
    assert contest.sample("cover").load().train.groups == ("0.png", "1.png", "2.png") * 2


def test_a_known_contest_says_which_folder_stands_for_0(contest):
    contest.images(*(f"{kind}/{number}.png" for kind in ("Cover", "JMiPOD", "UERD") for number in range(3)))
    loaded = contest.sample(0.5, header=["Id", "Label"]).load("alaska2-image-steganalysis")
    assert (loaded.classes, loaded.form.kind, loaded.metric.name) == ((0, 1), "probability", "weighted-auc")
    assert loaded.train.labels.tolist() == [0] * 3 + [1] * 6


def test_class_folders_may_lie_beside_that_of_the_test_images(contest):
    contest.images(*(f"{kind}/{kind}{number}.png" for kind in ("cats", "dogs") for number in range(3)))
    loaded = contest.sample("cats").load()
    assert loaded.classes == ("cats", "dogs")
    assert len(loaded.train) == 6


@pytest.mark.parametrize("name", ["{}.{}.png", "{}_{}.png", "{}-{}.png", "{} ({}).png"])
def test_the_class_may_be_in_the_name_of_the_file(contest, name):
    contest.images(*("train/" + name.format(kind, number) for kind in ("cat", "dog") for number in range(3)))
    loaded = contest.sample(0.5).load()
    assert (loaded.classes, loaded.form.kind) == (("cat", "dog"), "probability")
    assert "each row of the submission has the probability of 'dog'" in loaded.found


def test_a_sample_of_numbers_numbers_the_classes_of_folders(contest):
    contest.images(*(f"train/{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)))
    loaded = contest.sample(0).load()
    assert loaded.form.spelled == {"cat": "0", "dog": "1"}
    assert "the sample spells 'dog' as '1'" in loaded.found


def test_a_wide_sample_names_the_classes_of_folders(contest):
    contest.images(*(f"train/{kind}/{number}.png" for kind in ("c0", "c1") for number in range(2)))
    loaded = contest.sample(0.5, 0.5, header=["img", "c1", "c0"]).load()
    assert (loaded.classes, loaded.form.kind, loaded.form.order) == (("c0", "c1"), "columns", (1, 0))


def test_images_without_any_label_are_refused_with_what_is_missing(contest):
    contest.images("train/a.png", "train/b.png").sample("cat")
    message = contest.refusal()
    assert (
        "no train.csv there, only sample_submission.csv, test, train; a competition's folder holds a table" in message
    )
    assert "a folder of images for each class, or annotations" in message


def test_a_folder_of_unlabelled_images_is_no_class(contest):
    contest.images(*(f"train/labeled/{kind}/{kind}{number}.png" for kind in ("00", "01") for number in range(3)))
    loaded = contest.images("train/unlabeled/00/u1.png", "train/unlabeled/00/u2.png").sample("cat").load()
    assert (loaded.classes, len(loaded.train)) == (("00", "01"), 6)


def test_a_sample_may_spell_the_numbers_of_folders_without_their_zeros(contest):
    contest.images(*(f"train/{kind}/{kind}{number}.png" for kind in ("00", "07") for number in range(3)))
    assert contest.sample(0).load().form.spelled == {"00": "0", "07": "7"}


def test_a_number_may_be_the_class_in_the_name_of_the_file_if_the_sample_shows_it(contest):
    contest.images(*(f"train/{kind}_{number}.png" for kind in (0, 10) for number in range(3)))
    assert contest.sample(0).load().classes == (0, 10)
    assert "no train.csv there" in contest.sample("cat").refusal()


@pytest.mark.parametrize(
    ("name", "content"),
    [("names.json", '{"1": "rose", "2": "lily"}'), ("words.txt", "1\tfish, carp\n2\tfrog\n9\tnewt\n")],
)
def test_a_list_of_what_class_folders_are_called_is_no_training_table(contest, name, content):
    contest.images(*(f"train/{kind}/{kind}{number}.png" for kind in (1, 2) for number in range(3)))
    loaded = contest.text(name, content).sample(1).load()
    assert (loaded.classes, loaded.train.groups, len(loaded.train)) == ((1, 2), None, 6)


def test_masks_beside_their_photos_are_no_images(contest):
    contest.images(
        *(f"train/{kind}/{number}{mask}.png" for kind in "ab" for number in range(3) for mask in ("", "_mask"))
    )
    contest.images("train/a/2_mask_1.png", "train/b/lone_mask.png")
    assert len(contest.sample("a").load().train) == 7
