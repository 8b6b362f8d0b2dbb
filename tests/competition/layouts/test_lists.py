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


@pytest.mark.parametrize("content", ['{"0": "cat", "1": {"a": 1}}', '{"0": "cat"', "[]", '"text"'])
def test_other_json_is_left_alone(listed, content):
    listed.text("train.json", content)
    assert "no train.csv there (did you mean 'train.json'?)" in listed.refusal()
