"""One file for each channel of an image becomes a picture in colour."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.containers import read_container
from tests.competition.containers.conftest import known, picture


def write(folder: Path, channels: list[str], name: str = "{id}_{channel}", suffix: str = ".png") -> None:
    for number, image_id in enumerate(("a-1", "b_2")):
        for place, channel in enumerate(channels):
            path = folder / f"{name.format(id=image_id, channel=channel)}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(10 * number + place)).save(path)


@pytest.mark.parametrize(
    ("channels", "places"),
    [
        (["red", "green", "blue", "yellow"], [0, 1, 2]),
        *(
            (["blue", "green", "red"], [2, 1, 0]),
            (["B02", "B03", "B04", "B8A"], [0, 1, 2]),
            (["w1", "w2", "w3"], [0, 1, 2]),
        ),
    ],
)
@pytest.mark.parametrize(("name", "suffix"), [("{id}_{channel}", ".png"), ("{id}/{id}_{channel}", ".tif")])
def test_channels_are_red_green_and_blue_or_the_first_three(tmp_path, extracted, channels, places, name, suffix):
    write(tmp_path / "train", channels, name, suffix)
    assert known(tmp_path / "train").columns["id"].tolist() == ["a-1", "b_2"]
    images = extracted([tmp_path / "train"])
    assert np.array_equal(images["b_2"], np.dstack([picture(10 + place) for place in places]))


def test_a_coarser_band_is_enlarged(tmp_path, extracted):
    write(tmp_path / "train", ["B02", "B03", "B04"])
    for image_id in ("a-1", "b_2"):
        Image.new("L", (4, 6), 77).save(tmp_path / "train" / f"{image_id}_B04.png")
    assert (extracted([tmp_path / "train"])["a-1"][..., 2] == 77).all()


@pytest.mark.parametrize("channels", [["left", "right"], ["red"], ["1", "2"]])
def test_other_names_with_a_dash_are_no_channels(tmp_path, channels):
    write(tmp_path / "train", channels)
    assert read_container(tmp_path / "train") is None


def test_channels_that_are_not_there_of_every_image_are_no_container(tmp_path):
    write(tmp_path / "train", ["red", "green", "blue"])
    (tmp_path / "train" / "b_2_red.png").unlink()
    assert read_container(tmp_path / "train") is None


def test_ids_have_the_folders_where_files_are_called_the_same_and_several_sites_are_images_of_one_id(
    tmp_path, extracted
):
    for folder, site in (("A-01/Plate1", 1), ("A-01/Plate1", 2), ("A-01/Plate2", 1), ("B-01/Plate1", 1)):
        write(tmp_path / "train", ["w1", "w2", "w3"], f"{folder}/{{id}}_s{site}_{{channel}}")
    ids = known(tmp_path / "train").columns["id"].tolist()
    assert sorted(set(ids)) == [
        f"{place}_{well}" for place in ("A-01_1", "A-01_2", "B-01_1") for well in ("a-1", "b_2")
    ]
    assert (ids.count("A-01_1_a-1"), ids.count("A-01_2_a-1")) == (2, 1)
