"""Public data sets as competitions: complete, shuffled, and with nothing that tells a test image's class."""

import csv
import gzip
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition.datasets import Pictures, idx_pictures, write_competition, write_dataset
from competition.errors import UserError
from competition.layouts import load_competition

CLASSES = ("ant", "bee")


def pictures(count: int, channels: int = 3) -> Pictures:
    """Image ``i`` shows the value ``i`` everywhere (in blue only, where it has colours)."""

    def read(row: int) -> np.ndarray:
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[..., 0] = row
        return picture if channels == 3 else picture[..., 0]

    return Pictures([CLASSES[row % 2] for row in range(count)], read)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def written(tmp_path):
    folder, answers = tmp_path / "zoo", tmp_path / "answers" / "zoo.csv"
    folder.mkdir()
    write_competition("zoo", pictures(40), pictures(20), folder, answers)
    return folder, answers


def test_a_written_data_set_is_a_competition(written):
    competition = load_competition(written[0])
    assert (len(competition.train), len(competition.val), len(competition.test)) == (40, 0, 20)
    assert competition.classes == CLASSES
    assert competition.submission_ids == competition.test.ids


def test_images_are_written_with_their_labels_and_values(written):
    competition = load_competition(written[0])
    for path, label in zip(competition.train.paths, competition.train.labels, strict=True):
        picture = cv2.imread(str(path))
        assert picture[0, 0, 0] % 2 == label
        assert (picture[..., 1:] == 0).all()


def test_grey_images_are_written_as_grey(tmp_path):
    (tmp_path / "zoo").mkdir()
    write_competition("zoo", pictures(4, channels=1), pictures(4), tmp_path / "zoo", tmp_path / "answers.csv")
    picture = cv2.imread(str(tmp_path / "zoo" / "train_images" / "00000.png"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (8, 8)


def test_answers_hold_the_test_labels_and_which_are_public(written):
    folder, answers = written
    rows = rows_of(answers)
    assert [row["Image"] for row in rows] == list(load_competition(folder).test.ids)
    assert [row["Usage"] for row in rows].count("Public") == 6
    assert [row["Usage"] for row in rows].count("Private") == 14
    for row in rows:
        value = cv2.imread(str(folder / "test_images" / row["Image"]))[0, 0, 0]
        assert row["Class"] == CLASSES[value % 2]


def test_nothing_about_a_test_image_tells_its_class(written):
    folder, _ = written
    test = load_competition(folder).test
    assert all(re.fullmatch(r"[0-9a-f-]{36}\.png", image_id) for image_id in test.ids)
    values = [int(cv2.imread(str(path))[0, 0, 0]) for path in test.paths]
    assert sorted(values) == list(range(20)) != values
    assert {row["Class"] for row in rows_of(folder / "sample_submission.csv")} == {"ant"}


def test_writing_twice_gives_the_same_names_and_labels(written, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    write_competition("zoo", pictures(40), pictures(20), again, tmp_path / "answers" / "again.csv")
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        assert (again / name).read_bytes() == (written[0] / name).read_bytes()
    assert (tmp_path / "answers" / "again.csv").read_bytes() == written[1].read_bytes()


def write_idx(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> None:
    for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
        (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes()))


def test_idx_files_are_read_with_their_numbers_as_labels(tmp_path):
    images = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    write_idx(tmp_path, "train", images, np.array([9, 0, 4], np.uint8))
    part = idx_pictures(tmp_path, "train")
    assert part.labels == [9, 0, 4]
    assert (part.read(2) == images[2]).all()


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"\0\0\x08\x03\0\0"), gzip.compress(b"\0")],
    ids=["empty", "no gzip", "cut header", "no header"],  # all test processes must name them alike
)
def test_a_broken_idx_file_is_refused(tmp_path, content):
    write_idx(tmp_path, "train", np.zeros((1, 2, 2), np.uint8), np.zeros(1, np.uint8))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz: not a complete idx file"):
        idx_pictures(tmp_path, "train")


@pytest.mark.parametrize("name", ["cifar10", "eurosat"])
def test_a_fetch_that_fails_says_so_and_leaves_nothing(tmp_path, monkeypatch, name):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    fetched = tmp_path / ".fetched"
    with pytest.raises(UserError, match=f"the data set {name} could not be downloaded .*with --data") as caught:
        write_dataset(name, tmp_path / name, tmp_path / "answers.csv", fetched)
    assert len(str(caught.value).splitlines()) == 1
    assert list(fetched.iterdir()) == []


def write_eurosat(fetched: Path, names: tuple[str, ...]) -> Path:
    """Ten images a class, where torchvision looks for them; image values are 50 times the label."""
    images = fetched / "eurosat" / "eurosat" / "2750"
    for value, name in enumerate(names):
        (images / name).mkdir(parents=True)
        for number in range(10):
            cv2.imwrite(str(images / name / f"{name}_{number}.png"), np.full((8, 8, 3), 50 * value, np.uint8))
    return images


def test_an_unreadable_image_of_a_data_set_is_refused_with_its_path(tmp_path):
    broken = write_eurosat(tmp_path / ".fetched", ("Forest", "River")) / "River" / "River_3.png"
    broken.write_bytes(b"no image")
    (tmp_path / "eurosat").mkdir()
    with pytest.raises(UserError, match=r"River_3\.png: not a readable image; remove the data set's folder"):
        write_dataset("eurosat", tmp_path / "eurosat", tmp_path / "answers.csv", tmp_path / ".fetched")


def test_eurosat_keeps_a_fifth_of_every_class_for_the_test(tmp_path):
    names = ("Forest", "River", "SeaLake")
    write_eurosat(tmp_path / ".fetched", names)
    folder, answers = tmp_path / "eurosat", tmp_path / "answers" / "eurosat.csv"
    folder.mkdir()
    write_dataset("eurosat", folder, answers, tmp_path / ".fetched")
    competition = load_competition(folder)
    assert np.bincount(competition.train.labels).tolist() == [8, 8, 8]
    assert sorted(row["Class"] for row in rows_of(answers)) == sorted(names * 2)
    for path, label in zip(competition.train.paths, competition.train.labels, strict=True):
        assert cv2.imread(str(path))[0, 0, 0] == 50 * label
