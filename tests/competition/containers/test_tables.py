"""CSV and parquet with pixels in their cells."""

import numpy as np
import pandas as pd
import pytest

from competition.containers import read_container
from competition.errors import UserError
from tests.competition.containers.conftest import known, picture, png

SQUARES = [picture(number, 8, 8) for number in range(3)]


def pixel_table(names: str = "pixel{}", images: list[np.ndarray] = SQUARES) -> pd.DataFrame:
    rows = [image.ravel() for image in images]
    return pd.DataFrame(np.stack(rows), columns=[names.format(place) for place in range(rows[0].size)])


@pytest.mark.parametrize("names", ["pixel{}", "{}", "px_{}", "pixel {}"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_column_a_pixel(tmp_path, extracted, names, delimiter):
    table = pixel_table(names)
    table.insert(0, "label", [3, 0, 7])
    table.to_csv(tmp_path / "train.csv", index=False, sep=delimiter)
    found = known(tmp_path / "train.csv")
    assert found.id_name is None and found.columns.to_dict("list") == {"id": ["1", "2", "3"], "label": ["3", "0", "7"]}
    assert np.array_equal(extracted([tmp_path / "train.csv"])["2"], SQUARES[1])


def test_test_rows_without_anything_but_pixels_are_numbered_through_all_files(tmp_path, extracted):
    for name in ("a.csv", "b.csv"):
        pixel_table().to_csv(tmp_path / name, index=False)
    images = extracted([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert list(images) == ["1", "2", "3", "4", "5", "6"] and np.array_equal(images["4"], SQUARES[0])


@pytest.mark.parametrize(("joint", "column"), [(" ", "pixels"), (", ", " pixels")])
def test_all_pixels_in_a_cell(tmp_path, extracted, joint, column):
    cells = [joint.join(map(str, image.ravel())) for image in SQUARES]
    pd.DataFrame({"emotion": [0, 1, 2], " Usage": "Training", column: cells}).to_csv(tmp_path / "a.csv", index=False)
    assert known(tmp_path / "a.csv").columns.iloc[2].to_dict() == {"id": "3", "emotion": "2", "Usage": "Training"}
    assert np.array_equal(extracted([tmp_path / "a.csv"])["3"], SQUARES[2])


@pytest.mark.parametrize(("height", "width"), [(8, 12), (20, 9), (16, 16)])
def test_the_sides_of_a_picture_are_found_from_its_pixels(tmp_path, extracted, height, width):
    images = [picture(number, height, width) for number in range(3)]
    pixel_table(images=images).to_csv(tmp_path / "a.csv", index=False)
    assert np.array_equal(extracted([tmp_path / "a.csv"])["1"], images[0])


@pytest.mark.parametrize("is_planar", [False, True])
def test_three_times_a_square_is_a_picture_in_colour(tmp_path, extracted, is_planar):
    images = [np.dstack([picture(number + 10 * channel, 8, 8) for channel in range(3)]) for number in range(3)]
    rows = [np.moveaxis(image, -1, 0) if is_planar else image for image in images]
    pixel_table(images=rows).to_csv(tmp_path / "a.csv", index=False)
    assert np.array_equal(extracted([tmp_path / "a.csv"])["3"], images[2])


def test_numbers_of_0_to_1_keep_their_scale(tmp_path, extracted):
    (pixel_table() / 255).to_csv(tmp_path / "a.csv", index=False)
    assert np.array_equal(extracted([tmp_path / "a.csv"])["3"], SQUARES[2])


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"id": ["a.png"], "label": ["cat"]}),
        pd.DataFrame([range(90)], columns=[f"feature{place}" for place in range(90)]),
        pd.DataFrame([range(90)], columns=[str(place * 3) for place in range(90)]),  # pixels without a header
        pd.DataFrame([["cat"] * 90], columns=[str(place) for place in range(90)]),
        pd.DataFrame({"id": ["a"], "boxes": ["1 2 3 4"]}),
    ],
)
def test_other_tables_are_no_containers(tmp_path, table):
    table.to_csv(tmp_path / "train.csv", index=False)
    assert read_container(tmp_path / "train.csv") is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\0\0", b'id,"label\n1,2\n', b"a,b\n1,2,3\n1\n1,2,3,4\n", b"name\n\xe4\n"]
)
def test_what_is_hardly_a_table_is_left_to_others(tmp_path, data):
    (tmp_path / "train.csv").write_bytes(data)
    assert read_container(tmp_path / "train.csv") is None


def test_a_pixel_that_is_no_number_is_named(tmp_path, extracted):
    table = pixel_table(images=SQUARES * 200).astype(str)
    table.iloc[500, 9] = "oops"
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=r"a\.csv: not a complete CSV of pixels \(.*oops"):
        extracted([tmp_path / "a.csv"])


@pytest.fixture
def write_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    return lambda table, name="a.parquet": table.to_parquet(tmp_path / name)


def test_parquet_with_a_column_a_pixel_in_several_files(tmp_path, extracted, write_parquet):
    images = [picture(number, 9, 14) for number in range(4)]
    for name, begin in (("a.parquet", 0), ("b.parquet", 2)):
        table = pixel_table("{}", images[begin : begin + 2])
        table.insert(0, "image_id", [f"Train_{begin}", f"Train_{begin + 1}"])
        write_parquet(table, name)
    assert known(tmp_path / "a.parquet").id_name == "image_id"
    found = extracted([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert list(found) == [f"Train_{number}" for number in range(4)] and np.array_equal(found["Train_3"], images[3])


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: {"bytes": data, "path": "x.png"}])
def test_parquet_with_encoded_images(tmp_path, extracted, write_parquet, wrap):
    write_parquet(pd.DataFrame({"id": ["a", "b"], "image": [wrap(png(0)), wrap(png(1))], "label": [1, 2]}))
    assert known(tmp_path / "a.parquet").columns.to_dict("list") == {"id": ["a", "b"], "label": ["1", "2"]}
    assert np.array_equal(extracted([tmp_path / "a.parquet"])["b"], picture(1))


def test_parquet_without_images_is_no_container_and_a_damaged_one_is_named(tmp_path, write_parquet):
    write_parquet(pd.DataFrame({"id": ["a"], "label": [1]}))
    assert read_container(tmp_path / "a.parquet") is None
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-8])
    with pytest.raises(UserError, match=r"b\.parquet: not a complete parquet file"):
        read_container(tmp_path / "b.parquet")
