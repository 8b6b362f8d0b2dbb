"""Lists of images and their labels that are no CSV: lines of text, JSON."""

import pytest

LISTS = {
    "blanks": ("train.txt", "0.png cat\n1.png dog\n2.png cat\n3.png dog\n"),
    "tabs, after the folder": (
        "labels.txt",
        "train/0.png\tcat\ntrain/1.png\tdog\n\ntrain/2.png\tcat\ntrain/3.png\tdog",
    ),
    "an object": ("train.json", '{"0.png": "cat", "1.png": "dog", "2": "cat", "3": "dog"}'),
    "records": (
        "labels.json",
        "[" + ", ".join(f'{{"id": {n}, "label": "{c}"}}' for n, c in enumerate(["cat", "dog"] * 2)) + "]",
    ),
}


@pytest.fixture
def listed(contest):
    contest.images(*(f"train/{number}.png" for number in range(4)))
    return contest.sample("cat")


@pytest.mark.parametrize(("name", "content"), LISTS.values(), ids=LISTS)
def test_a_list_says_the_label_of_each_image(listed, name, content):
    loaded = listed.text("classes.txt", "cat\ndog\n").text(name, content).load()
    assert (loaded.classes, loaded.train.labels.tolist()) == (("cat", "dog"), [0, 1, 0, 1])
    assert [path.name for path in loaded.train.paths] == ["0.png", "1.png", "2.png", "3.png"]
    assert f"{name} holds the training images" in loaded.found


def test_a_list_of_labels_of_an_image_in_json_is_several_labels(listed):
    loaded = listed.json("train.json", {"0": ["cat", "old"], "1": ["dog"], "2": ["cat"], "3": ["dog", "old"]}).load()
    assert loaded.train.labels.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1]]
    assert (loaded.form.kind, loaded.form.separator) == ("labels", " ")


def test_lists_without_labels_say_what_to_predict(contest):
    contest.images("train/1.png", "train/2.png", "validation/3.png", "test/4.png", "test/5.png")
    contest.text("train.txt", "1.png,0\n2.png,1\n").text("validation.txt", "3.png,1\n").text(
        "test.txt", "5.png\n4.png\n"
    )
    loaded = contest.load()
    assert (loaded.train.ids, loaded.val.ids, loaded.val.labels.tolist()) == (("1.png", "2.png"), ("3.png",), [1])
    assert loaded.submission_ids == ("5.png", "4.png")


def test_text_with_a_header_is_a_table(contest):
    contest.images(*(f"data/{number:03}.png" for number in range(6)))
    contest.text("train_labels.txt", "id,class\n000,0\n001,1\n002,0\n").text(
        "validation_labels.txt", "id,class\n003,1\n"
    )
    loaded = (
        contest.text("sample_submission.txt", "id,class\n004,0\n005,0\n").text("README.txt", "Hello, you\nbye").load()
    )
    assert (len(loaded.train), len(loaded.val), loaded.submission_ids) == (3, 1, ("004", "005"))


@pytest.mark.parametrize("content", ['{"0": "cat", "1": {"a": 1}}', '{"0": "cat"', "[]", '"text"'])
def test_other_json_is_left_alone(listed, content):
    listed.text("train.json", content)
    assert "no train.csv there (did you mean 'train.json'?)" in listed.refusal()
