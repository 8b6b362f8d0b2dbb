"""Annotations in JSON as COCO has them, in the variants of the contests."""

import pytest

NAMES = {2: "Abies", 31: "Pinus", 204: "Picea"}


def coco(images: dict, labels: dict, **more: object) -> dict:
    """images: file names by id. labels: categories by image id."""
    return {
        "images": [{"file_name": file, "id": number, "height": 2, "width": 2} for number, file in images.items()],
        "annotations": [
            {"category_id": label, "id": place, "image_id": number}
            for place, (number, label) in enumerate(labels.items())
        ],
        "categories": [{"id": number, "name": name} for number, name in NAMES.items()],
        **more,
    }


def test_images_annotations_and_categories_are_read_with_gaps_in_their_numbers(contest):
    files = {10: "images/000/10.png", 41: "images/000/41.png", 72: "images/001/72.png"}
    contest.json("train/metadata.json", coco(files, {10: 31, 41: 204, 72: 31})).images(
        *(f"train/{f}" for f in files.values())
    )
    contest.json("test/metadata.json", {"images": [{"file_name": "images/0.png", "id": "0"}]}).images(
        "test/images/0.png"
    )
    loaded = contest.table("sample_submission.csv", ["Id", "Predicted"], [[0, 31]]).load()
    assert loaded.classes == (31, 204)
    assert loaded.train.ids == ("10", "41", "72")
    assert loaded.train.paths[2] == contest.folder / "train/images/001/72.png"
    assert loaded.train.labels.tolist() == [0, 1, 0]
    assert loaded.form.ids == loaded.test.ids == ("0",)
    assert "metadata.json: annotations of 3 images (Abies, Picea, Pinus)" in loaded.found


def test_train_validation_and_test_may_be_told_by_the_names_of_the_files(contest):
    files = {number: f"train_val2019/{number}.png" for number in range(6)}
    contest.images(*files.values(), "test2019/9.png")
    for split, numbers in (("train", range(4)), ("val", (4, 5))):
        labels = {number: (2, 31)[number % 2] for number in numbers}
        contest.json(f"{split}2019.json", coco({number: files[number] for number in numbers}, labels))
    contest.json("test2019.json", {"images": [{"file_name": "test2019/9.png", "id": 9}], "annotations": []})
    loaded = contest.table("kaggle_sample_submission.csv", ["id", "predicted"], [[9, "2 31 204"]]).load()
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (4, 2, 1)
    assert (loaded.form.kind, loaded.form.most) == ("ranking", 3)


def test_other_names_of_the_keys_and_a_bare_list_of_test_images_are_read(contest):
    images = [{"image_id": f"{k}__{n}", "file_name": f"{k}/{n}.png"} for k in (2, 31) for n in range(2)]
    notes = [{"category_id": int(image["image_id"].split("_")[0]), "image_id": image["image_id"]} for image in images]
    categories = [
        {"category_id": 2, "scientificName": "Abies alba"},
        {"category_id": 31, "scientificName": "Pinus mugo"},
    ]
    contest.json("train_metadata.json", {"images": images, "annotations": notes, "categories": categories})
    contest.json("test_metadata.json", [{"image_id": "0", "file_name": "000/test-0.png"}])
    contest.images(*(f"train_images/{image['file_name']}" for image in images), "test_images/000/test-0.png")
    loaded = contest.table("sample_submission.csv", ["Id", "Predicted"], [[0, 2]]).load()
    assert (loaded.classes, loaded.test.ids) == ((2, 31), ("0",))
    assert loaded.train.paths[0] == contest.folder / "train_images/2/0.png"
    assert "Abies alba" in loaded.found[0]


@pytest.mark.parametrize("ending", ["", ".png"])
def test_the_sample_may_call_images_by_their_files(contest, ending):
    contest.images("train/a.png", "train/b.png", "test/0/c.png", "test/0/d.png")
    contest.json(
        "train.json",
        {
            "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
            "annotations": [{"image_id": 1, "category_id": 5}, {"image_id": 2, "category_id": 7}],
        },
    )
    contest.json("test.json", {"images": [{"id": 3, "file_name": "0/c.png"}, {"id": 4, "file_name": "0/d.png"}]})
    loaded = contest.table("sample_submission.csv", ["Id", "Category"], [[f"d{ending}", 5], [f"c{ending}", 5]]).load()
    assert loaded.form.ids == (f"d{ending}", f"c{ending}")
    assert dict(zip(loaded.test.cases, (path.stem for path in loaded.test.paths), strict=True))[f"d{ending}"] == "d"


def test_several_categories_of_an_image_are_several_labels(contest):
    content = coco({n: f"{n}.png" for n in range(3)}, {0: 2, 1: 31, 2: 2})
    content["annotations"].append({"category_id": 31, "id": 7, "image_id": 2})
    contest.json("train.json", content).images(*(f"train/{n}.png" for n in range(3)))
    loaded = contest.sample("2 31", header=["id", "labels"]).load()
    assert (loaded.task.kind, loaded.train.labels.tolist()) == ("multilabel", [[1, 0], [0, 1], [1, 1]])


def test_a_missing_file_and_broken_json_are_refused(contest):
    contest.json("train.json", coco({1: "1.png", 2: "2.png"}, {1: 2, 2: 31})).images("train/1.png").sample(2)
    assert "train.json: no file for 1 image (2.png)" in contest.refusal()
    contest.text("train.json", '{"images": [{"file_name": "1.png"')
    assert "train.json: not JSON" in contest.refusal()


def test_categories_are_called_as_the_sample_calls_them(contest):
    contest.json("train.json", coco({1: "1.png", 2: "2.png"}, {1: 2, 2: 31})).images("train/1.png", "train/2.png")
    loaded = contest.sample(0.5, 0.5, 0, header=["id", "Pinus", "Abies", "Picea"]).load()
    assert (loaded.classes, loaded.form.order) == (("Abies", "Picea", "Pinus"), (2, 0, 1))
    assert loaded.train.labels.tolist() == [0, 2]
