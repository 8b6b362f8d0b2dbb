"""JSON records with bands of numbers."""

import json

import numpy as np
import pytest
from PIL import Image

from competition.containers import extract, read_container
from competition.errors import UserError
from tests.competition.containers.conftest import known, picture


def records(count: int = 5, scale: float = 0.1) -> list[dict]:
    return [
        {
            **{"id": f"r{n}", "band_1": (picture(n, 8, 8) * scale - 35).ravel().tolist()},
            **{"band_2": (picture(n + 50, 8, 8) * scale - 38).ravel().tolist(), "inc_angle": "na" if n else 34.5},
        }
        for n in range(count)
    ]


def test_two_bands_and_their_mean_are_scaled_by_percentiles_over_all_records(tmp_path, extracted):
    (tmp_path / "train.json").write_text(json.dumps(records()))
    found = known(tmp_path / "train.json")
    assert found.columns.head(2).to_dict("list") == {"id": ["r0", "r1"], "inc_angle": ["34.5", "na"]}
    images = extracted([tmp_path / "train.json"])
    bands = np.array([[record["band_1"], record["band_2"]] for record in records()]).transpose(0, 2, 1)
    low, high = np.percentile(bands, (0.5, 99.5), axis=(0, 1))
    expected = np.clip((bands - low) * 255 / (high - low), 0, 255).reshape(5, 8, 8, 2)
    for number in range(5):
        assert np.abs(images[f"r{number}"][..., :2] - expected[number]).max() <= 0.51
        assert np.abs(images[f"r{number}"][..., 2] - expected[number].mean(2)).max() <= 1.51


def test_test_records_have_the_scale_of_the_training_records(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(records()))
    (tmp_path / "test.json").write_text(json.dumps(records(2, scale=0.01)))
    train, test = known(tmp_path / "train.json"), known(tmp_path / "test.json")
    dark = extract([test], tmp_path / "scaled", scaled_by=[train])
    own = extract([test], tmp_path / "own")
    brightest = [np.asarray(Image.open(table["file"][0])).max() for table in (dark, own)]
    assert brightest[0] < 40 and brightest[1] == 255


@pytest.mark.parametrize("separator", ["\n", ",\n ", ","])
def test_a_record_a_line_and_bands_of_rows_are_read_too(tmp_path, extracted, separator):
    rows = [json.dumps({"name": f"r{n}", "pixels": picture(n).tolist()}) for n in range(3)]
    text = "\n".join(rows) + "\n" if separator == "\n" else f" [ {separator.join(rows)} ] "
    (tmp_path / "train.json").write_text(text)
    assert np.array_equal(extracted([tmp_path / "train.json"])["r2"], picture(2))


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []},
        *([{"id": 1, "file_name": "a.jpg", "box": [1, 2, 3, 4]}], {"0": "cat"}, [], [1, 2], "text"),
    ],
)
def test_other_json_is_no_container(tmp_path, content):
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert read_container(tmp_path / "train.json") is None


def test_json_that_is_cut_short_is_named(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps(records())[:-200])
    with pytest.raises(UserError, match=r"train\.json: not a complete JSON"):
        read_container(tmp_path / "train.json")
