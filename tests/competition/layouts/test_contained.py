"""Contests whose images lie in containers, with labels of their own or those of a table."""

import numpy as np
import pytest

PIXELS = [f"pixel{place}" for place in range(64)]


def pixels(rows: int, seed: int) -> list[list[int]]:
    return np.random.default_rng(seed).integers(0, 256, (rows, 64)).tolist()


@pytest.fixture
def digits(contest):
    """A column a pixel, without ids."""
    contest.table("train.csv", ["label", *PIXELS], [[row % 3, *cells] for row, cells in enumerate(pixels(9, 0))])
    return contest.table("test.csv", PIXELS, pixels(2, 1))


def test_pixels_in_columns_are_images_with_the_label_beside_them(digits):
    loaded = digits.table("sample_submission.csv", ["ImageId", "Label"], [[1, 0], [2, 0]]).load()
    assert (loaded.classes, len(loaded.train), len(loaded.test)) == ((0, 1, 2), 9, 2)
    assert loaded.train.labels.tolist() == [0, 1, 2] * 3
    assert (loaded.form.kind, loaded.form.ids, loaded.form.cases) == ("class", ("1", "2"), ("1", "2"))
    assert all(path.is_file() for path in (*loaded.train.paths, *loaded.test.paths))
    assert "train.csv: 9 images in a container (CSV of pixels)" in loaded.found


def test_the_images_go_where_they_may(digits, tmp_path):
    digits.table("sample_submission.csv", ["ImageId", "Label"], [[1, 0], [2, 0]])
    loaded = digits.load(derived=tmp_path / "elsewhere")
    assert all(path.is_relative_to(tmp_path / "elsewhere") for path in loaded.train.paths)
    assert not (digits.folder / ".images").exists()


def test_a_submission_without_ids_counts_by_the_rows_of_the_container(digits):
    form = digits.table("example_submission.csv", [], [[0], [0]]).load().form
    assert (form.header, form.ids, form.cases) == ((), (), ("1", "2"))


def test_pixels_in_a_cell_are_images(contest):
    rows = [[row % 2, " ".join(map(str, cells))] for row, cells in enumerate(pixels(6, 0))]
    contest.table("train.csv", ["emotion", "pixels"], rows)
    contest.table("test.csv", ["pixels"], [[" ".join(map(str, cells))] for cells in pixels(2, 1)])
    loaded = contest.table("example_submission.csv", [], [[0], [0]]).load()
    assert (loaded.classes, loaded.train.labels.tolist()) == ((0, 1), [0, 1] * 3)


def test_bands_in_json_are_images(contest):
    def records(count: int, seed: int, **more: object) -> list[dict]:
        bands = np.random.default_rng(seed).normal(-20, 5, (count, 2, 64)).tolist()
        return [{"id": f"{seed}x{n}", "band_1": a, "band_2": b, **more} for n, (a, b) in enumerate(bands)]

    labelled = [{**record, "is_iceberg": number % 2} for number, record in enumerate(records(6, 0, inc_angle=39.5))]
    contest.json("train.json", labelled).json("test.json", records(2, 1, inc_angle="na"))
    contest.table("sample_submission.csv", ["id", "is_iceberg"], [["1x1", 0.5], ["1x0", 0.5]])
    loaded = contest.load()
    assert (loaded.classes, loaded.form.kind) == ((0, 1), "probability")
    assert loaded.train.ids[0] == "0x0"
    assert loaded.form.cases == ("1x1", "1x0")


def test_images_in_hdf5_belong_to_the_rows_of_a_table(contest):
    h5py = pytest.importorskip("h5py")
    image = contest.images("seen.png").folder / "seen.png"
    for part, names in (("train", "abcd"), ("test", "ef")):
        with h5py.File(contest.folder / f"{part}-image.hdf5", "w") as file:
            for name in names:
                file.create_dataset(name, data=np.void(image.read_bytes()))
    image.unlink()
    contest.table(
        "train-metadata.csv", ["isic_id", "target", "age"], [["d", 1, 60], ["a", 0, 50], ["b", 0, 40], ["c", 1, 30]]
    )
    contest.table("test-metadata.csv", ["isic_id", "age"], [["f", 5], ["e", 6]])
    loaded = contest.table("sample_submission.csv", ["isic_id", "target"], [["e", 0.3], ["f", 0.3]]).load()
    assert loaded.train.ids == ("d", "a", "b", "c")
    assert [path.stem for path in loaded.train.paths] == ["d", "a", "b", "c"]
    assert (loaded.test.ids, loaded.form.ids) == (("f", "e"), ("e", "f"))


def test_images_without_ids_are_those_of_the_sample_in_order(digits):
    form = digits.table("sample_submission.csv", ["Id", "Label"], [["b", 0], ["a", 0]]).load().form
    assert (form.ids, form.cases) == (("b", "a"), ("b", "a"))


def test_a_container_of_no_split_is_not_predicted(contest):
    contest.table("digits.csv", ["label", *PIXELS], [[row % 3, *cells] for row, cells in enumerate(pixels(9, 0))])
    assert "the images to predict are listed in test.csv or a sample submission" in contest.refusal()
