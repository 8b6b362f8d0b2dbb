"""Contests go all the way from the ZIP that Kaggle serves, whatever lies in it: from ``train`` to a right submission.

Every class has a shade of grey of its own, so that the simplest model answers nearly all images right.
"""

import csv
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition.sources import open_competition
from competition.submission import check_submission
from tests.commands import succeed
from tests.drawing import Contest

pytestmark = pytest.mark.slow

CLASSES = ("oak", "elm", "ash")
TRAIN, TEST = 36, 18
PLACES = np.arange(TRAIN + TEST) % len(CLASSES)  # the class of each image; the last TEST ones are to be predicted

Answers = dict[str, list[str]]  # the right cells by id
Draw = Callable[[Contest], Answers]


def picture(row: int, side: int = 16) -> np.ndarray:
    """uint8 ``[side, side]``, noise around the shade of the image's class."""
    noise = np.random.default_rng(row).integers(-20, 21, (side, side))
    return (60 + 65 * PLACES[row] + noise).astype(np.uint8)


def put(contest: Contest, name: str, row: int) -> None:
    contest.text(name, cv2.imencode(Path(name).suffix, picture(row))[1].tobytes())


def rows() -> Iterator[tuple[int, str, bool]]:
    """The number, the class and whether it is for training, of each image."""
    return ((row, CLASSES[place], row < TRAIN) for row, place in enumerate(PLACES))


def pack(contest: Contest, name: str, *members: str) -> None:
    """Move files and folders of the contest into an archive beside them."""
    with zipfile.ZipFile(contest.folder / name, "w") as archive:
        for path in sorted(each for member in members for each in [contest.folder / member]):
            for file in [path] if path.is_file() else sorted(path.rglob("*.*")):
                archive.write(file, file.relative_to(contest.folder))
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def one_hot(name: str) -> list[str]:
    return [str(int(name == each)) for each in CLASSES]


def folders_in_archives(contest: Contest) -> Answers:
    """A folder a class and the test images, each in an archive of its own."""
    for row, name, trains in rows():
        put(contest, f"train/{name}/{row}.png" if trains else f"test/{row}.png", row)
    pack(contest, "train.zip", "train")
    pack(contest, "test.zip", "test")
    return sample(contest, {f"{row}.png": [name] for row, name, trains in rows() if not trains}, ["file", "species"])


def classes_in_file_names(contest: Contest) -> Answers:
    """oak.3.jpg; the submission asks for the probability of each class."""
    for row, name, trains in rows():
        put(contest, f"train/{name}.{row}.jpg" if trains else f"test/{row}.jpg", row)
    answers = {str(row): one_hot(name) for row, name, trains in rows() if not trains}
    return sample(contest, answers, ["id", *CLASSES], "0.333")


def annotations_in_json(contest: Contest) -> Answers:
    """Images, annotations and categories as COCO has them; numbers of categories with gaps."""
    for row, _, trains in rows():
        put(contest, f"{'train' if trains else 'test'}_images/{row:05d}.png", row)
    number = {name: 10 * place + 3 for place, name in enumerate(CLASSES)}
    images = [{"id": row, "file_name": f"{row:05d}.png"} for row, *_ in rows()]
    contest.json(
        "train.json",
        {
            "images": images[:TRAIN],
            "annotations": [
                {"id": r, "image_id": r, "category_id": number[name]} for r, name, trains in rows() if trains
            ],
            "categories": [{"id": id, "name": name} for name, id in number.items()],
        },
    )
    contest.json("test.json", {"images": images[TRAIN:]})
    answers = {str(row): [str(number[name])] for row, name, trains in rows() if not trains}
    return sample(contest, answers, ["Id", "Category"])


def pixels_in_columns(contest: Contest) -> Answers:
    """Tables with a column a pixel; the test table has no ids."""
    header = [f"pixel{n}" for n in range(256)]
    values = [picture(row).ravel().tolist() for row in range(len(PLACES))]
    contest.table("train.csv", ["label", *header], [[PLACES[row], *values[row]] for row in range(TRAIN)])
    contest.table("test.csv", header, values[TRAIN:])
    answers = {str(row - TRAIN + 1): [str(PLACES[row])] for row, _, trains in rows() if not trains}
    return sample(contest, answers, ["ImageId", "Label"])


def labels_of_shops(contest: Contest) -> Answers:
    """Two pictures belong to each case; a table links them, and the cases have the labels."""
    links: dict[str, list[list[str]]] = {"train": [], "test": []}
    for row, _, trains in rows():
        part = "train" if trains else "test"
        put(contest, f"{part}_photos/{row}.jpg", row)
        links[part].append([str(row), f"shop{row // 6 * 3 + row % 3}"])
    names = {f"shop{row // 6 * 3 + row % 3}": CLASSES[row % 3] for row in range(len(PLACES))}
    for part, linked in links.items():
        contest.table(f"{part}_photo_to_shop.csv", ["photo_id", "shop_id"], linked)
    shops = {part: sorted({shop for _, shop in linked}) for part, linked in links.items()}
    contest.table("train.csv", ["shop_id", "kind"], [[shop, names[shop]] for shop in shops["train"]])
    return sample(contest, {shop: [names[shop]] for shop in shops["test"]}, ["shop_id", "kind"])


def several_labels_in_a_cell(contest: Contest) -> Answers:
    """Labels in a cell, separated by blanks; train.csv in a folder, the images in a tar archive."""
    bright = {name: f"{name} {'tall' if name == 'ash' else 'small'}" for name in CLASSES}
    for row, _, _ in rows():
        put(contest, f"pictures/{row}.png", row)
    with tarfile.open(contest.folder / "pictures.tar.gz", "w:gz") as archive:
        archive.add(contest.folder / "pictures", "pictures")
    shutil.rmtree(contest.folder / "pictures")
    table = [[f"{row}.png", bright[name]] for row, name, trains in rows() if trains]
    contest.table("tables/Train_Labels.csv", ["image", "labels"], table)
    answers = {f"{row}.png": [bright[name]] for row, name, trains in rows() if not trains}
    return sample(contest, answers, ["image", "labels"])


def probability_of_one_class(contest: Contest) -> Answers:
    """0 or 1 to learn, a probability to hand in; ids without the ending of the files."""
    for row, _, trains in rows():
        put(contest, f"{'train' if trains else 'test'}/{row}.png", row)
    contest.table("labels.csv", ["id", "is_oak"], [[row, int(n == "oak")] for row, n, trains in rows() if trains])
    answers = {str(row): [str(int(name == "oak"))] for row, name, trains in rows() if not trains}
    return sample(contest, answers, ["id", "is_oak"], "0.5")


def stacks_of_arrays(contest: Contest) -> Answers:
    """All images in one array, the labels in a CSV beside it."""
    stack = np.stack([picture(row) for row in range(len(PLACES))])
    for part, some in {"train": stack[:TRAIN], "test": stack[TRAIN:]}.items():
        file = io.BytesIO()
        np.save(file, some)
        contest.text(f"{part}_images.npy", file.getvalue())
    contest.table("train_labels.csv", ["id", "label"], [[row, name] for row, name, trains in rows() if trains])
    answers = {str(row - TRAIN): [name] for row, name, trains in rows() if not trains}
    return sample(contest, answers, ["id", "label"])


def sample(contest: Contest, answers: Answers, header: list[str], cell: str | None = None) -> Answers:
    """Write a sample submission that answers every image alike. Returns the answers."""
    always = next(iter(answers.values()))
    alike = [[name, *([cell] * len(always) if cell else always)] for name in answers]
    contest.table("sample_submission.csv", header, alike)
    return answers


KINDS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        folders_in_archives,
        classes_in_file_names,
        annotations_in_json,
        pixels_in_columns,
        labels_of_shops,
        several_labels_in_a_cell,
        probability_of_one_class,
        stacks_of_arrays,
    )
}


def is_right(given: list[str], wanted: list[str]) -> bool:
    """Whether a row answers as it should; the greatest of several probabilities counts, or a half."""
    if given == wanted:
        return True
    try:
        numbers = [[float(cell) for cell in row] for row in (given, wanted)]
    except ValueError:
        return [set(cell.split()) for cell in given] == [set(cell.split()) for cell in wanted]
    if len(given) > 1:
        return int(np.argmax(numbers[0])) == int(np.argmax(numbers[1]))
    return abs(numbers[0][0] - numbers[1][0]) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_contest_as_it_is_served_is_answered(kind, tmp_path):
    contest = Contest(tmp_path / kind)
    answers = KINDS[kind](contest)
    served = Path(shutil.make_archive(str(tmp_path / f"{kind}"), "zip", contest.folder))
    shutil.rmtree(contest.folder)
    options = ("--competition", served, "--work", tmp_path / "work")
    succeed("train", *options, "--models", "dhc-gaussian-nb")
    submission = Path(succeed("predict", *options, "--no-report").splitlines()[-1])
    check_submission(open_competition(str(served), None, tmp_path / "work"), submission)
    with submission.open(encoding="utf-8", newline="") as file:
        given = {row[0]: row[1:] for row in list(csv.reader(file))[1:]}
    assert given.keys() == answers.keys()
    assert np.mean([is_right(given[name], answers[name]) for name in answers]) > 0.8
