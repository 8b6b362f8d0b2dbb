"""Groups are told where they matter, and ordinary file names are no groups."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.spec import Split
from pipeline.findings.finding import Finding
from pipeline.findings.groups import groups
from tests.contest import IDS
from tests.pipeline.findings.looked_at import drawn, labelled

COUNT, OF_GROUP = 200, 5
ALIKE = drawn(COUNT // OF_GROUP, seed=3).repeat(OF_GROUP, axis=0)  # the same picture in each image of a group
NUMBERS = np.arange(COUNT)
CLASSES = NUMBERS % 3


def found(
    names: list[str], tested: Sequence[str] = IDS, images: np.ndarray | None = None, labels: np.ndarray = CLASSES
) -> Finding:
    """The finding about images with these names. tested: the names of the test images."""
    competition, pictures = labelled(drawn(len(names), seed=0) if images is None else images, labels, names)
    test = Split("test", tuple(tested), tuple(Path("test", name) for name in tested))
    return groups(replace(competition, test=test), pictures)


def stems(first: int = 0, count: int = COUNT) -> list[str]:
    return [f"p{first + number // OF_GROUP:03}_{number % OF_GROUP}.png" for number in range(count)]


def test_stems_that_the_contest_kept_apart_are_told_with_the_group_of_each_image():
    finding = found(stems(), tested=stems(first=500, count=50))
    assert "40 groups of 5 images, such as p000; the test has other ones" in finding.told
    assert "--group-column groups.csv" in finding.told
    assert finding.table["group"].tolist() == [name[:4] for name in stems()]


def test_stems_that_the_test_shares_are_no_reason_to_split_by_them():
    assert (
        found(stems(), tested=[f"p{number:03}_7.png" for number in range(40)] + stems()[:40], images=ALIKE).told == ""
    )


def test_stems_of_images_that_look_alike_are_told_where_the_test_images_have_other_names():
    assert "their images are alike" in found(stems(), images=ALIKE).told


def test_stems_of_images_that_share_their_labels_are_told_where_the_test_images_have_other_names():
    assert "their images are alike" in found(stems(), labels=NUMBERS // OF_GROUP % 3).told


@pytest.mark.parametrize(
    "names",
    [
        [f"{number:05}.png" for number in NUMBERS],
        [f"img_{number}.jpg" for number in NUMBERS],
        [f"{'abc'[label]}_{number}.png" for number, label in zip(NUMBERS, CLASSES, strict=True)],
        [f"{'abc'[label]}.{number}.png" for number, label in zip(NUMBERS, CLASSES, strict=True)],
        [f"{number * 7919 % 1_000:03}-{number * 104_729 % 9_999:04}.png" for number in NUMBERS],
        stems(),
    ],
    ids=["numbers", "a stem for all", "a stem for each class", "points", "random numbers", "stems of unlike images"],
)
def test_ordinary_names_are_no_groups(names):
    finding = found(names)
    assert (finding.told, len(finding.table)) == ("", 0)


def test_numbers_in_the_order_of_the_classes_are_no_groups():
    colours = np.sort(CLASSES)[:, None, None, None] * 40
    images = (drawn(COUNT, seed=0) // 2 + colours).astype(np.uint8)
    assert found([f"{number:05}.png" for number in NUMBERS], images=images, labels=np.sort(CLASSES)).told == ""


def test_consecutive_numbers_of_images_that_look_alike_are_told():
    shots = np.repeat(np.arange(0, COUNT, 8), 8)  # of each recording
    finding = found([f"{number:05}.png" for number in NUMBERS], images=drawn(COUNT, 3)[shots], labels=NUMBERS // 104)
    assert "consecutive numbers show 25 groups of 8 images, such as 00000" in finding.told
    assert finding.table["group"].tolist() == [f"{number:05}" for number in shots]


def test_shots_that_follow_one_another_are_told_if_they_look_alike(tmp_path):
    competition, pictures = labelled(ALIKE, CLASSES)
    paths = tuple(tmp_path / f"{name}.jpg" for name in pictures.split.ids)
    for number, path in enumerate(paths):
        exif = Image.Exif()
        exif[0x0110] = "camera"
        minute, second = 2 * (number // OF_GROUP), 9 * (number % OF_GROUP)
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:06 {minute // 60:02}:{minute % 60:02}:{second:02}"
        Image.new("RGB", (8, 8)).save(path, exif=exif)
    finding = groups(competition, replace(pictures, split=replace(pictures.split, paths=paths)))
    assert "series of shots (EXIF) show 40 groups of 5 images, such as camera 2024:05:06 00:00:00" in finding.told


def test_groups_across_a_given_validation_table_need_folds():
    competition, pictures = labelled(ALIKE, CLASSES, stems(), trained=150)
    assert "--folds 5 --group-column" in groups(competition, pictures).told
